//! What is counted and measured: the names, types and labels of the public interface, and one
//! function for each thing that happens.
//!
//! Labels hold accounts, operations and words of ours, never an id of a job, device or user:
//! each new label value is a new time series for ever.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use metrics::{Counter, Gauge, Histogram, SharedString, Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::job::{AccountName, Pool, Priority};
use crate::ports::PauseCause;
use crate::verdict::Status;

const JOBS_RECEIVED: &str = "paceline_jobs_received_total";
const DELIVERIES_SETTLED: &str = "paceline_deliveries_settled_total";
const DELIVERIES_RETRIED: &str = "paceline_deliveries_retried_total";
const PROVIDER_REQUESTS: &str = "paceline_provider_requests_total";
const PROVIDER_REQUEST_DURATION: &str = "paceline_provider_request_duration_seconds";
const DELIVERY_AGE: &str = "paceline_delivery_age_seconds";
const PERMIT_WAIT: &str = "paceline_permit_wait_seconds";
const PERMIT_REQUESTS: &str = "paceline_permit_requests_total";
const PERMITS_GRANTED: &str = "paceline_permits_granted_total";
const SLOT_WRITE_DELAY: &str = "paceline_slot_write_delay_seconds";
const REQUESTS_IN_FLIGHT: &str = "paceline_requests_in_flight";
const WRITES_TOO_LATE: &str = "paceline_writes_too_late_total";
const ROUND_TRIP_SPREAD: &str = "paceline_round_trip_spread_seconds";
const CIRCUIT_STATE: &str = "paceline_circuit_state";
const ACCOUNT_PAUSED: &str = "paceline_account_paused";
const LIMIT_USED: &str = "paceline_limit_used_ratio";
const QUEUE_DEPTH: &str = "paceline_queue_depth";
const OLDEST_AGE: &str = "paceline_oldest_age_seconds";
const DEAD_LETTERS: &str = "paceline_dead_letters";
const DEPENDENCY_UP: &str = "paceline_dependency_up";

/// Seconds. From a fast answer to the longest request timeout.
const REQUEST_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 120.0];
/// Seconds. From a one-time password's seconds to a bulk job's day.
const AGE_BUCKETS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0];
/// Seconds. From no wait at all to a long pause.
const WAIT_BUCKETS: &[f64] = &[0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0];
/// Seconds. Around the width of a permit's slot.
const SLOT_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0];

/// The histograms and their buckets: without buckets the exporter would make summaries of them,
/// which can't be added up over workers.
const HISTOGRAMS: [(&str, &[f64], &str); 4] = [
    (
        PROVIDER_REQUEST_DURATION,
        REQUEST_BUCKETS,
        "Time from writing a request to its whole answer or failure.",
    ),
    (DELIVERY_AGE, AGE_BUCKETS, "Time from the publishing of a job to the settling of its delivery."),
    (PERMIT_WAIT, WAIT_BUCKETS, "Time that a counted delivery was ready and waited for a permit."),
    (
        SLOT_WRITE_DELAY,
        SLOT_BUCKETS,
        "Time from the opening of a permit's slot to the writing of its request.",
    ),
];

const COUNTERS: [(&str, &str); 7] = [
    (JOBS_RECEIVED, "Jobs taken from the broker, redeliveries included."),
    (DELIVERIES_SETTLED, "Deliveries that ended, by how they ended."),
    (DELIVERIES_RETRIED, "Deliveries put off for another attempt, by cause."),
    (PROVIDER_REQUESTS, "Requests made to a provider, by what came of them."),
    (PERMIT_REQUESTS, "Trips to the store for permits, failed ones included."),
    (PERMITS_GRANTED, "Permits that came back from these trips in time to be used."),
    (WRITES_TOO_LATE, "Requests not written because their time had passed; each cost a permit."),
];

const GAUGES: [(&str, &str); 9] = [
    (REQUESTS_IN_FLIGHT, "Requests under way in this worker."),
    (
        ROUND_TRIP_SPREAD,
        "From the fastest to the 99th percentile of a minute's counted requests; the limit is sure while it is below limiter.jitter.",
    ),
    (CIRCUIT_STATE, "The account's circuit: 0 closed, 1 half open, 2 open."),
    (ACCOUNT_PAUSED, "1 while the account is paused for this cause."),
    (LIMIT_USED, "Permits of the last 60 s by the limit."),
    (QUEUE_DEPTH, "Messages that wait in a queue."),
    (OLDEST_AGE, "Age of the oldest delivery of a lane, as last seen by this worker."),
    (DEAD_LETTERS, "Messages in the queue of dead letters."),
    (DEPENDENCY_UP, "1 while the broker or the store can be used."),
];

/// Renders what was recorded, in Prometheus' text format.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl Handle {
    /// The text for `/metrics`.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds recorded values into their buckets. To be called every few seconds, else memory grows
    /// while nobody scrapes.
    pub fn run_upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Deliveries that this worker ended since its start, by account and status.
pub type Ends = BTreeMap<(String, String), u64>;

impl Handle {
    /// What was recorded of ends.
    pub fn ends(&self) -> Ends {
        ends_of(&self.0.render())
    }
}

fn ends_of(text: &str) -> Ends {
    let mut ends = Ends::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(DELIVERIES_SETTLED)) {
        // Neither accounts nor statuses hold anything that would be escaped.
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok());
        if let (Some(account), Some(status), Some(count)) = (label("account"), label("status"), count) {
            *ends.entry((account, status)).or_default() += count;
        }
    }
    ends
}

/// Makes this process record. Once in a process; a second time is an error.
pub fn install() -> anyhow::Result<Handle> {
    let recorder = recorder()?;
    let handle = Handle(recorder.handle());
    metrics::set_global_recorder(recorder)
        .map_err(|_| anyhow::anyhow!("metrics are recorded by something else already"))?;
    describe();
    Ok(handle)
}

fn recorder() -> anyhow::Result<PrometheusRecorder> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets, _) in HISTOGRAMS {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(name.to_owned()), buckets)
            .with_context(|| format!("buckets of {name}"))?;
    }
    Ok(builder.build_recorder())
}

fn describe() {
    for (name, text) in COUNTERS {
        metrics::describe_counter!(name, Unit::Count, text);
    }
    for (name, text) in GAUGES {
        metrics::describe_gauge!(name, text);
    }
    for (name, _, text) in HISTOGRAMS {
        metrics::describe_histogram!(name, Unit::Seconds, text);
    }
}

/// A label of an account, which shares its text: nothing is copied for each thing that is counted.
fn label(account: &AccountName) -> SharedString {
    SharedString::from_shared(account.shared())
}

/// A label of an operation, without a copy where a provider has it.
fn named(operation: &str) -> SharedString {
    match crate::providers::operation_named(operation) {
        Some(known) => SharedString::const_str(known),
        None => SharedString::from_owned(operation.to_owned()),
    }
}

/// What is counted of each job of an account. Finding a metric by its labels costs several times what
/// counting does, so that each is found once.
pub struct Meters {
    account: AccountName,
    received: OnceLock<Counter>,
    in_flight: OnceLock<Gauge>,
    /// By operation, class and result.
    requests: Found<(&'static str, RequestClass, &'static str), Counter>,
    /// By operation.
    durations: Found<&'static str, Histogram>,
    /// By operation, status and reason.
    settled: Found<(&'static str, Status, Option<&'static str>), Counter>,
    /// By priority.
    ages: Found<Priority, Histogram>,
}

/// The metrics that were found of some labels: a few, which are looked through.
struct Found<K, T>(Mutex<Vec<(K, T)>>);

impl<K: PartialEq, T: Clone> Found<K, T> {
    fn of(&self, labels: K, find: impl FnOnce(&K) -> T) -> T {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, metric)) = known.iter().find(|(known, _)| *known == labels) {
            return metric.clone();
        }
        let metric = find(&labels);
        known.push((labels, metric.clone()));
        metric
    }
}

impl<K, T> Default for Found<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Meters {
    /// Those of an account.
    pub fn new(account: AccountName) -> Self {
        Self {
            account,
            received: OnceLock::new(),
            in_flight: OnceLock::new(),
            requests: Found::default(),
            durations: Found::default(),
            settled: Found::default(),
            ages: Found::default(),
        }
    }

    fn label(&self) -> SharedString {
        label(&self.account)
    }

    /// A job was taken from the broker.
    pub fn job_received(&self) {
        self.received.get_or_init(|| counter!(JOBS_RECEIVED, "account" => self.label())).increment(1);
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| gauge!(REQUESTS_IN_FLIGHT, "account" => self.label()))
    }

    /// A request to a provider begins.
    pub fn request_started(&self) {
        self.in_flight().increment(1.0);
    }

    /// A request that was [`Meters::request_started`] is over.
    pub fn request_ended(&self) {
        self.in_flight().decrement(1.0);
    }

    /// A request to a provider ended after `took`; `result` is the verdict's label.
    pub fn provider_request(
        &self,
        operation: &'static str,
        class: RequestClass,
        result: &'static str,
        took: Duration,
    ) {
        let requests = |&(operation, class, result): &(&'static str, RequestClass, &'static str)| {
            counter!(
                PROVIDER_REQUESTS,
                "account" => self.label(),
                "operation" => operation,
                "class" => class.as_str(),
                "result" => result,
            )
        };
        self.requests.of((operation, class, result), requests).increment(1);
        let durations = |operation: &&'static str| histogram!(PROVIDER_REQUEST_DURATION, "account" => self.label(), "operation" => *operation);
        self.durations.of(operation, durations).record(took);
    }

    /// A delivery ended; `reason` is the dead reason's word, if it is dead.
    pub fn delivery_settled(&self, operation: &str, status: Status, reason: Option<&'static str>) {
        let find = |operation: SharedString| {
            counter!(
                DELIVERIES_SETTLED,
                "account" => self.label(),
                "operation" => operation,
                "status" => status.as_str(),
                "reason" => reason.unwrap_or_default(),
            )
        };
        match crate::providers::operation_named(operation) {
            Some(known) => self
                .settled
                .of((known, status, reason), |_| find(SharedString::const_str(known)))
                .increment(1),
            None => find(SharedString::from_owned(operation.to_owned())).increment(1),
        }
    }

    /// A delivery was settled `age` after its job was published.
    pub fn delivery_age(&self, priority: Priority, age: Duration) {
        let find = |priority: &Priority| histogram!(DELIVERY_AGE, "account" => self.label(), "priority" => priority.as_str());
        self.ages.of(priority, find).record(age);
    }
}

/// A delivery was put off for another attempt; `cause` is one of a few fixed words.
pub fn delivery_retried(account: &AccountName, operation: &str, cause: &'static str) {
    counter!(
        DELIVERIES_RETRIED,
        "account" => label(account),
        "operation" => named(operation),
        "cause" => cause,
    )
    .increment(1);
}

/// Whether a request used up the provider's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestClass {
    /// It did.
    Counted,
    /// It did not.
    Exempt,
}

impl RequestClass {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Exempt => "exempt",
        }
    }
}

/// A counted delivery got its permit after `wait`.
pub fn permit_wait(account: &AccountName, wait: Duration) {
    histogram!(PERMIT_WAIT, "account" => label(account)).record(wait);
}

/// How a limit is called in metrics. Accounts with the same credential share one, so that no single
/// account's name would be right for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitLabel {
    account: String,
    limit: &'static str,
}

impl LimitLabel {
    /// The accounts that share the limit, and its name.
    pub fn new(sharing: &[&AccountName], pool: Pool) -> Self {
        let names: Vec<&str> = sharing.iter().map(|name| name.as_str()).collect();
        Self { account: names.join("+"), limit: pool.name() }
    }
}

/// The store was asked for permits of a limit and granted so many.
pub fn permits_asked_for(limit: &LimitLabel, granted: usize) {
    let labels = [("account", limit.account.clone()), ("limit", limit.limit.to_owned())];
    counter!(PERMIT_REQUESTS, &labels).increment(1);
    // A grant is at most a thousand.
    counter!(PERMITS_GRANTED, &labels).increment(granted as u64);
}

/// A counted request was written `delay` after its permit's slot opened.
pub fn slot_write_delay(account: &AccountName, delay: Duration) {
    histogram!(SLOT_WRITE_DELAY, "account" => label(account)).record(delay);
}

/// A request was not written because its time had passed; its permit is lost.
pub fn write_too_late(account: &AccountName) {
    counter!(WRITES_TOO_LATE, "account" => label(account)).increment(1);
}

/// How far the round trips of an account's counted requests spread, over the last minute that had
/// enough of them.
pub fn round_trip_spread(account: &AccountName, spread: Duration) {
    gauge!(ROUND_TRIP_SPREAD, "account" => label(account)).set(spread.as_secs_f64());
}

/// The state of an account's circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CircuitState {
    /// Requests are made.
    Closed,
    /// One request finds out whether the provider is back.
    HalfOpen,
    /// No requests are made.
    Open,
}

/// An account's circuit is in this state.
pub fn circuit_state(account: &AccountName, state: CircuitState) {
    let value = match state {
        CircuitState::Closed => 0.0,
        CircuitState::HalfOpen => 1.0,
        CircuitState::Open => 2.0,
    };
    gauge!(CIRCUIT_STATE, "account" => label(account)).set(value);
}

/// An account is, or is no longer, paused for this cause.
pub fn account_paused(account: &AccountName, cause: PauseCause, paused: bool) {
    gauge!(ACCOUNT_PAUSED, "account" => label(account), "cause" => cause.as_str()).set(flag(paused));
}

/// Permits of the last 60 s by the limit: 1.0 is all of it.
pub fn limit_used_ratio(account: &AccountName, ratio: f64) {
    gauge!(LIMIT_USED, "account" => label(account)).set(ratio);
}

/// Messages that wait in one of an account's queues (`jobs`, `retry`, `high`, …).
pub fn queue_depth(account: &AccountName, queue: &str, messages: u64) {
    gauge!(QUEUE_DEPTH, "account" => label(account), "queue" => queue.to_owned()).set(count(messages));
}

/// Age of the oldest delivery that was last seen in a lane.
pub fn oldest_age(account: &AccountName, lane: &'static str, age: Duration) {
    gauge!(OLDEST_AGE, "account" => label(account), "lane" => lane).set(age.as_secs_f64());
}

/// Messages in the queue of dead letters.
pub fn dead_letters(messages: u64) {
    gauge!(DEAD_LETTERS).set(count(messages));
}

/// Something that a worker can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependency {
    /// RabbitMQ.
    Broker,
    /// Redis.
    Store,
}

/// Whether the broker or the store can be used now.
pub fn dependency_up(name: Dependency, up: bool) {
    let name = match name {
        Dependency::Broker => "broker",
        Dependency::Store => "store",
    };
    gauge!(DEPENDENCY_UP, "name" => name).set(flag(up));
}

const fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Exact up to 2^53, which no queue reaches.
#[expect(clippy::cast_precision_loss, reason = "a count of messages stays far below 2^53")]
const fn count(messages: u64) -> f64 {
    messages as f64
}

/// A handle of its own with one metric recorded, for the listener's tests.
#[cfg(test)]
pub(crate) fn tests_handle() -> Handle {
    let recorder = recorder().unwrap(); // a test
    let handle = Handle(recorder.handle());
    metrics::with_local_recorder(&recorder, || dead_letters(7));
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything recorded once, rendered.
    fn rendered() -> String {
        let recorder = recorder().unwrap();
        let handle = Handle(recorder.handle());
        let shop = AccountName::new("shop").unwrap();
        metrics::with_local_recorder(&recorder, || {
            describe();
            let meters = Meters::new(shop.clone());
            meters.job_received();
            meters.delivery_settled("sendPush", Status::Dead, Some("rejected"));
            meters.delivery_settled("sendPush", Status::Delivered, None);
            delivery_retried(&shop, "sendPush", "failed");
            meters.provider_request("sendPush", RequestClass::Counted, "accepted", Duration::from_millis(30));
            meters.provider_request("sendPush", RequestClass::Exempt, "unknown", Duration::from_secs(20));
            meters.delivery_age(Priority::High, Duration::from_secs(2));
            permit_wait(&shop, Duration::from_millis(3));
            let other = AccountName::new("other").unwrap();
            permits_asked_for(&LimitLabel::new(&[&shop], Pool::main("messages")), 3);
            permits_asked_for(&LimitLabel::new(&[&shop], Pool::main("messages")), 0);
            permits_asked_for(&LimitLabel::new(&[&other, &shop], Pool::beside("calls")), 2);
            slot_write_delay(&shop, Duration::from_millis(2));
            write_too_late(&shop);
            round_trip_spread(&shop, Duration::from_millis(30));
            meters.request_started();
            meters.request_started();
            meters.request_ended();
            circuit_state(&shop, CircuitState::Open);
            account_paused(&shop, PauseCause::Throttled, true);
            account_paused(&shop, PauseCause::Operator, false);
            limit_used_ratio(&shop, 0.5);
            queue_depth(&shop, "jobs", 12);
            oldest_age(&shop, "low", Duration::from_millis(1500));
            dead_letters(7);
            dependency_up(Dependency::Broker, true);
            dependency_up(Dependency::Store, false);
        });
        handle.run_upkeep();
        handle.render()
    }

    #[test]
    fn ends_are_added_up_by_account_and_status() {
        let recorder = recorder().unwrap();
        let handle = Handle(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            let [of_shop, of_news] =
                ["shop", "news"].map(|name| Meters::new(AccountName::new(name).unwrap()));
            for operation in ["createMessage", "deleteMessage"] {
                of_shop.delivery_settled(operation, Status::Delivered, None);
            }
            of_shop.delivery_settled("createMessage", Status::Dead, Some("rejected"));
            of_news.delivery_settled("sendPush", Status::Delivered, None);
        });
        let key = |account: &str, status: &str| (account.to_owned(), status.to_owned());
        let expected =
            [(key("news", "delivered"), 1), (key("shop", "dead"), 1), (key("shop", "delivered"), 2)];
        assert_eq!(handle.ends(), Ends::from(expected));
    }

    #[test]
    fn names_and_labels_are_those_of_the_contract() {
        let text = rendered();
        let lines = [
            r#"paceline_jobs_received_total{account="shop"} 1"#,
            r#"paceline_deliveries_settled_total{account="shop",operation="sendPush",status="dead",reason="rejected"} 1"#,
            r#"paceline_deliveries_settled_total{account="shop",operation="sendPush",status="delivered",reason=""} 1"#,
            r#"paceline_deliveries_retried_total{account="shop",operation="sendPush",cause="failed"} 1"#,
            r#"paceline_provider_requests_total{account="shop",operation="sendPush",class="counted",result="accepted"} 1"#,
            r#"paceline_provider_requests_total{account="shop",operation="sendPush",class="exempt",result="unknown"} 1"#,
            r#"paceline_provider_request_duration_seconds_bucket{account="shop",operation="sendPush",le="0.05"} 1"#,
            r#"paceline_provider_request_duration_seconds_bucket{account="shop",operation="sendPush",le="20"} 2"#,
            r#"paceline_provider_request_duration_seconds_count{account="shop",operation="sendPush"} 2"#,
            r#"paceline_delivery_age_seconds_bucket{account="shop",priority="high",le="2.5"} 1"#,
            r#"paceline_permit_wait_seconds_bucket{account="shop",le="0.005"} 1"#,
            r#"paceline_permit_requests_total{account="shop",limit="messages"} 2"#,
            r#"paceline_permits_granted_total{account="shop",limit="messages"} 3"#,
            r#"paceline_permit_requests_total{account="other+shop",limit="calls"} 1"#,
            r#"paceline_slot_write_delay_seconds_bucket{account="shop",le="0.0025"} 1"#,
            r#"paceline_requests_in_flight{account="shop"} 1"#,
            r#"paceline_round_trip_spread_seconds{account="shop"} 0.03"#,
            r#"paceline_circuit_state{account="shop"} 2"#,
            r#"paceline_account_paused{account="shop",cause="throttled"} 1"#,
            r#"paceline_account_paused{account="shop",cause="operator"} 0"#,
            r#"paceline_limit_used_ratio{account="shop"} 0.5"#,
            r#"paceline_queue_depth{account="shop",queue="jobs"} 12"#,
            r#"paceline_oldest_age_seconds{account="shop",lane="low"} 1.5"#,
            "paceline_dead_letters 7",
            r#"paceline_dependency_up{name="broker"} 1"#,
            r#"paceline_dependency_up{name="store"} 0"#,
        ];
        for line in lines {
            assert!(text.lines().any(|found| found == line), "no line {line}\n{text}");
        }
    }

    #[test]
    fn every_metric_has_its_type_and_a_help_text() {
        let text = rendered();
        let types =
            [(COUNTERS.map(|(n, _)| n).to_vec(), "counter"), (GAUGES.map(|(n, _)| n).to_vec(), "gauge")];
        let types = types.into_iter().chain([(HISTOGRAMS.map(|(n, _, _)| n).to_vec(), "histogram")]);
        for (name, kind) in types.flat_map(|(names, kind)| names.into_iter().map(move |name| (name, kind))) {
            assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}\n{text}");
            assert!(text.contains(&format!("# HELP {name} ")), "{name}\n{text}");
        }
        assert_eq!(text.matches("# TYPE ").count(), COUNTERS.len() + GAUGES.len() + HISTOGRAMS.len());
    }
}
