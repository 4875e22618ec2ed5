//! MoEngage: everything that paceline knows of it, from its push API and its campaign API.
//!
//! Reading order: `fields` (the documented members) with `target`, `content`, `delivery_time`, `goals`
//! and `settings`, `rules` (what a payload must keep to), `request` and `signature` (what is sent),
//! `verdict` (what an answer means: failures come under HTTP 200 too). These are about `sendPush`;
//! `campaigns` has the same parts for the campaign API, which has another host, another credential
//! and limits of its own.
//!
//! A new operation is a line in `Operation`; the compiler then names every place that has to say
//! something about it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use super::account::Address;
use super::{Gateway, Planned, Provider, Repeat, account};
use crate::config::keys::Key;
use crate::config::{ConfigError, Secret, Settings};
use crate::job::{Class, Delivery, Finding, Job, Object, Pool};
use crate::ports::{PoolKey, Window, WireAnswer, WireRequest};
use crate::simulator::Simulated;
use crate::verdict::Verdict;

mod campaigns;
mod content;
mod delivery_time;
mod fields;
mod goals;
mod keys;
mod request;
mod rules;
mod samples;
mod settings;
mod signature;
pub mod simulator;
mod target;
mod verdict;

/// Its name in the configuration.
const NAME: &str = "moengage";

/// The limit that `sendPush` uses up.
const PUSH: Pool = Pool::main("push");

/// The stretch of time in which the provider counts.
const MINUTE: Duration = Duration::from_secs(60);

const DEFAULT_REQUESTS_PER_MINUTE: u32 = 10_000;

/// The limits that campaign calls use up, all of them at once.
const CAMPAIGNS: Pool = Pool::beside("campaigns");

/// 10 a second, 100 a minute and 6000 an hour, each in any stretch of that length (MoEngage's rate
/// limits; the provider gives no way to raise them, so neither does the configuration).
const CAMPAIGN_WINDOWS: [Window; 3] = [
    Window { requests: 10, length: Duration::from_secs(1) },
    Window { requests: 100, length: MINUTE },
    Window { requests: 6_000, length: Duration::from_secs(3_600) },
];

/// What can be asked of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    SendPush,
    UpdateCampaign,
    SearchCampaigns,
}

impl Operation {
    const ALL: [Self; 3] = [Self::SendPush, Self::UpdateCampaign, Self::SearchCampaigns];
    const NAMES: [&'static str; Self::ALL.len()] =
        [Self::SendPush.name(), Self::UpdateCampaign.name(), Self::SearchCampaigns.name()];

    const fn name(self) -> &'static str {
        match self {
            Self::SendPush => "sendPush",
            Self::UpdateCampaign => "updateCampaign",
            Self::SearchCampaigns => "searchCampaigns",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// The operation of a delivery.
    fn of(delivery: &Delivery) -> Self {
        Self::parse(&delivery.job.operation).expect("plan() makes deliveries of known operations only") // hence can't fail
    }
}

/// What to do when the answer to a `User` push was lost: nothing protects a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnUnknown {
    /// Leave it to a person.
    Dead,
    /// Send it again: better twice than never.
    Resend,
}

impl OnUnknown {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "dead" => Some(Self::Dead),
            "resend" => Some(Self::Resend),
            _ => None,
        }
    }
}

/// The provider.
#[derive(Debug, Clone, Copy)]
pub struct MoEngage;

impl Provider for MoEngage {
    fn name(&self) -> &'static str {
        NAME
    }

    fn operations(&self) -> &'static [&'static str] {
        &Operation::NAMES
    }

    fn keys(&self) -> &'static [Key] {
        keys::ALL
    }

    fn configure(&self, settings: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
        Ok(Arc::new(Engaged { account: Account::read(settings)? }))
    }

    fn payload_schema(&self, operation: &str) -> Value {
        match Operation::parse(operation) {
            Some(Operation::SendPush) => fields::send_push_schema(),
            Some(Operation::UpdateCampaign) => campaigns::fields::update_schema(),
            Some(Operation::SearchCampaigns) => campaigns::fields::search_schema(),
            None => json!(false),
        }
    }

    fn simulated(&self) -> Arc<dyn Simulated> {
        Arc::new(simulator::Simulator)
    }

    fn samples(&self) -> &'static [&'static str] {
        &samples::ALL
    }
}

/// An account's block of the configuration.
struct Account {
    /// Of the push API.
    base_url: Address,
    /// Of the campaign API.
    campaigns_url: Address,
    workspace_id: String,
    push_api_key: Secret,
    /// Without it the account has no campaign calls.
    campaign_api_key: Option<Secret>,
    /// `None` is unlimited.
    requests_per_minute: Option<u32>,
    on_unknown: OnUnknown,
}

impl Account {
    fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        let (base_url, campaigns_url) = read_base_urls(settings)?;
        let workspace_id = account::filled_text(settings, "workspace_id")?
            .ok_or_else(|| account::missing(settings, "workspace_id"))?;
        let push_api_key = account::required_secret(settings, "push_api_key")?;
        let campaign_api_key = account::secret(settings, "campaign_api_key")?;
        if campaign_api_key.is_some() && workspace_id.contains(':') {
            // RFC 7617: what stands before the first colon is the user.
            let problem = "has a colon, which the campaign API's Basic authentication can't carry";
            return Err(settings.error("workspace_id", problem));
        }
        let requests_per_minute =
            settings.limit("requests_per_minute")?.unwrap_or(Some(DEFAULT_REQUESTS_PER_MINUTE));
        let on_unknown = match settings.text("on_unknown")? {
            Some(word) => OnUnknown::parse(&word)
                .ok_or_else(|| settings.error("on_unknown", "must be \"dead\" or \"resend\""))?,
            None => OnUnknown::Dead,
        };
        Ok(Self {
            base_url,
            campaigns_url,
            workspace_id,
            push_api_key,
            campaign_api_key,
            requests_per_minute,
            on_unknown,
        })
    }
}

/// The addresses of the push API and of the campaign API.
fn read_base_urls(settings: &mut Settings<'_>) -> Result<(Address, Address), ConfigError> {
    let data_center = settings.text("data_center")?;
    let base_url = account::base_url(settings)?;
    match (data_center, base_url) {
        (None, Some(url)) => Ok((url.clone(), url)),
        (Some(name), None) => {
            data_center_urls(&name).map_err(|problem| settings.error("data_center", problem))
        }
        (Some(_), Some(_)) => {
            Err(settings.error("base_url", "stands beside data_center; give exactly one of the two"))
        }
        (None, None) => Err(settings.error("data_center", "is missing; give it, or base_url")),
    }
}

/// The addresses of the push API and of the campaign API in a data center. The name becomes part of
/// a host, so it must not be able to name another one.
fn data_center_urls(name: &str) -> Result<(Address, Address), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !(1..=16).contains(&name.len()) || !name.bytes().all(plain) {
        return Err("must be 1 to 16 of A-Z a-z 0-9 -, such as \"01\" or \"101\"");
    }
    let url = |api: &str| account::parse_base_url(&format!("https://{api}-{name}.moengage.com"));
    Ok((url("pushapi")?, url("api")?))
}

/// An account at MoEngage.
struct Engaged {
    account: Account,
}

impl Engaged {
    fn plan_send_push(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        let report = rules::check(&job.payload);
        if !report.is_empty() {
            return Err(report.into_findings());
        }
        let class = match self.account.requests_per_minute {
            Some(_) => Class::Counted(PUSH),
            None => Class::Exempt,
        };
        Ok(one_delivery(job, class))
    }

    /// A campaign call counts even where pushes are unlimited: its limits are the provider's own.
    fn plan_campaign_call(
        &self,
        job: &Job,
        check: fn(&Object) -> Vec<Finding>,
    ) -> Result<Planned, Vec<Finding>> {
        let mut findings = Vec::new();
        if self.account.campaign_api_key.is_none() {
            findings.push(campaigns::no_key(job));
        }
        findings.extend(check(&job.payload));
        if findings.is_empty() { Ok(one_delivery(job, Class::Counted(CAMPAIGNS))) } else { Err(findings) }
    }

    fn repeat_send_push(&self, delivery: &Delivery) -> Repeat {
        let unique =
            rules::audience(&delivery.job.payload).is_some_and(|audience| audience.has_unique_names());
        match (unique, self.account.on_unknown) {
            (true, OnUnknown::Dead | OnUnknown::Resend) | (false, OnUnknown::Resend) => Repeat::Always,
            (false, OnUnknown::Dead) => Repeat::Never,
        }
    }
}

/// Every operation's job is one delivery.
fn one_delivery(job: &Job, class: Class) -> Planned {
    let id = (&job.transaction_id).into();
    vec![Ok(Delivery { id, job: Arc::new(job.clone()), class, batch: None })]
}

impl Gateway for Engaged {
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        match Operation::parse(&job.operation) {
            Some(Operation::SendPush) => self.plan_send_push(job),
            Some(Operation::UpdateCampaign) => self.plan_campaign_call(job, campaigns::rules::check_update),
            Some(Operation::SearchCampaigns) => self.plan_campaign_call(job, campaigns::rules::check_search),
            None => Err(vec![account::unknown_operation(&job.operation, &Operation::NAMES)]),
        }
    }

    fn warnings(&self, job: &Job) -> Vec<Finding> {
        match Operation::parse(&job.operation) {
            Some(Operation::SendPush) => rules::warnings(&job.payload).into_findings(),
            Some(Operation::UpdateCampaign) => campaigns::rules::warn_update(&job.payload),
            Some(Operation::SearchCampaigns) => campaigns::rules::warn_search(&job.payload),
            None => Vec::new(),
        }
    }

    fn request(&self, deliveries: &[&Delivery]) -> WireRequest {
        let only = deliveries.first().expect("a request carries a delivery: the trait asks for one or more"); // hence can't fail
        match Operation::of(only) {
            Operation::SendPush => request::send_push(&self.account, &only.job),
            Operation::UpdateCampaign => campaigns::request::update(&self.account, &only.job),
            Operation::SearchCampaigns => campaigns::request::search(&self.account, &only.job),
        }
    }

    fn verdict(&self, deliveries: &[&Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict {
        let only = deliveries.first().expect("an answer is to a request, which carries a delivery"); // hence can't fail
        match Operation::of(only) {
            Operation::SendPush => verdict::send_push(&self.account, only, answer, after_unknown),
            Operation::UpdateCampaign => campaigns::verdict::update(&self.account, only, answer),
            Operation::SearchCampaigns => campaigns::verdict::search(&self.account, only, answer),
        }
    }

    fn repeat(&self, delivery: &Delivery) -> Repeat {
        match Operation::of(delivery) {
            Operation::SendPush => self.repeat_send_push(delivery),
            // Setting the same state once more and reading once more do no harm.
            Operation::UpdateCampaign | Operation::SearchCampaigns => Repeat::Harmless,
        }
    }

    fn reads(&self, delivery: &Delivery) -> bool {
        match Operation::of(delivery) {
            Operation::SendPush | Operation::UpdateCampaign => false,
            Operation::SearchCampaigns => true,
        }
    }

    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        // The provider counts by workspace, whichever of its keys signs.
        let key = |pool| account::pool_key(NAME, pool, &self.account.workspace_id);
        let windows = self.account.requests_per_minute.map(|requests| Window { requests, length: MINUTE });
        // Campaign calls also where their key is missing: what waits from a time when it was not is
        // then told to be invalid, and does not lie in queues that nobody reads.
        vec![
            (PUSH, key(PUSH), windows.into_iter().collect()),
            (CAMPAIGNS, key(CAMPAIGNS), CAMPAIGN_WINDOWS.to_vec()),
        ]
    }

    fn fallback_pool(&self, delivery: &Delivery) -> Option<Pool> {
        match (Operation::of(delivery), delivery.class) {
            // Exempt only where there is no limit at all.
            (Operation::SendPush, Class::Exempt) => Some(PUSH),
            (Operation::SendPush, Class::Counted(_)) => None,
            // Never exempt.
            (Operation::UpdateCampaign | Operation::SearchCampaigns, Class::Counted(_) | Class::Exempt) => {
                None
            }
        }
    }

    fn deliveries_per_request(&self) -> usize {
        1
    }

    fn warm_up_url(&self, delivery: &Delivery) -> &Url {
        match Operation::of(delivery) {
            Operation::SendPush => self.account.base_url.root(),
            Operation::UpdateCampaign | Operation::SearchCampaigns => self.account.campaigns_url.root(),
        }
    }
}

#[cfg(test)]
mod tests;
