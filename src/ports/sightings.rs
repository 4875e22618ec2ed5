//! What workers see of the deliveries that wait in their hands, for people who look.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Place, PoolKey, StoreError};

/// Deliveries of one queue that wait in a worker's hands. They are not in the queue's depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The queue they came from, always one of an account's.
    pub place: Place,
    /// How many.
    pub waiting: u64,
    /// When the oldest of them was published.
    pub oldest: Timestamp,
}

/// How full a limit's requests are.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The limit.
    pub pool: PoolKey,
    /// How many deliveries its recent counted requests carried on average, at least 1.
    pub deliveries_per_request: f64,
}

/// What one worker sees. Holds no ids, bodies or tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sighting {
    /// One entry for each queue of which something waits.
    pub held: Vec<Held>,
    /// One entry for each limit for which something waits and a request was made.
    pub loads: Vec<Load>,
}

/// A worker's last report.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighted {
    /// How long ago it was made, by the store's clock.
    pub age: Duration,
    /// What it said.
    pub sighting: Sighting,
}

/// The workers' reports. They only inform: nothing that is delivered depends on them.
#[async_trait]
pub trait Sightings: Send + Sync {
    /// Replaces a worker's report; one that holds nothing takes it back. `worker` is a text that no
    /// other worker uses. A report that is not renewed is forgotten after 20 minutes.
    async fn report(&self, worker: &str, sighting: &Sighting) -> Result<(), StoreError>;
    /// The last report of every worker that holds something. Those of workers that died are among
    /// them until they are forgotten.
    async fn sightings(&self) -> Result<Vec<Sighted>, StoreError>;
}
