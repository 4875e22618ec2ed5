//! Puts adapters together: the only file that names concrete ones.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use crate::adapters::http::HttpWire;
use crate::adapters::rabbitmq::{self, Onlooker, RabbitLetters, RabbitMq};
use crate::adapters::redis::{RedisStore, StoreSettings};
use crate::adapters::system::{SystemChance, SystemClock};
use crate::admin;
use crate::app::generations::{Generation, Generations};
use crate::config::{Config, QueueConfig};
use crate::metrics;
use crate::ports::{DeadLetters, Place, Publisher, Queue, Store};
use crate::status::{self, Picture, Queues};
use crate::worker::{Manner, Ports, Stage};

mod desk;
mod generations;

/// How often recorded histogram values are folded, so that memory stays flat while nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How long a command that publishes waits for the broker.
const PUBLISHER_PATIENCE: Duration = Duration::from_secs(30);

/// An object at the broker, for people.
#[derive(Debug, Clone, Serialize)]
pub struct BrokerObject {
    /// `exchange`, `queue` or `binding`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its type and arguments.
    pub detail: String,
}

/// Runs a worker until `stage` says to drain, then drains. A worker of each configuration that comes
/// by `configs` takes over from the one before it; their `[queue]`, `[store]` and `[admin]` are those
/// of the first.
///
/// # Errors
/// When something at the broker has another form than paceline needs, the store refuses the
/// address or lacks a right, or the admin listener can't be opened. A server that is merely down
/// is waited for.
pub async fn run_worker(
    config: Config,
    stage: watch::Receiver<Stage>,
    configs: mpsc::Receiver<Config>,
) -> anyhow::Result<()> {
    let handle = metrics::install()?;
    let (admin, console) = (config.admin, config.console.clone());
    // First, so that a second worker on one file learns of the first one, not of its port.
    let first = Generation::new(config).await?;
    let listener = match admin {
        Some(address) => Some(admin::bind(address).await?),
        None => None,
    };
    let generations = Generations::start(first, stage);
    let upkeep = tokio::spawn(keep_up(handle.clone()));
    let (ended, end) = watch::channel(false);
    let observed = Arc::new(generations.observed());
    let console = console.map(|config| {
        let desk = Arc::new(desk::ConsoleDesk::new(generations.present()));
        admin::Console { config, desk }
    });
    let serving = listener
        .map(|listener| tokio::spawn(admin::serve(listener, handle, observed, console, until_true(end))));
    let worked = generations.run(configs).await;
    // Nobody listening any more is fine.
    let _ = ended.send(true);
    if let Some(serving) = serving {
        serving.await.context("the admin listener failed")?;
    }
    upkeep.abort();
    worked
}

async fn keep_up(handle: metrics::Handle) {
    loop {
        tokio::time::sleep(UPKEEP_EVERY).await;
        handle.run_upkeep();
    }
}

async fn until_true(mut flag: watch::Receiver<bool>) {
    // A sender that is gone has nothing more to say: that is an end too.
    let _ = flag.wait_for(|set| *set).await;
}

/// What a worker keeps its messages and claims in.
enum Servers {
    /// A broker and a store, which any number of workers share.
    Shared {
        /// RabbitMQ.
        broker: Arc<RabbitMq>,
        /// Redis.
        store: Arc<RedisStore>,
    },
    /// One file, for one worker.
    Embedded(Arc<Embedded>),
}

impl Servers {
    async fn of(config: &Config, chance: Arc<SystemChance>) -> anyhow::Result<Self> {
        if let Some(file) = embedded(config, Role::Worker) {
            return Ok(Self::Embedded(file?));
        }
        let broker = RabbitMq::start(config.queue.clone(), &account_places(config), chance.clone());
        Ok(Self::Shared { broker, store: store(config, chance).await? })
    }

    fn queue(&self) -> Arc<dyn Queue> {
        match self {
            Self::Shared { broker, .. } => broker.clone(),
            Self::Embedded(file) => file.clone(),
        }
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        match self {
            Self::Shared { broker, .. } => broker.clone(),
            Self::Embedded(file) => file.clone(),
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Shared { store, .. } => store.clone(),
            Self::Embedded(file) => file.clone(),
        }
    }

    /// With the way to the providers, time and chance beside them.
    fn ports(&self, config: &Config, chance: Arc<SystemChance>) -> anyhow::Result<Ports> {
        let Config { worker: times, .. } = config;
        let wire = HttpWire::new(times.connect_timeout, times.request_timeout, times.ca.as_ref())
            .context("the HTTP client can't be set up")?;
        let store = self.store();
        Ok(Ports {
            queue: self.queue(),
            publisher: self.publisher(),
            claims: store.clone(),
            permits: store.clone(),
            sightings: store,
            wire: Arc::new(wire),
            clock: Arc::new(SystemClock),
            chance,
        })
    }

    /// Waits until the broker can be used for the first time; a file that is open can.
    async fn started(&self) -> Result<(), rabbitmq::DeclareError> {
        match self {
            Self::Shared { broker, .. } => broker.started().await,
            Self::Embedded(_) => Ok(()),
        }
    }
}

/// The world of a worker that its caller runs and looks at.
///
/// # Errors
/// As for [`run_worker`]; a broker is not waited for.
pub async fn ports(config: &Config) -> anyhow::Result<Ports> {
    let chance = Arc::new(SystemChance);
    Servers::of(config, chance.clone()).await?.ports(config, chance)
}

/// How a worker of this configuration works.
pub fn manner(config: &Config) -> Manner {
    Manner {
        prefix: config.queue.prefix.clone(),
        worker: config.worker.clone(),
        limiter: config.limiter,
        retry: config.retry,
        circuit: config.circuit,
    }
}

/// The configured file, opened for a role; `None` where servers are configured.
fn embedded(config: &Config, role: Role) -> Option<anyhow::Result<Arc<Embedded>>> {
    let file = config.embedded.clone()?;
    let opened = Embedded::open(EmbeddedSettings::of(config, file), role, Arc::new(SystemClock));
    Some(opened.map(Arc::new).map_err(anyhow::Error::from))
}

/// A publisher that is connected.
///
/// # Errors
/// When the broker refuses, or can't be reached within half a minute; when the file can't be used.
pub async fn publisher(config: &Config) -> anyhow::Result<Arc<dyn Publisher>> {
    if let Some(file) = embedded(config, Role::Producer) {
        return Ok(file?);
    }
    let broker = RabbitMq::start(config.queue.clone(), &account_places(config), Arc::new(SystemChance));
    let mut up = broker.up();
    let ready = async {
        broker.started().await?;
        up.wait_for(|up| *up).await.context("the broker's connection ended")?;
        anyhow::Ok(())
    };
    tokio::time::timeout(PUBLISHER_PATIENCE, ready)
        .await
        .context("the broker can't be reached; check queue.url and that it runs")??;
    Ok(broker)
}

/// The dead letters, for people.
///
/// # Errors
/// When the file can't be used; a broker is connected to when letters are read.
pub fn dead_letters(config: &Config) -> anyhow::Result<Arc<dyn DeadLetters>> {
    Ok(match embedded(config, Role::Onlooker) {
        Some(file) => file?,
        None => Arc::new(RabbitLetters::new(config.queue.clone())),
    })
}

/// Declares all broker objects of the configuration; the queues of a file, where that is configured.
///
/// # Errors
/// When the broker can't be reached, refuses, or holds something of that name in another form; when
/// the file can't be used.
pub async fn declare_topology(config: &Config) -> anyhow::Result<Vec<BrokerObject>> {
    if let Some(file) = embedded(config, Role::Producer) {
        file?.close().await;
        let detail = config.embedded.as_ref().map(|file| format!("in {}", file.display()));
        let detail = detail.unwrap_or_default();
        let places = account_places(config).into_iter().chain([Place::Due, Place::Dead]);
        let object = |place: Place| BrokerObject {
            kind: "queue".to_owned(),
            name: place.account().map_or(place.label(), |account| format!("{}.{account}", place.label())),
            detail: detail.clone(),
        };
        return Ok(places.map(object).collect());
    }
    let objects = rabbitmq::declare(&config.queue, &account_places(config)).await?;
    Ok(objects.iter().map(described).collect())
}

async fn store(config: &Config, chance: Arc<SystemChance>) -> anyhow::Result<Arc<RedisStore>> {
    let pools = config.accounts.values().flat_map(|account| account.gateway.pools());
    let pools = pools.map(|(_, key, windows)| (key, windows));
    Ok(RedisStore::connect(StoreSettings::from(config), pools.collect(), chance).await?)
}

/// Broker and store, for a person who looks: nothing is declared or changed.
pub struct Onlookers {
    queue: QueueConfig,
    broker: Option<QueueView>,
    store: Arc<dyn Store>,
}

/// The queues, for a person who looks.
pub enum QueueView {
    /// At the broker.
    Broker(Box<Onlooker>),
    /// In the file.
    Embedded(Arc<Embedded>),
}

impl QueueView {
    /// How many messages wait in each place, those in workers' hands not counted; `None` for a queue
    /// that is not there or can't be asked.
    pub async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        match self {
            Self::Broker(broker) => broker.depths(places).await,
            Self::Embedded(file) => file.depths(places).await,
        }
    }

    /// How many messages wait on the delay ladder, for all accounts; `None` when it can't be asked.
    pub async fn delayed(&self) -> Option<u64> {
        match self {
            Self::Broker(broker) => broker.delayed().await,
            Self::Embedded(file) => file.delayed().await,
        }
    }

    fn is_connected(&self) -> bool {
        match self {
            Self::Broker(broker) => broker.is_connected(),
            Self::Embedded(_) => true,
        }
    }
}

/// Connects to the store; the broker is connected to when it is asked.
///
/// # Errors
/// When the store refuses the address or lacks a right; when the file can't be used. A server that is
/// down is said by each question.
pub async fn onlookers(config: &Config) -> anyhow::Result<Onlookers> {
    let queue = config.queue.clone();
    if let Some(file) = embedded(config, Role::Onlooker) {
        let file = file?;
        return Ok(Onlookers { queue, broker: Some(QueueView::Embedded(file.clone())), store: file });
    }
    let store = store(config, Arc::new(SystemChance)).await?;
    Ok(Onlookers { queue, broker: None, store })
}

impl Onlookers {
    /// The broker, connected to anew where the last connection ended.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn broker(&mut self) -> anyhow::Result<&QueueView> {
        let standing = self.broker.take().filter(QueueView::is_connected);
        let broker = match standing {
            Some(broker) => broker,
            None => QueueView::Broker(Box::new(Onlooker::connect(&self.queue).await?)),
        };
        Ok(self.broker.insert(broker))
    }

    /// Looks once at everything.
    pub async fn look(&mut self, config: &Config) -> Picture {
        let queues = match self.broker().await {
            Ok(broker) => {
                let depths = broker.depths(&status::places(config)).await;
                Ok(Queues { depths, delayed: broker.delayed().await })
            }
            Err(error) => Err(error),
        };
        status::gather(config, queues, self.store()).await
    }

    /// Claims, permits and the workers' reports.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }
}

fn account_places(config: &Config) -> Vec<Place> {
    config.accounts.values().flat_map(|account| account.places()).collect()
}

fn described(object: &rabbitmq::Object) -> BrokerObject {
    let (kind, name, detail) = match object {
        rabbitmq::Object::Exchange { name, kind } => {
            ("exchange", name.clone(), format!("{kind:?}").to_lowercase())
        }
        rabbitmq::Object::Queue { name, arguments } => {
            let told = arguments.iter().map(|(key, value)| format!("{key}={value}"));
            ("queue", name.clone(), told.collect::<Vec<_>>().join(" "))
        }
        rabbitmq::Object::Binding { exchange, queue, routing_key } => {
            ("binding", format!("{exchange} -> {queue}"), format!("key={routing_key}"))
        }
    };
    BrokerObject { kind: kind.to_owned(), name, detail }
}
