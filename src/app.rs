//! Stand-in until the composition root is merged.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;

use crate::config::Config;
use crate::ports::Publisher;

/// An object at the broker.
#[derive(Debug, Clone, Serialize)]
pub struct BrokerObject {
    /// `exchange` or `queue`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What else there is to say.
    pub detail: String,
}

/// Runs a worker until told to drain (1) or to end at once (2).
pub async fn run_worker(_: Config, _: watch::Receiver<u8>) -> anyhow::Result<()> {
    anyhow::bail!("stand-in")
}

/// A connected publisher.
pub async fn publisher(_: &Config) -> anyhow::Result<Arc<dyn Publisher>> {
    anyhow::bail!("stand-in")
}

/// Declares the broker objects.
pub async fn declare_topology(_: &Config) -> anyhow::Result<Vec<BrokerObject>> {
    anyhow::bail!("stand-in")
}
