//! The workers' reports of what waits in their hands: one hash, a field for each worker.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::link::Script;
use super::{RedisStore, from_millis, millis, unreadable};
use crate::job::AccountName;
use crate::ports::{Held, Load, Place, PoolKey, Sighted, Sighting, Sightings, StoreError};

/// A report that was not renewed for this long is forgotten: its worker is gone, for none holds a
/// delivery nearly as long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20 * 60);

/// The script that writes and reads reports.
pub(super) fn script() -> Script {
    Script::new(concat!(include_str!("clock.lua"), include_str!("sightings.lua")))
}

/// A report as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    held: Vec<StoredHeld>,
    loads: Vec<StoredLoad>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredHeld {
    account: String,
    queue: String,
    waiting: u64,
    oldest: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredLoad {
    pool: String,
    deliveries: f64,
}

#[async_trait]
impl Sightings for RedisStore {
    async fn report(&self, worker: &str, sighting: &Sighting) -> Result<(), StoreError> {
        let json = written(sighting)?;
        self.run_sightings(["report", worker, &json]).await.map(|_| ())
    }

    async fn sightings(&self) -> Result<Vec<Sighted>, StoreError> {
        match self.run_sightings(["read", "", ""]).await? {
            Value::Array(values) => Ok(values.chunks_exact(2).filter_map(read).collect()),
            _ => Err(unreadable("a question for reports")),
        }
    }
}

impl RedisStore {
    async fn run_sightings(&self, args: [&str; 3]) -> Result<Value, StoreError> {
        let key = format!("{{{}:sightings}}", self.settings.prefix);
        let longest = millis(FORGOTTEN_AFTER).to_string();
        let args = args.into_iter().chain([longest.as_str()]).map(str::as_bytes);
        let cmd = self.sightings.run([key.as_str()], args);
        self.link.run_one(&self.sightings, cmd).await
    }
}

/// A report for the store; empty to take it back.
fn written(sighting: &Sighting) -> Result<String, StoreError> {
    if sighting.held.is_empty() {
        return Ok(String::new());
    }
    let held = sighting.held.iter().filter_map(|held| {
        let account = held.place.account()?.as_str().to_owned();
        Some(StoredHeld { account, queue: held.place.label(), waiting: held.waiting, oldest: held.oldest })
    });
    let loads = sighting.loads.iter().map(|load| {
        let deliveries = load.deliveries_per_request;
        StoredLoad { pool: load.pool.0.clone(), deliveries }
    });
    serde_json::to_string(&Stored { held: held.collect(), loads: loads.collect() })
        .map_err(|_| StoreError("a report can't be written as JSON".into()))
}

/// A report from the store; `None` for one that another version of paceline wrote otherwise.
fn read(pair: &[Value]) -> Option<Sighted> {
    let [Value::Int(age), Value::BulkString(json)] = pair else { return None };
    let stored: Stored = serde_json::from_slice(json).ok()?;
    let held = stored.held.into_iter().filter_map(|held| {
        let place = Place::of_label(AccountName::new(&held.account)?, &held.queue)?;
        Some(Held { place, waiting: held.waiting, oldest: held.oldest })
    });
    let loads = stored
        .loads
        .into_iter()
        .map(|load| Load { pool: PoolKey(load.pool), deliveries_per_request: load.deliveries });
    let sighting = Sighting { held: held.collect(), loads: loads.collect() };
    Some(Sighted { age: from_millis(*age), sighting })
}
