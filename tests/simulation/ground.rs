//! What a run's workers stand on: a broker and a store, or one file.

use std::sync::Arc;

use bytes::Bytes;
use paceline::job::AccountName;
use paceline::ports::{Claims, Permits, Place, Properties, Publisher, Queue, Sightings};

use super::broker::{self, Broker, DeadLetter, Receipt, Rest};
use super::file::{self, Disk};
use super::life::Life;
use super::store::Store;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Servers,
    File,
}

/// The one that a run has.
pub enum Ground {
    Servers { broker: Arc<Broker>, store: Arc<Store> },
    File(Arc<Disk>),
}

/// A worker's ways to it.
pub struct Ways {
    pub queue: Arc<dyn Queue>,
    pub publisher: Arc<dyn Publisher>,
    pub claims: Arc<dyn Claims>,
    pub permits: Arc<dyn Permits>,
    pub sightings: Arc<dyn Sightings>,
    link: Link,
}

enum Link {
    Broker(Arc<broker::Link>),
    File(Arc<file::Link>),
}

impl Ways {
    /// The worker's process is gone.
    pub fn end(&self) {
        match &self.link {
            Link::Broker(link) => link.end(),
            Link::File(link) => link.end(),
        }
    }
}

impl Ground {
    /// Connects a worker's process.
    pub fn connect(&self, life: &Arc<Life>) -> Ways {
        match self {
            Self::Servers { broker, store } => {
                let link = broker.connect(life.clone());
                let (port, store) =
                    (Arc::new(broker::Port(link.clone())), Arc::new(store.connect(life.clone())));
                Ways {
                    queue: port.clone(),
                    publisher: port,
                    claims: store.clone(),
                    permits: store.clone(),
                    sightings: store,
                    link: Link::Broker(link),
                }
            }
            Self::File(disk) => {
                let link = disk.connect(life.clone());
                let port = Arc::new(file::Port(link.clone()));
                Ways {
                    queue: port.clone(),
                    publisher: port.clone(),
                    claims: port.clone(),
                    permits: port.clone(),
                    sightings: port,
                    link: Link::File(link),
                }
            }
        }
    }

    pub fn put(&self, place: &Place, body: Bytes, properties: Properties) {
        match self {
            Self::Servers { broker, .. } => broker.put(place, body, properties),
            Self::File(disk) => disk.put(place, body, properties),
        }
    }

    pub fn pause(&self, account: &AccountName, pauses: bool) {
        match self {
            Self::Servers { store, .. } => store.pause(account, pauses),
            Self::File(disk) => disk.pause(account, pauses),
        }
    }

    pub fn receipts(&self) -> Vec<Receipt> {
        match self {
            Self::Servers { broker, .. } => broker.receipts(),
            Self::File(disk) => disk.receipts(),
        }
    }

    /// What came to a producer's own queue; a file has none.
    pub fn replies(&self) -> Vec<Receipt> {
        match self {
            Self::Servers { broker, .. } => broker.replies(),
            Self::File(_) => Vec::new(),
        }
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        match self {
            Self::Servers { broker, .. } => broker.dead_letters(),
            Self::File(disk) => disk.dead_letters(),
        }
    }

    pub fn rest(&self) -> Rest {
        match self {
            Self::Servers { broker, .. } => broker.rest(),
            Self::File(disk) => disk.rest(),
        }
    }

    pub fn unfinished(&self) -> Vec<(String, String)> {
        match self {
            Self::Servers { store, .. } => store.unfinished(),
            Self::File(disk) => disk.unfinished(),
        }
    }

    /// The end of the run.
    pub fn dissolve(&self) {
        match self {
            Self::Servers { broker, .. } => broker.dissolve(),
            Self::File(_) => {}
        }
    }
}
