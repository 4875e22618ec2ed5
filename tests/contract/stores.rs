//! The stores on which the contract of claims, permits and sightings is shown.
//!
//! A test is written once, for any [`Bench`], and named in [`on_every_store`]; a further adapter is one
//! more bench and three more lines in that macro.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use paceline::config::{CircuitConfig, LimiterConfig};
use paceline::ports::{Claims, Permits, PoolKey, Sightings, Window};

use crate::support::redis::settings;

pub mod embedded;
mod model;
mod redis;

pub use embedded::File;
pub use model::Model;
pub use redis::Redis;

/// What a store goes by; a test changes what it is about.
#[derive(Debug, Clone)]
pub struct Terms {
    pub dedupe_ttl: Duration,
    pub lease: Duration,
    pub request_timeout: Duration,
    pub max_age: Duration,
    pub limiter: LimiterConfig,
    pub circuit: CircuitConfig,
    pub pools: Vec<(PoolKey, Vec<Window>)>,
}

impl Default for Terms {
    fn default() -> Self {
        let settings = settings("");
        Self {
            dedupe_ttl: settings.dedupe_ttl,
            lease: settings.lease,
            request_timeout: settings.request_timeout,
            max_age: settings.max_age,
            limiter: settings.limiter,
            circuit: settings.circuit,
            pools: Vec::new(),
        }
    }
}

/// A store under test, with what a test does to it beside the ports.
pub trait Bench: Sized + Send + Sync + 'static {
    /// A worker's way to it.
    type Store: Claims + Permits + Sightings + 'static;

    /// Starts one with nothing in it.
    fn start(terms: Terms) -> impl Future<Output = Self> + Send;
    /// Connects one more worker.
    fn connect(&self) -> impl Future<Output = Arc<Self::Store>> + Send;
    /// Loses all that was written.
    fn forget(&self) -> impl Future<Output = ()> + Send;
    /// Makes its clock, as far as leases go by it, step back.
    fn step_back(&self, by: Duration) -> impl Future<Output = ()> + Send;
}

/// A store that differs from the usual one, and a worker's way to it.
pub async fn started<B: Bench>(change: impl FnOnce(&mut Terms)) -> (B, Arc<B::Store>) {
    let mut terms = Terms::default();
    change(&mut terms);
    let bench = B::start(terms).await;
    let store = bench.connect().await;
    (bench, store)
}

/// Makes a test of each of these functions for every store.
macro_rules! on_every_store {
    ($($name:ident),* $(,)?) => {
        crate::contract::stores::on_every_shared_store! { $($name),* }
        mod on_a_file {
            $(#[tokio::test] async fn $name() { super::$name::<crate::contract::stores::File>().await })*
        }
    };
}

/// The same for tests that need several workers, each with a process of its own.
macro_rules! on_every_shared_store {
    ($($name:ident),* $(,)?) => {
        mod on_redis {
            $(#[tokio::test] async fn $name() { super::$name::<crate::contract::stores::Redis>().await })*
        }
        /// The simulation's store, which must mean what the others mean.
        mod on_the_model {
            $(#[tokio::test] async fn $name() { super::$name::<crate::contract::stores::Model>().await })*
        }
    };
}

pub(crate) use {on_every_shared_store, on_every_store};
