//! MoEngage: everything that paceline knows of it, from its push API.
//!
//! Reading order: `fields` (the documented members) with `target` and `delivery_time`,
//! `rules` (what a payload must keep to), `request` and `signature` (what is sent),
//! `verdict` (what an answer means: failures come under HTTP 200 too).
//!
//! A new operation is a line in `Operation`; the compiler then names every place that has to say
//! something about it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use super::{Gateway, Planned, Provider, Repeat, account};
use crate::config::{ConfigError, Secret, Settings};
use crate::job::{Class, Delivery, Finding, Job, Pool};
use crate::ports::{PoolKey, Window, WireAnswer, WireRequest};
use crate::simulator::Simulated;
use crate::verdict::Verdict;

mod delivery_time;
mod fields;
mod request;
mod rules;
mod samples;
mod signature;
pub mod simulator;
mod target;
mod verdict;

/// Its name in the configuration.
const NAME: &str = "moengage";

/// The limit that `sendPush` uses up.
const PUSH: Pool = Pool("push");

/// The stretch of time in which the provider counts.
const MINUTE: Duration = Duration::from_secs(60);

const DEFAULT_REQUESTS_PER_MINUTE: u32 = 10_000;

/// What can be asked of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    SendPush,
}

impl Operation {
    const ALL: [Self; 1] = [Self::SendPush];
    const NAMES: [&'static str; Self::ALL.len()] = [Self::SendPush.name()];

    const fn name(self) -> &'static str {
        match self {
            Self::SendPush => "sendPush",
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

    fn configure(&self, settings: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
        Ok(Arc::new(Engaged { account: Account::read(settings)? }))
    }

    fn payload_schema(&self, operation: &str) -> Value {
        match Operation::parse(operation) {
            Some(Operation::SendPush) => fields::send_push_schema(),
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
    base_url: Url,
    workspace_id: String,
    push_api_key: Secret,
    /// `None` is unlimited.
    requests_per_minute: Option<u32>,
    on_unknown: OnUnknown,
}

impl Account {
    fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        let base_url = read_base_url(settings)?;
        let workspace_id = account::filled_text(settings, "workspace_id")?
            .ok_or_else(|| account::missing(settings, "workspace_id"))?;
        let push_api_key = account::required_secret(settings, "push_api_key")?;
        // Not used by any operation yet, but a key of the contract: read and checked all the same.
        let _campaign_api_key = account::secret(settings, "campaign_api_key")?;
        let requests_per_minute =
            settings.limit("requests_per_minute")?.unwrap_or(Some(DEFAULT_REQUESTS_PER_MINUTE));
        let on_unknown = match settings.text("on_unknown")? {
            Some(word) => OnUnknown::parse(&word)
                .ok_or_else(|| settings.error("on_unknown", "must be \"dead\" or \"resend\""))?,
            None => OnUnknown::Dead,
        };
        Ok(Self { base_url, workspace_id, push_api_key, requests_per_minute, on_unknown })
    }
}

fn read_base_url(settings: &mut Settings<'_>) -> Result<Url, ConfigError> {
    let data_center = settings.text("data_center")?;
    let base_url = account::base_url(settings)?;
    match (data_center, base_url) {
        (None, Some(url)) => Ok(url),
        (Some(name), None) => {
            data_center_url(&name).map_err(|problem| settings.error("data_center", problem))
        }
        (Some(_), Some(_)) => {
            Err(settings.error("base_url", "stands beside data_center; give exactly one of the two"))
        }
        (None, None) => Err(settings.error("data_center", "is missing; give it, or base_url")),
    }
}

/// The address of the push API in a data center. The name becomes part of a host, so it must not be
/// able to name another one.
fn data_center_url(name: &str) -> Result<Url, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !(1..=16).contains(&name.len()) || !name.bytes().all(plain) {
        return Err("must be 1 to 16 of A-Z a-z 0-9 -, such as \"01\" or \"101\"");
    }
    account::parse_base_url(&format!("https://pushapi-{name}.moengage.com"))
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
        let id = (&job.transaction_id).into();
        Ok(vec![Ok(Delivery { id, job: Arc::new(job.clone()), class, batch: None })])
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

impl Gateway for Engaged {
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        match Operation::parse(&job.operation) {
            Some(Operation::SendPush) => self.plan_send_push(job),
            None => Err(vec![account::unknown_operation(&job.operation, &Operation::NAMES)]),
        }
    }

    fn warnings(&self, job: &Job) -> Vec<Finding> {
        match Operation::parse(&job.operation) {
            Some(Operation::SendPush) => rules::warnings(&job.payload).into_findings(),
            None => Vec::new(),
        }
    }

    fn request(&self, deliveries: &[&Delivery]) -> WireRequest {
        let only = deliveries.first().expect("a request carries a delivery: the trait asks for one or more"); // hence can't fail
        match Operation::of(only) {
            Operation::SendPush => request::send_push(&self.account, &only.job),
        }
    }

    fn verdict(&self, deliveries: &[&Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict {
        let only = deliveries.first().expect("an answer is to a request, which carries a delivery"); // hence can't fail
        match Operation::of(only) {
            Operation::SendPush => verdict::send_push(&self.account, only, answer, after_unknown),
        }
    }

    fn repeat(&self, delivery: &Delivery) -> Repeat {
        match Operation::of(delivery) {
            Operation::SendPush => self.repeat_send_push(delivery),
        }
    }

    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        // The provider counts by workspace, whichever of its keys signs.
        let key = account::pool_key(NAME, PUSH, &self.account.workspace_id);
        let windows = self.account.requests_per_minute.map(|requests| Window { requests, length: MINUTE });
        vec![(PUSH, key, windows.into_iter().collect())]
    }

    fn fallback_pool(&self, delivery: &Delivery) -> Option<Pool> {
        match (Operation::of(delivery), delivery.class) {
            // Exempt only where there is no limit at all.
            (Operation::SendPush, Class::Exempt) => Some(PUSH),
            (Operation::SendPush, Class::Counted(_)) => None,
        }
    }

    fn deliveries_per_request(&self) -> usize {
        1
    }

    fn warm_up_url(&self) -> Url {
        account::root(&self.account.base_url)
    }
}

#[cfg(test)]
mod tests;
