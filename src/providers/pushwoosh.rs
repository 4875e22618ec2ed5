//! Pushwoosh: everything that paceline knows of it, from its Messages API.
//!
//! Reading order: `fields` (the documented members), `rules` (what a payload must keep to),
//! `plan` (deliveries, identities, classes), `exempt` (what uses up no limit), `request` (what is
//! sent), `verdict` (what an answer means); `targeted` for messages to a filter, `calls` for what
//! makes no message.
//!
//! A new operation is a line in `Operation`; the compiler then names every place that has to say
//! something about it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};

use self::calls::Call;
use super::account::Address;
use super::{Gateway, Planned, Provider, Repeat, account};
use crate::config::keys::Key;
use crate::config::{ConfigError, Secret, Settings};
use crate::job::{Class, Delivery, Finding, Job, Pool};
use crate::ports::{PoolKey, Window, WireAnswer, WireRequest};
use crate::simulator::Simulated;
use crate::verdict::Verdict;

mod calls;
mod conditions;
mod exempt;
mod fields;
pub mod filter;
mod keys;
mod plan;
mod request;
mod rules;
mod samples;
pub mod simulator;
mod targeted;
mod verdict;

/// Its name in the configuration.
const NAME: &str = "pushwoosh";

/// The limit that messages use up, whichever way they are made.
const MESSAGES: Pool = Pool::main("messages");

/// Calls that make no message: no limit of theirs is documented. They wait in queues of their own and
/// have a health of their own, so that a look-up that the provider refuses, throttles or answers at
/// length holds up no push.
const CALLS: Pool = Pool::beside("calls");

/// The stretch of time in which the provider counts.
const MINUTE: Duration = Duration::from_secs(60);

/// How long a `createMessage` notification's `transactionId` is remembered by the provider.
const REMEMBERED: Duration = Duration::from_secs(5 * 60);

/// How long a `createTargetedMessage`'s is.
const TARGETED_REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

const DEFAULT_BASE_URL: &str = "https://api.pushwoosh.com";
const DEFAULT_REQUESTS_PER_MINUTE: u32 = 600;
const DEFAULT_EXEMPT_DEVICES: u64 = 10;
const DEFAULT_NOTIFICATIONS_PER_REQUEST: u64 = 20;

/// What can be asked of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    CreateMessage,
    CreateTargetedMessage,
    Call(Call),
}

impl Operation {
    const ALL: [Self; 6] = [
        Self::CreateMessage,
        Self::CreateTargetedMessage,
        Self::Call(Call::DeleteMessage),
        Self::Call(Call::CancelMessage),
        Self::Call(Call::GetMessageDetails),
        Self::Call(Call::GetPushHistory),
    ];
    const NAMES: [&'static str; Self::ALL.len()] = {
        let mut names = [""; Self::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    const fn name(self) -> &'static str {
        match self {
            Self::CreateMessage => "createMessage",
            Self::CreateTargetedMessage => "createTargetedMessage",
            Self::Call(call) => call.name(),
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

/// The provider.
#[derive(Debug, Clone, Copy)]
pub struct Pushwoosh;

impl Provider for Pushwoosh {
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
        Ok(Arc::new(Pushed { account: Account::read(settings)? }))
    }

    fn payload_schema(&self, operation: &str) -> Value {
        match Operation::parse(operation) {
            Some(Operation::CreateMessage) => fields::create_message_schema(),
            Some(Operation::CreateTargetedMessage) => targeted::schema(),
            Some(Operation::Call(call)) => call.schema(),
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
    base_url: Address,
    api_token: Secret,
    /// Where a payload names neither an application nor a group.
    application: Option<String>,
    /// `None` is unlimited.
    requests_per_minute: Option<u32>,
    /// The most devices of an exempt notification; 0 for none exempt.
    exempt_devices: usize,
    /// The most notifications in one counted request.
    notifications_per_request: usize,
    /// Whether a message to every subscriber is refused.
    require_targeting: bool,
}

impl Account {
    fn read(settings: &mut Settings<'_>) -> Result<Self, ConfigError> {
        let base_url = match account::base_url(settings)? {
            Some(url) => url,
            None => account::parse_base_url(DEFAULT_BASE_URL)
                .map_err(|problem| settings.error("base_url", problem))?,
        };
        let requests_per_minute =
            settings.limit("requests_per_minute")?.unwrap_or(Some(DEFAULT_REQUESTS_PER_MINUTE));
        let exempt_devices =
            settings.integer("exempt_devices", 0, DEFAULT_EXEMPT_DEVICES)?.unwrap_or(DEFAULT_EXEMPT_DEVICES);
        let notifications_per_request = settings
            .integer("notifications_per_request", 1, fields::MOST_NOTIFICATIONS as u64)?
            .unwrap_or(DEFAULT_NOTIFICATIONS_PER_REQUEST);
        Ok(Self {
            base_url,
            api_token: account::required_secret(settings, "api_token")?,
            application: account::filled_text(settings, "application")?,
            requests_per_minute,
            exempt_devices: exempt_devices as usize,
            notifications_per_request: notifications_per_request as usize,
            require_targeting: settings.boolean("require_targeting")?.unwrap_or(false),
        })
    }
}

/// An account at Pushwoosh.
struct Pushed {
    account: Account,
}

impl Gateway for Pushed {
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        match Operation::parse(&job.operation) {
            Some(Operation::CreateMessage) => plan::create_message(&self.account, job),
            Some(Operation::CreateTargetedMessage) => targeted::plan(&self.account, job),
            Some(Operation::Call(call)) => call.plan(job),
            None => Err(vec![account::unknown_operation(&job.operation, &Operation::NAMES)]),
        }
    }

    fn warnings(&self, job: &Job) -> Vec<Finding> {
        match Operation::parse(&job.operation) {
            Some(Operation::CreateMessage) => rules::warnings::create_message(&job.payload).into_findings(),
            Some(Operation::CreateTargetedMessage) => targeted::warnings(&job.payload).into_findings(),
            Some(Operation::Call(call)) => call.warnings(&job.payload),
            None => Vec::new(),
        }
    }

    fn request(&self, deliveries: &[&Delivery]) -> WireRequest {
        let first = deliveries.first().expect("a request carries a delivery: the trait asks for one or more"); // hence can't fail
        match Operation::of(first) {
            Operation::CreateMessage => request::create_message(&self.account, deliveries),
            Operation::CreateTargetedMessage => targeted::request(&self.account, first),
            Operation::Call(call) => call.request(&self.account, first),
        }
    }

    fn verdict(&self, deliveries: &[&Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict {
        let first = deliveries.first().expect("an answer is to a request, which carries a delivery"); // hence can't fail
        match Operation::of(first) {
            Operation::CreateMessage => {
                verdict::create_message(&self.account, deliveries, answer, after_unknown)
            }
            Operation::CreateTargetedMessage => {
                verdict::targeted::create_targeted_message(&self.account, first, answer, after_unknown)
            }
            Operation::Call(call) => call.verdict(&self.account, first, answer, after_unknown),
        }
    }

    fn repeat(&self, delivery: &Delivery) -> Repeat {
        match Operation::of(delivery) {
            Operation::CreateMessage => Repeat::Within(REMEMBERED),
            Operation::CreateTargetedMessage => Repeat::Within(TARGETED_REMEMBERED),
            Operation::Call(_) => Repeat::Harmless,
        }
    }

    fn reads(&self, delivery: &Delivery) -> bool {
        match Operation::of(delivery) {
            Operation::CreateMessage | Operation::CreateTargetedMessage => false,
            Operation::Call(call) => call.reads(),
        }
    }

    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        let key = |pool| account::pool_key(NAME, pool, self.account.api_token.expose());
        let windows = self.account.requests_per_minute.map(|requests| Window { requests, length: MINUTE });
        vec![(MESSAGES, key(MESSAGES), windows.into_iter().collect()), (CALLS, key(CALLS), Vec::new())]
    }

    fn fallback_pool(&self, delivery: &Delivery) -> Option<Pool> {
        match delivery.class {
            Class::Exempt => Some(MESSAGES),
            Class::Counted(_) => None,
        }
    }

    fn deliveries_per_request(&self) -> usize {
        self.account.notifications_per_request
    }

    fn warm_up_url(&self, _: &Delivery) -> &Url {
        self.account.base_url.root()
    }
}

#[cfg(test)]
pub(super) mod tests;
