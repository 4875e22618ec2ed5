//! Looks at queues, and declares or changes nothing: for people.

use tokio::time::{Instant, timeout_at};

use super::depth;
use super::link::{Link, LinkError};
use super::names;
use crate::config::QueueConfig;
use crate::ports::{LADDER_SECONDS, Place};

/// A connection that only looks.
pub struct Onlooker {
    link: Link,
    config: QueueConfig,
}

impl Onlooker {
    /// Connects to the first node that answers.
    ///
    /// # Errors
    /// When none does, or the broker refuses.
    pub async fn connect(config: &QueueConfig) -> Result<Self, LinkError> {
        let link = Link::open(config, &format!("{} status", config.prefix), 0).await?;
        Ok(Self { link, config: config.clone() })
    }

    /// Whether the connection still stands.
    pub fn is_connected(&self) -> bool {
        self.link.connection.status().connected()
    }

    /// How many messages wait in each place, those in workers' hands not counted; `None` for a queue
    /// that is not there or can't be asked.
    pub async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        self.ask(places.iter().map(|place| names::queue(&self.config.prefix, place))).await
    }

    /// How many messages wait on the delay ladder, for all accounts; `None` when it can't be asked.
    pub async fn delayed(&self) -> Option<u64> {
        let rungs = LADDER_SECONDS.map(|seconds| names::delay_queue(&self.config.prefix, seconds));
        let due = names::queue(&self.config.prefix, &Place::Due);
        self.ask(rungs.into_iter().chain([due])).await.into_iter().sum()
    }

    async fn ask(&self, queues: impl Iterator<Item = String>) -> Vec<Option<u64>> {
        let deadline = Instant::now() + self.config.connect_timeout;
        let (mut channel, mut depths) = (None, Vec::new());
        for queue in queues {
            let asked = timeout_at(deadline, depth(&self.link, &mut channel, &queue)).await;
            depths.push(asked.ok().flatten());
        }
        depths
    }
}
