//! The push providers: everything that paceline knows of one lies in its own folder.
//!
//! A [`Provider`] reads its block of the configuration and makes a [`Gateway`] for each account;
//! the pipeline knows only these two traits. [`ALL`] is the registry.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::config::Settings;
use crate::config::keys::Key;
use crate::job::{Delivery, Finding, Job, Pool};
use crate::ports::{PoolKey, Window, WireAnswer, WireRequest};
use crate::simulator::Simulated;
use crate::verdict::Verdict;

mod account;
mod answer;
pub mod moengage;
pub mod pushwoosh;
mod shape;

/// Every provider that paceline knows.
pub static ALL: [&dyn Provider; 2] = [&pushwoosh::Pushwoosh, &moengage::MoEngage];

/// The provider of a configuration's `provider = "…"`.
pub fn by_name(name: &str) -> Option<&'static dyn Provider> {
    ALL.into_iter().find(|provider| provider.name() == name)
}

/// The operation of that name, of whichever provider has it.
pub fn operation_named(name: &str) -> Option<&'static str> {
    ALL.into_iter().flat_map(Provider::operations).copied().find(|operation| *operation == name)
}

/// What paceline knows of one push provider.
pub trait Provider: Send + Sync {
    /// Its name in the configuration and in metrics.
    fn name(&self) -> &'static str;
    /// The operations a job may name.
    fn operations(&self) -> &'static [&'static str];
    /// The keys of an account of it, with the defaults that hold: what [`Provider::configure`] reads.
    fn keys(&self) -> &'static [Key];
    /// Makes an account's gateway from its block of the configuration. Reads every key of its own
    /// from `settings`; what is left unread afterwards is reported as unknown by the caller.
    fn configure(&self, settings: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, crate::config::ConfigError>;
    /// The JSON Schema of an operation's payload.
    fn payload_schema(&self, operation: &str) -> Value;
    /// The provider as `simulate` and the tests play it.
    fn simulated(&self) -> Arc<dyn Simulated>;
    /// Sample jobs for an account of this provider, valid, at least one for each operation.
    fn samples(&self) -> &'static [&'static str];
}

/// What a job turns into: one entry for each of its deliveries, in order.
pub type Planned = Vec<Result<Delivery, Unfit>>;

/// A delivery that breaks the provider's documented rules, while others of its job may be fine.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfit {
    /// Its identity.
    pub id: crate::job::DeliveryId,
    /// The job with this one delivery in it, for the dead letter.
    pub job: Arc<Job>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

/// Whether a request may be made again when the outcome of the last one is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Any time, and it pushes nothing in any case: what only reads, deletes or changes.
    Harmless,
    /// Any time: the provider recognises it.
    Always,
    /// While the first attempt that may have been taken is younger than this: the provider
    /// recognises it.
    Within(Duration),
    /// Never: it would push twice.
    Never,
}

/// One account at its provider: turns deliveries into requests and answers into verdicts.
///
/// All pure: no effect, no clock, no chance.
pub trait Gateway: Send + Sync {
    /// Checks a job and splits it into deliveries. `Err` for what makes the whole job invalid.
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>>;
    /// Things worth telling a producer that do not make the job invalid.
    fn warnings(&self, job: &Job) -> Vec<Finding>;
    /// The one request that carries all these deliveries (more than one only if all have the same
    /// batch key).
    fn request(&self, deliveries: &[&Delivery]) -> WireRequest;
    /// What an answer means. `after_unknown`: the (single) delivery has an earlier attempt whose
    /// outcome is not known.
    fn verdict(&self, deliveries: &[&Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict;
    /// Whether a delivery may be sent again after an attempt whose outcome is not known.
    fn repeat(&self, delivery: &Delivery) -> Repeat;
    /// Whether the operation only reads: its whole answer goes into the receipt, is kept nowhere
    /// else, and reading again does no harm.
    fn reads(&self, delivery: &Delivery) -> bool;
    /// The limits of the account: each pool, the key under which all workers share it, and its
    /// windows. An empty list of windows means no limit.
    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)>;
    /// The pool that a delivery belongs to although it is exempt by itself: where it goes when the
    /// provider throttles it all the same.
    fn fallback_pool(&self, delivery: &Delivery) -> Option<Pool>;
    /// The most deliveries that one counted request may carry.
    fn deliveries_per_request(&self) -> usize;
    /// An address at the host of a delivery's request that answers without being an API call, to
    /// open a connection ahead.
    fn warm_up_url(&self, delivery: &Delivery) -> &reqwest::Url;
}
