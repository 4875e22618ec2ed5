//! What the console asks for: always of the present configuration.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::generations::Present;
use super::{Onlookers, dead_letters, onlookers};
use crate::admin::Desk;
use crate::config::{Account, Config};
use crate::ports::{DeadLetters, Outgoing, PublishError, Publisher, Store};
use crate::status::{Left, Picture, Wish, fulfil, left_of};

/// A store, and the configuration that it is of.
type KnownStore = Option<(Arc<Config>, Arc<dyn Store>)>;

/// The console's view of broker and store, by connections of its own.
pub(super) struct ConsoleDesk {
    present: watch::Receiver<Present>,
    /// Made when they are first asked for, and again for each configuration.
    standing: Mutex<Option<(Arc<Config>, Onlookers)>>,
    /// The store among them: whoever pauses an account must not wait for a look at a broker that is away.
    store: StdMutex<KnownStore>,
}

impl ConsoleDesk {
    pub(super) fn new(present: watch::Receiver<Present>) -> Self {
        Self { present, standing: Mutex::default(), store: StdMutex::default() }
    }

    /// Connects where that has not been done for this configuration.
    async fn connected<'a>(
        &self,
        standing: &'a mut Option<(Arc<Config>, Onlookers)>,
        config: &Arc<Config>,
    ) -> anyhow::Result<&'a mut Onlookers> {
        let same = standing.take().filter(|(known, _)| Arc::ptr_eq(known, config));
        let ready = match same {
            Some(ready) => ready,
            None => (config.clone(), onlookers(config).await?),
        };
        let onlookers = &mut standing.insert(ready).1;
        *self.known_store() = Some((config.clone(), onlookers.store().clone()));
        Ok(onlookers)
    }

    async fn store(&self, config: &Arc<Config>) -> anyhow::Result<Arc<dyn Store>> {
        let known = self.known_store().clone().filter(|(known, _)| Arc::ptr_eq(known, config));
        if let Some((_, store)) = known {
            return Ok(store);
        }
        let mut standing = self.standing.lock().await;
        Ok(self.connected(&mut standing, config).await?.store().clone())
    }

    fn known_store(&self) -> MutexGuard<'_, KnownStore> {
        // Nothing panics while it is held.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn account<'a>(config: &'a Config, name: &str) -> Option<&'a Account> {
    config.accounts.values().find(|account| account.name.as_str() == name).map(AsRef::as_ref)
}

#[async_trait]
impl Desk for ConsoleDesk {
    async fn look(&self) -> anyhow::Result<Picture> {
        let config = self.config();
        let mut standing = self.standing.lock().await;
        Ok(self.connected(&mut standing, &config).await?.look(&config).await)
    }

    async fn fulfil(&self, wish: Wish, name: &str) -> anyhow::Result<Option<Vec<Left>>> {
        let config = self.config();
        let Some(account) = account(&config, name) else { return Ok(None) };
        let store = self.store(&config).await?;
        fulfil(wish, account, &*store).await?;
        Ok(Some(left_of(account, &*store).await))
    }

    fn config(&self) -> Arc<Config> {
        self.present.borrow().config.clone()
    }

    fn letters(&self) -> anyhow::Result<Arc<dyn DeadLetters>> {
        dead_letters(&self.config())
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(PresentPublisher(self.present.clone()))
    }
}

/// Publishes by whichever configuration is in force: work on dead letters outlasts a reload, and a
/// generation that ends closes its connection.
struct PresentPublisher(watch::Receiver<Present>);

#[async_trait]
impl Publisher for PresentPublisher {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let publisher = self.0.borrow().publisher.clone();
        publisher.publish(message).await
    }
}
