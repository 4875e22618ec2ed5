//! The providers as `paceline simulate` and the tests play them: an HTTP server on loopback with
//! the providers' limits, errors and duplicate windows, faults on demand, and a ledger of all that
//! arrived.
//!
//! What one provider does lies in its own folder, behind [`Simulated`]; the engine here asks every
//! provider of [`crate::providers::ALL`]. It shares no code with the worker's own classification
//! of requests and answers, so that each checks the other.
//!
//! In reading order: [`rules`] (what can be set), [`faults`], [`sliding`] (the window), [`pools`]
//! (the limits made of windows), [`shelf`] (what a provider stores), [`ledger`], [`engine`] (pure: a request and the time in, an answer out), [`server`] (sockets), [`control`]
//! (`/_simulator/…`).

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

pub mod control;
pub mod engine;
pub mod faults;
pub mod ledger;
pub mod pools;
pub mod rules;
pub mod server;
pub mod shelf;
pub mod sliding;

pub use faults::{Fault, FaultPlan, FaultRule, Span};
pub use ledger::{AccountSummary, DeliveryOutcome, DeliveryRecord, Entry, Page, PoolSummary, Summary, Twice};
pub use pools::{Over, Pool, Windows};
pub use rules::{Rules, Throttling};

use engine::Engine;

/// One provider's behaviour, as its documentation has it. Pure: all state and time is passed in.
pub trait Simulated: Send + Sync {
    /// The provider's name, as in [`crate::providers::Provider::name`].
    fn name(&self) -> &'static str;
    /// The documented limits and habits.
    fn rules(&self) -> Rules;
    /// The operations that are played.
    fn operations(&self) -> &'static [&'static str];
    /// The operation that a request names by its method and path (without the query); `None` when
    /// it is none of this provider's.
    fn operation(&self, method: &Method, path: &str) -> Option<&'static str>;
    /// Reads a request. `Err` is the answer to one that can't be read.
    fn read(&self, operation: &'static str, request: &Request, rules: &Rules) -> Result<Call, Answer>;
    /// The answer to a credential that the rules do not let in; `None` when they do.
    fn denied(&self, call: &Call, rules: &Rules) -> Option<Answer>;
    /// The answer over a limit.
    fn throttled(&self, call: &Call, rules: &Rules, over: Over, now: Moment) -> Answer;
    /// The answer with a status that a fault asks for (401, 429, 5xx), in the provider's shape.
    fn failure(&self, operation: &'static str, status: u16) -> Answer;
    /// Does what the request asks for.
    fn perform(&self, call: &Call, account: &mut Account, rules: &Rules, now: Moment) -> Performed;
}

/// When a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The time since the simulator's start: what windows and memories go by.
    pub since_start: Duration,
    /// The time of day: what schedules go by.
    pub wall: Timestamp,
}

/// A request as it came off the wire. Holds credentials: no `Debug`.
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// What a provider makes of a request. Holds a credential: no `Debug`.
pub struct Call {
    /// The operation.
    pub operation: &'static str,
    /// What names the account; never stored, only its [`fingerprint`] is.
    pub credential: String,
    /// What proves it, where neither it nor the body does; empty elsewhere.
    pub secret: String,
    /// What the path is about, where it is about something; empty elsewhere.
    pub subject: String,
    /// The limit of the account that the request uses up; `None` for none.
    pub pool: Option<Pool>,
    /// Its deliveries, in order.
    pub deliveries: Vec<Named>,
    /// The body.
    pub content: Value,
}

/// How a delivery is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// What a person knows it by, see [`DeliveryRecord::id`].
    pub id: Option<String>,
    /// What two accepted deliveries of an account must not share; `None` when nothing tells one
    /// from another.
    pub key: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers, names in lower case; `date` and `content-length` are added on the way.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: Bytes::from(body.to_string()) }
    }

    /// No body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// What came of a request that was let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Performed {
    /// The answer.
    pub answer: Answer,
    /// What became of each delivery, in the order of [`Call::deliveries`].
    pub fates: Vec<Fate>,
}

/// What became of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Taken; with the provider's code for it.
    Accepted(String),
    /// Known from an earlier request, so not taken again; with the code of then.
    Suppressed(String),
    /// Done, and no push goes out for it: a read, a change, a cancellation.
    Done,
    /// Looked at and not taken.
    Refused,
    /// Not looked at.
    NotReached,
}

/// What a provider remembers of one account.
pub struct Account {
    fingerprint: Arc<str>,
    issued: u64,
    memory: HashMap<String, Remembered>,
    remembered: u64,
    prune_at: usize,
    state: Option<Box<dyn Any + Send>>,
}

struct Remembered {
    code: String,
    until: Option<Duration>,
    number: u64,
}

/// Expired memories are looked for only when there are this many more than last time.
const PRUNE_STEP: usize = 4096;

/// The most that is remembered of an account, some 250 bytes each; beyond it the older half is
/// forgotten before its time.
const MOST_REMEMBERED: usize = 1_000_000;

impl Account {
    /// An account that nothing was sent to.
    pub fn new(fingerprint: Arc<str>) -> Self {
        Self {
            fingerprint,
            issued: 0,
            memory: HashMap::new(),
            remembered: 0,
            prune_at: PRUNE_STEP,
            state: None,
        }
    }

    /// What else the provider keeps of the account, empty at first. Each provider has one type for
    /// it; asking for another begins anew.
    pub fn state<T: Any + Send + Default>(&mut self) -> &mut T {
        let kept = self.state.take().and_then(|state| state.downcast::<T>().ok()).unwrap_or_default();
        let state: &mut (dyn Any + Send) = &mut **self.state.insert(kept);
        state.downcast_mut().expect("it was put there as this type in the line above") // hence can't fail
    }

    /// A code that no other call gives, the same in every run with the same requests.
    pub fn new_code(&mut self) -> String {
        self.issued += 1;
        let digest = Sha256::digest(format!("{}/{}", self.fingerprint, self.issued));
        let hex = hex::encode_upper(digest);
        format!("{}-{}-{:08X}", &hex[..4], &hex[4..12], self.issued)
    }

    /// The code remembered under a key, unless its time is over.
    pub fn recall(&self, key: &str, now: Duration) -> Option<&str> {
        let found = self.memory.get(key)?;
        found.until.is_none_or(|until| now < until).then_some(found.code.as_str())
    }

    /// Remembers a code, for ever or until a moment. Of more than a million the older half is
    /// forgotten.
    pub fn remember(&mut self, key: String, code: String, until: Option<Duration>, now: Duration) {
        self.remembered += 1;
        self.memory.insert(key, Remembered { code, until, number: self.remembered });
        if self.memory.len() >= self.prune_at {
            self.forget(now, MOST_REMEMBERED);
            self.prune_at = (self.memory.len() + PRUNE_STEP).min(MOST_REMEMBERED + 1);
        }
    }

    /// Forgets what is expired, and the older half where that leaves more than `most`.
    fn forget(&mut self, now: Duration, most: usize) {
        self.memory.retain(|_, remembered| remembered.until.is_none_or(|until| now < until));
        if self.memory.len() <= most {
            return;
        }
        let mut numbers: Vec<u64> = self.memory.values().map(|remembered| remembered.number).collect();
        let middle = numbers.len() / 2;
        let (_, &mut first_to_stay, _) = numbers.select_nth_unstable(middle);
        self.memory.retain(|_, remembered| remembered.number >= first_to_stay);
    }
}

/// Names an account without giving its credential away: 16 hexadecimal digits.
pub fn fingerprint(provider: &str, credential: &str) -> String {
    let digest = Sha256::digest(format!("paceline simulator\0{provider}\0{credential}"));
    hex::encode(&digest[..8])
}

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// Where it listens; port 0 takes a free one. It asks nobody for a password: loopback.
    pub listen: SocketAddr,
    /// Rules that differ from the documented ones, by provider.
    pub rules: HashMap<String, Rules>,
    /// The faults to begin with.
    pub faults: FaultPlan,
    /// Where chance (faults by probability, latency within a range) begins.
    pub seed: u64,
    /// The most records (an arrival is one, and each of its deliveries is one) that the ledger
    /// keeps; older arrivals are dropped, their counts stay. A record takes some 450 bytes with short ids
    /// (measured, with what the provider remembers of it; what it stores of messages and campaigns
    /// comes on top and has a bound of its own, 64 MB an account).
    pub ledger_capacity: usize,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            rules: HashMap::new(),
            faults: FaultPlan::default(),
            seed: 1,
            ledger_capacity: 1_000_000,
        }
    }
}

/// A request for something that the simulator does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no provider {given:?}, there are: {known}")]
pub struct UnknownProvider {
    given: String,
    known: String,
}

/// A running simulator. Dropping it stops it.
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: server::Handle,
}

/// What the sockets and the handle share.
pub(crate) struct Shared {
    engine: Mutex<Engine>,
    started: Instant,
}

impl Shared {
    /// The engine. A panic elsewhere leaves its numbers usable, so the lock's poison is ignored.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Simulator {
    /// Starts to listen. Must be called within a tokio runtime. Fails when the address can't be
    /// used, or rules are given for a provider that does not exist.
    pub async fn start(config: SimulatorConfig) -> io::Result<Self> {
        let providers = crate::providers::ALL.iter().map(|provider| provider.simulated()).collect();
        let mut engine = Engine::new(providers, config.seed, config.ledger_capacity, Timestamp::now());
        for (provider, rules) in config.rules {
            engine
                .set_rules(&provider, rules)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        }
        engine.set_faults(config.faults);
        let shared = Arc::new(Shared { engine: Mutex::new(engine), started: Instant::now() });
        let (address, server) = server::start(config.listen, shared.clone())?;
        Ok(Self { address, shared, server })
    }

    /// The time since its start, by which the ledger tells when a request arrived.
    pub fn now(&self) -> Duration {
        self.shared.now()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL of every provider it plays, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that arrived, as far as the ledger still holds it.
    pub fn ledger(&self) -> Vec<Entry> {
        self.shared.engine().ledger().page(0, usize::MAX).entries
    }

    /// At most `limit` arrivals from number `since` on, as far as the ledger still holds them.
    pub fn page(&self, since: u64, limit: usize) -> Page {
        self.shared.engine().ledger().page(since, limit)
    }

    /// Counts, the most arrivals in a window, and what was accepted twice.
    pub fn summary(&self) -> Summary {
        self.shared.engine().summary()
    }

    /// Forgets all arrivals and counts; the limits and duplicate windows go on.
    pub fn clear_ledger(&self) {
        self.shared.engine().clear_ledger();
    }

    /// Replaces all faults.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.shared.engine().set_faults(plan);
    }

    /// Adds faults, each as in `--fault` (see [`faults`]), behind those in force.
    pub fn add_faults(&self, rules: impl IntoIterator<Item = FaultRule>) {
        self.shared.engine().add_faults(rules);
    }

    /// The rules in force for a provider.
    pub fn rules(&self, provider: &str) -> Result<Rules, UnknownProvider> {
        self.shared.engine().rules(provider).cloned()
    }

    /// Replaces a provider's rules.
    pub fn set_rules(&self, provider: &str, rules: Rules) -> Result<(), UnknownProvider> {
        self.shared.engine().set_rules(provider, rules)
    }

    /// Resets every connection and refuses new ones for this long from now; zero ends an earlier
    /// one. The port stays reserved.
    pub fn refuse_connections(&self, time: Duration) {
        self.server.down(time);
    }

    /// Stops listening, ends every connection, and returns when all of it is gone.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

#[cfg(test)]
mod tests;
