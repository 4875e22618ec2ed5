//! A worker's report as JSON, as every store keeps it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::job::AccountName;
use crate::ports::{Held, Load, Place, PoolKey, Sighting, StoreError};

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

/// A report for the store; empty to take it back.
///
/// # Errors
/// When it can't be written as JSON, which holds for no report of ours.
pub(crate) fn written(sighting: &Sighting) -> Result<String, StoreError> {
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
pub(crate) fn read(json: &[u8]) -> Option<Sighting> {
    let stored: Stored = serde_json::from_slice(json).ok()?;
    let held = stored.held.into_iter().filter_map(|held| {
        let place = Place::of_label(AccountName::new(&held.account)?, &held.queue)?;
        Some(Held { place, waiting: held.waiting, oldest: held.oldest })
    });
    let loads = stored
        .loads
        .into_iter()
        .map(|load| Load { pool: PoolKey(load.pool), deliveries_per_request: load.deliveries });
    Some(Sighting { held: held.collect(), loads: loads.collect() })
}
