//! Claims and permits on Redis, shared by all workers.
//!
//! - `gather` trips that many callers share
//! - `link` the one connection: found lost by the call that fails, opened again by one task
//! - [`claims`] who handles a delivery, how it ended, and each account's health
//! - [`permits`] the limit of a pool, with the proof of its bound
//! - `sightings` what workers report of the deliveries in their hands
//! - [`pacing`] the pure part of permits: rates, instants, and noticing that a clock stepped
//!
//! Every change is made by a Lua script, so that nothing comes between its parts, and on the store's own
//! clock, so that the workers' clocks don't matter. One run may make changes for many deliveries of an
//! account. Every script bears being run twice, because a reply that is lost still ran. The scripts lie
//! beside the modules as files.
//!
//! All keys of one script share a `{tag}`, so that Redis Cluster keeps them on one node:
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{<prefix>:<account>}:c:<delivery id>` | string | a claim |
//! | `{<prefix>:<account>}:health` | hash | the account's pauses and faults |
//! | `{<prefix>:<account>}:suspects` | set | deliveries for which the account was found at fault |
//! | `{<prefix>:<account>}:cleared` | set | those, once another delivery was accepted |
//! | `{<prefix>:pool:<pool key>}` | hash | a pool's next free slot |
//! | `{<prefix>:pool:<pool key>}:counts` | hash | its slots by second, for people |
//! | `{<prefix>:sightings}` | hash | what each worker holds waiting, for people |
//! | `{<prefix>:suspect}:<fingerprint>` | set | the handlings of a suspected message that did not end |
//!
//! Redis must keep what it is told: `appendonly yes`, `maxmemory-policy noeviction`. The user needs
//! `INFO`, `TIME`, `EVAL`, `EVALSHA`, `SCRIPT LOAD` and the commands for strings, hashes and sets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::Mutex;

use crate::config::{CircuitConfig, Config, LimiterConfig, Roots, Secret};
use crate::ports::{Chance, PoolKey, StoreError, Window};

pub mod claims;
mod gather;
mod link;
pub mod pacing;
pub mod permits;
mod sightings;

use claims::ClaimScripts;
use gather::Counter;
use link::{Link, Script};
use pacing::Pace;
use permits::Pool;

/// What the store needs of the configuration.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Address of Redis (`redis://` or `rediss://`). It may hold a password. For `rediss://` the
    /// process must have installed a rustls `CryptoProvider`.
    pub url: Secret,
    /// CAs trusted beside the system's, for `rediss://`.
    pub ca: Option<Roots>,
    /// What all keys begin with.
    pub prefix: String,
    /// The longest time to wait for an answer.
    pub timeout: Duration,
    /// How long an id is remembered after its end.
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
    /// Pauses for all workers.
    pub circuit: CircuitConfig,
}

impl From<&Config> for StoreSettings {
    fn from(config: &Config) -> Self {
        Self {
            url: config.store.url.clone(),
            ca: config.store.ca.clone(),
            prefix: config.store.prefix.clone(),
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

/// Claims and permits on one Redis.
pub struct RedisStore {
    link: Arc<Link>,
    settings: StoreSettings,
    scripts: Arc<ClaimScripts>,
    counter: Counter,
    permits: Script,
    sightings: Script,
    pools: HashMap<PoolKey, Pool>,
}

impl RedisStore {
    /// Connects, or goes on without a connection when Redis is down: then every call fails at
    /// once until it is up, which is found out by itself.
    ///
    /// `pools` are the limits of all accounts; of several entries with one key the first counts.
    ///
    /// # Errors
    /// When the address can't be read, a window allows fewer than 2 requests, or Redis is there
    /// but refuses: a wrong password, a user without `INFO` or another right. So it is when it shows
    /// a certificate that can't be trusted.
    pub async fn connect(
        settings: StoreSettings,
        pools: Vec<(PoolKey, Vec<Window>)>,
        chance: Arc<dyn Chance>,
    ) -> Result<Arc<Self>, StoreError> {
        let mut by_key = HashMap::new();
        for (key, windows) in pools {
            let pace = Pace::new(&settings.limiter, &windows)
                .ok_or_else(|| StoreError(format!("pool {key:?}: a window allows fewer than 2 requests")))?;
            by_key.entry(key.clone()).or_insert_with(|| Pool {
                pace,
                key: format!("{{{}:pool:{}}}", settings.prefix, key.0),
                counts: format!("{{{}:pool:{}}}:counts", settings.prefix, key.0),
                seen: Mutex::new(None),
            });
        }
        let probe_key = format!("{{{}:probe}}", settings.prefix);
        let link =
            Link::start(&settings.url, settings.ca.as_ref(), settings.timeout, probe_key, chance).await?;
        let scripts = Arc::new(ClaimScripts::new(&settings));
        let counter = Counter::open(link.clone(), scripts.clone(), settings.prefix.clone());
        Ok(Arc::new(Self {
            link,
            scripts,
            counter,
            settings,
            permits: Script::new(permits::LIVE),
            sightings: sightings::script(),
            pools: by_key,
        }))
    }
}

/// An answer that no script of ours gives.
fn unreadable(what: &str) -> StoreError {
    StoreError(format!("an unreadable answer to {what}"))
}

/// A list of whole numbers.
fn integers(values: &[Value]) -> Option<Vec<i64>> {
    values
        .iter()
        .map(|value| match value {
            Value::Int(number) => Some(*number),
            _ => None,
        })
        .collect()
}

/// A length of time in whole milliseconds, for a script.
fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds of a script as a length of time; none is below 0.
fn from_millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
