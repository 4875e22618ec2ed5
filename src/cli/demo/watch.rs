//! What the demo sees of the running system: receipts as they are written, queues and pauses as
//! they are. It looks through the ports, as an operator would, and changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::picture::{Health, Lane};
use crate::config::{Account, Config};
use crate::job::{AccountName, Line, Priority};
use crate::ports::{
    Claims, Destination, Held, Outgoing, Pause, PauseCause, Permits, Place, PublishError, Publisher, Queue,
};
use crate::worker::Worker;

/// How often queues and pauses are looked at.
const EVERY: Duration = Duration::from_millis(120);

/// A receipt as it was confirmed by the queue.
pub(super) struct Heard {
    /// The same for a receipt that repeats.
    pub(super) name: String,
    pub(super) body: Bytes,
}

/// A publisher that lets somebody listen to receipts.
pub(super) struct Overheard {
    pub(super) inner: Arc<dyn Publisher>,
    pub(super) heard: mpsc::UnboundedSender<Heard>,
}

#[async_trait]
impl Publisher for Overheard {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let receipt = match &message.destination {
            Destination::Receipts { .. } => {
                let name = message.properties.message_id.clone().unwrap_or_default();
                Some(Heard { name, body: message.body.clone() })
            }
            Destination::Place(_)
            | Destination::Delay(_)
            | Destination::Reply { .. }
            | Destination::Jobs(_) => None,
        };
        self.inner.publish(message).await?;
        if let Some(receipt) = receipt {
            // Nobody listens any more at the very end.
            let _ = self.heard.send(receipt);
        }
        Ok(())
    }
}

/// What was seen of an account.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) lanes: Vec<Lane>,
    pub(super) health: Health,
}

/// Everything that was seen, by account.
pub(super) type Sight = BTreeMap<AccountName, Seen>;

/// Looks at one system.
pub(super) struct Lookout {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) claims: Arc<dyn Claims>,
    pub(super) permits: Arc<dyn Permits>,
    pub(super) worker: Arc<Worker>,
    pub(super) config: Config,
}

impl Lookout {
    /// Looks again and again until nobody wants to know.
    pub(super) async fn watch(self, seen: watch::Sender<Sight>) {
        while !seen.is_closed() {
            let sight = self.look().await;
            seen.send_replace(sight);
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&self) -> Sight {
        let held = self.worker.held();
        let mut sight = Sight::new();
        for account in self.config.accounts.values() {
            let lanes = self.lanes(account, &held).await;
            sight.insert(account.name.clone(), Seen { lanes, health: self.health(account).await });
        }
        sight
    }

    async fn lanes(&self, account: &Account, held: &[Held]) -> Vec<Lane> {
        let name = || account.name.clone();
        let lane = |priority| Place::Lane(name(), Line::MAIN, priority);
        let places = [
            ("retry", Place::Retry(name(), Line::MAIN)),
            ("high", lane(Priority::High)),
            ("normal", lane(Priority::Normal)),
            ("low", lane(Priority::Low)),
        ];
        let depths = self.queue.depths(&places.clone().map(|(_, place)| place)).await;
        let in_hands = |place: &Place| -> u64 {
            held.iter().filter(|held| held.place == *place).map(|held| held.waiting).sum()
        };
        let lanes = places.iter().zip(depths).map(|((name, place), depth)| Lane {
            name,
            waiting: depth.unwrap_or_default() + in_hands(place),
        });
        lanes.collect()
    }

    async fn health(&self, account: &Account) -> Health {
        // A store that does not answer for a moment is asked again soon.
        let of_account = self.claims.pause_of(&account.name, &Line::MAIN).await.ok().flatten();
        let main = account.gateway.pools().into_iter().find(|(pool, _, _)| pool.line() == Line::MAIN);
        let of_pool = match main {
            Some((_, key, _)) => self.permits.usage(&key).await.ok().and_then(|usage| usage.paused),
            None => None,
        };
        of_account.or(of_pool).map_or(Health::Well, health_of)
    }
}

fn health_of(pause: Pause) -> Health {
    match pause.cause {
        PauseCause::Circuit if pause.wait.is_zero() => Health::Probing,
        PauseCause::Circuit => Health::Open(pause.wait),
        PauseCause::Throttled => Health::Throttled(pause.wait),
        PauseCause::Credentials | PauseCause::Operator | PauseCause::Receipts => {
            Health::Stopped(pause.cause.as_str())
        }
    }
}
