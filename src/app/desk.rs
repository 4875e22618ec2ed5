//! What the console asks for: always of the present configuration.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};

use super::generations::Present;
use super::{Onlookers, dead_letters, onlookers};
use crate::admin::Desk;
use crate::config::{Account, Config};
use crate::ports::{DeadLetters, Publisher};
use crate::status::{Left, Picture, Wish, fulfil, left_of};

/// The console's view of broker and store, by connections of its own.
pub(super) struct ConsoleDesk {
    present: watch::Receiver<Present>,
    /// Made when they are first asked for, and again for each configuration.
    standing: Mutex<Option<(Arc<Config>, Onlookers)>>,
}

impl ConsoleDesk {
    pub(super) fn new(present: watch::Receiver<Present>) -> Self {
        Self { present, standing: Mutex::default() }
    }
}

/// Connects where that has not been done for this configuration.
async fn connected<'a>(
    standing: &'a mut Option<(Arc<Config>, Onlookers)>,
    config: &Arc<Config>,
) -> anyhow::Result<&'a mut Onlookers> {
    let same = standing.take().filter(|(known, _)| Arc::ptr_eq(known, config));
    let ready = match same {
        Some(ready) => ready,
        None => (config.clone(), onlookers(config).await?),
    };
    Ok(&mut standing.insert(ready).1)
}

fn account<'a>(config: &'a Config, name: &str) -> Option<&'a Account> {
    config.accounts.values().find(|account| account.name.as_str() == name).map(AsRef::as_ref)
}

#[async_trait]
impl Desk for ConsoleDesk {
    async fn look(&self) -> anyhow::Result<Picture> {
        let config = self.config();
        let mut standing = self.standing.lock().await;
        Ok(connected(&mut standing, &config).await?.look(&config).await)
    }

    async fn fulfil(&self, wish: Wish, name: &str) -> anyhow::Result<Option<Vec<Left>>> {
        let config = self.config();
        let Some(account) = account(&config, name) else { return Ok(None) };
        let mut standing = self.standing.lock().await;
        let store = connected(&mut standing, &config).await?.store();
        fulfil(wish, account, store).await?;
        Ok(Some(left_of(account, store).await))
    }

    fn config(&self) -> Arc<Config> {
        self.present.borrow().config.clone()
    }

    fn letters(&self) -> anyhow::Result<Arc<dyn DeadLetters>> {
        dead_letters(&self.config())
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.present.borrow().publisher.clone()
    }
}
