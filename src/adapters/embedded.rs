//! All ports over one SQLite file: queues, receipts, claims, permits, reports. For one machine and
//! one worker, without any server.
//!
//! Reading order:
//! - `file` who may open it, how it is opened, its tables
//! - `engine` one request after another, many in one transaction; `queues`, `claims` (with the pure
//!   `record` and `health`), `sightings`, `upkeep` are its parts
//! - `desk` who subscribed to what, and what is in whose hands
//! - `limits` permits, with the bound across a restart
//! - `front` the ports: requests go to the engine's thread, or are done at once for a simulation
//!
//! # What it rests on
//!
//! - A commit is answered when the file's log is on the disk (`synchronous=FULL`): neither the end of
//!   the process nor a power cut takes back what was answered, if the disk doesn't lie.
//! - One worker uses the file, which the system's lock on `FILE.lock` makes sure of. Any number of
//!   other processes may publish and look meanwhile.
//! - The file lies on a local disk.
//!
//! # Receipts
//!
//! They are rows of the table `receipt`, for as long as ids are remembered (`store.dedupe_ttl`) and a
//! million at the most. Whoever wants them reads them, in any language, and remembers the last `id`:
//!
//! ```sql
//! SELECT id, account, status, body FROM receipt WHERE id > ? ORDER BY id LIMIT 1000;
//! ```
//!
//! There are no other queues than paceline's, so a job's `reply_to` leads nowhere; the receipt has the
//! job's `correlation_id`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{CircuitConfig, Config, LimiterConfig};
use crate::ports::{Place, PoolKey, Window};

mod claims;
mod desk;
mod engine;
mod file;
mod front;
mod health;
mod letters;
mod limits;
mod queues;
mod record;
mod sightings;
mod upkeep;

pub use file::OpenError;
pub use front::Embedded;

/// What a process does with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes messages, and everything else. Only one at a time.
    Worker,
    /// Publishes. Makes the file where there is none.
    Producer,
    /// Looks, pauses and resumes. Makes nothing.
    Onlooker,
}

/// What the adapter needs of the configuration.
#[derive(Debug, Clone)]
pub struct EmbeddedSettings {
    /// The file.
    pub file: PathBuf,
    /// The queues of all accounts.
    pub places: Vec<Place>,
    /// The limits of all accounts; of several entries with one key the first counts.
    pub pools: Vec<(PoolKey, Vec<Window>)>,
    /// The longest time to wait until a message is safe.
    pub publish_timeout: Duration,
    /// The longest time to wait for an answer of the store.
    pub timeout: Duration,
    /// How long an id is remembered after its end, and a receipt is kept.
    pub dedupe_ttl: Duration,
    /// How long a claim lasts.
    pub lease: Duration,
    /// The longest time for one request to a provider: no request is begun later than this (and a
    /// second) before the end of the lease.
    pub request_timeout: Duration,
    /// A delivery older than this is not tried again: its claim is kept an hour longer.
    pub max_age: Duration,
    /// Permits.
    pub limiter: LimiterConfig,
    /// Pauses of accounts.
    pub circuit: CircuitConfig,
}

impl EmbeddedSettings {
    /// The settings of a configuration for its file.
    pub fn of(config: &Config, file: PathBuf) -> Self {
        let pools = config.accounts.values().flat_map(|account| account.gateway.pools());
        Self {
            file,
            places: config.accounts.values().flat_map(|account| account.places()).collect(),
            pools: pools.map(|(_, key, windows)| (key, windows)).collect(),
            publish_timeout: config.queue.publish_timeout,
            timeout: config.store.timeout,
            dedupe_ttl: config.store.dedupe_ttl,
            lease: config.worker.lease,
            request_timeout: config.worker.request_timeout,
            max_age: config.retry.max_age,
            limiter: config.limiter,
            circuit: config.circuit,
        }
    }
}

/// Settings for tests; each changes what it is about.
#[cfg(test)]
fn tests_settings() -> EmbeddedSettings {
    use crate::job::{AccountName, Line};
    let seconds = Duration::from_secs;
    let shop = AccountName::new("shop").expect("a name");
    EmbeddedSettings {
        file: PathBuf::from("jobs.db"),
        places: Place::of_account(&shop, &[Line::MAIN]),
        pools: Vec::new(),
        publish_timeout: seconds(20),
        timeout: seconds(20),
        dedupe_ttl: seconds(3_600),
        lease: seconds(60),
        request_timeout: seconds(20),
        max_age: seconds(3_600),
        limiter: LimiterConfig {
            horizon: seconds(2),
            slot_width: Duration::from_millis(200),
            jitter: Duration::from_millis(100),
            burst: 1,
        },
        circuit: CircuitConfig {
            failures: 3,
            pause: seconds(1),
            pause_max: seconds(4),
            credentials_pause: seconds(2),
            throttle_pause: seconds(1),
        },
    }
}
