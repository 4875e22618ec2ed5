//! What is configured: read once at the start, checked whole, then handed on as plain values.
//!
//! Every tunable is one row in a table of [`keys::Key`]s: its name, meaning, unit,
//! bounds, default and the reason for the default stand in one place, which parsing, help and the
//! reference document share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::job::AccountName;
use crate::ports::Place;
use crate::providers::Gateway;

pub mod keys;
pub mod load;
pub mod reference;
pub mod roots;
pub mod settings;
pub mod show;
pub mod source;
pub mod value;

pub use load::{Loaded, load, load_text};
pub use roots::Roots;
pub use settings::Settings;
pub use source::{Environment, Origin};

/// What is wrong with one key: names the key and the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem} (in {origin})")]
pub struct ConfigError {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
    /// The file or the environment variable it came from.
    pub origin: String,
}

/// Everything that is wrong with a configuration, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// One key as it is in force, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Dotted path of the key.
    pub key: String,
    /// Its value in TOML's notation, credentials masked; `None` when it is not set.
    pub value: Option<String>,
    /// Where the value came from.
    pub origin: Origin,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Lines for people or objects for machines.
    pub format: LogFormat,
    /// The least important level that is logged: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The format of a configuration's word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "human" => Some(Self::Human),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// A text that must not be seen: a credential, or an address with a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for the wire only, never for a log, an error, a queue or a metric.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that is broker and store at once, where no servers are wanted.
    pub embedded: Option<PathBuf>,
    /// The broker.
    pub queue: QueueConfig,
    /// Claims and permits.
    pub store: StoreConfig,
    /// The listener for metrics and health; `None` when switched off.
    pub admin: Option<SocketAddr>,
    /// The console; `None` when switched off.
    pub console: Option<ConsoleConfig>,
    /// How a worker works.
    pub worker: WorkerConfig,
    /// Permits.
    pub limiter: LimiterConfig,
    /// Retries.
    pub retry: RetryConfig,
    /// Pauses for all workers.
    pub circuit: CircuitConfig,
    /// The accounts, by name.
    pub accounts: BTreeMap<AccountName, Arc<Account>>,
}

/// The console of `[admin]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// What whoever uses it must know.
    pub token: Secret,
    /// Where dead letters that it drops are kept; `None` where it drops none.
    pub dropped: Option<PathBuf>,
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Addresses of the broker's nodes, tried in turn. They may hold a password.
    pub urls: Vec<Secret>,
    /// CAs trusted beside the system's.
    pub ca: Option<Roots>,
    /// What all names at the broker begin with.
    pub prefix: String,
    /// The longest time to connect.
    pub connect_timeout: Duration,
    /// The longest time to wait for a confirm.
    pub publish_timeout: Duration,
    /// The most messages published before their confirms are awaited.
    pub publish_batch: usize,
    /// The longest pause between two attempts to reconnect; the first is a fraction of a second.
    pub reconnect_max: Duration,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// Address of Redis. It may hold a password.
    pub url: Secret,
    /// CAs trusted beside the system's.
    pub ca: Option<Roots>,
    /// What all keys begin with: the queue's prefix.
    pub prefix: String,
    /// How long an id is remembered after its end.
    pub dedupe_ttl: Duration,
    /// The longest time to wait for an answer.
    pub timeout: Duration,
}

/// `[worker]`
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The longest time for one request to a provider, from writing to the whole answer.
    pub request_timeout: Duration,
    /// The longest time to connect to a provider.
    pub connect_timeout: Duration,
    /// CAs trusted beside the system's, for every provider.
    pub ca: Option<Roots>,
    /// How long a claim lasts.
    pub lease: Duration,
    /// The most exempt requests of one account under way at once, in each worker; counted ones
    /// follow from the limit.
    pub requests_in_flight: usize,
    /// The most unsettled messages taken from an account's job queue.
    pub jobs_prefetch: u16,
    /// The most unsettled messages taken from each lane; `None` follows the limit's rate.
    pub lane_prefetch: Option<u16>,
    /// The most exempt requests a second of each account, in each worker; `None` for no ceiling.
    pub exempt_per_second: Option<u32>,
    /// Which lanes get how many permits.
    pub weights: Weights,
    /// A message held this long without being settled is given back, so that the broker's own
    /// timeout is never reached.
    pub hold: Duration,
    /// The longest time for work in progress to end after SIGTERM.
    pub drain: Duration,
}

/// How lanes share an account's permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Every n-th permit goes to the lower lanes first, so that they never starve.
    pub lower_every: u32,
    /// So many of the permits of `normal` and `low` go to `normal`, for each that goes to `low`.
    pub normal_per_low: u32,
}

/// `[limiter]`
#[derive(Debug, Clone, Copy)]
pub struct LimiterConfig {
    /// H: how far ahead a slot may lie.
    pub horizon: Duration,
    /// σ: how long after its beginning a slot may be used.
    pub slot_width: Duration,
    /// J: how much the delay between writing a request and its being counted may vary.
    pub jitter: Duration,
    /// b: the most permits an idle account gets at once.
    pub burst: u32,
}

/// `[retry]`
#[derive(Debug, Clone, Copy)]
pub struct RetryConfig {
    /// The most retries of a delivery; throttling and pauses use up none.
    pub attempts: u32,
    /// A delivery older than this (since publishing) is not tried again.
    pub max_age: Duration,
    /// The first wait's upper bound; each further one doubles it.
    pub base: Duration,
    /// The largest upper bound of a wait.
    pub cap: Duration,
}

/// `[circuit]`
#[derive(Debug, Clone, Copy)]
pub struct CircuitConfig {
    /// So many faults in a row, over all workers, open an account's circuit.
    pub failures: u32,
    /// The first pause of an open circuit; each further one doubles it.
    pub pause: Duration,
    /// The longest pause of an open circuit.
    pub pause_max: Duration,
    /// The pause after a refused credential, before a probe.
    pub credentials_pause: Duration,
    /// The pause when a provider throttles without saying for how long.
    pub throttle_pause: Duration,
}

/// One `[accounts.NAME]`.
#[derive(Clone)]
pub struct Account {
    /// Its name.
    pub name: AccountName,
    /// Its provider's name.
    pub provider: &'static str,
    /// Everything else is the provider's.
    pub gateway: Arc<dyn Gateway>,
}

impl Account {
    /// Its queues.
    pub fn places(&self) -> Vec<Place> {
        let lines: Vec<_> = self.gateway.pools().iter().map(|(pool, _, _)| pool.line()).collect();
        Place::of_account(&self.name, &lines)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}
