//! Puts adapters together: the only file that names concrete ones.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::watch;

use crate::adapters::http::HttpWire;
use crate::adapters::rabbitmq::{self, Onlooker, RabbitMq};
use crate::adapters::redis::{RedisStore, StoreSettings};
use crate::adapters::system::{SystemChance, SystemClock};
use crate::admin::{self, Observed, Readiness};
use crate::config::{Config, QueueConfig};
use crate::metrics;
use crate::ports::{Claims, Permits, Place, Publisher, Queue, Sightings};
use crate::worker::{Manner, Ports, Stage, Worker};

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

/// Runs a worker until `stage` says to drain, then drains.
///
/// # Errors
/// When something at the broker has another form than paceline needs, the store refuses the
/// address or lacks a right, or the admin listener can't be opened. A server that is merely down
/// is waited for.
pub async fn run_worker(config: Config, stage: watch::Receiver<Stage>) -> anyhow::Result<()> {
    let handle = metrics::install()?;
    let listener = match config.admin {
        Some(address) => Some(admin::bind(address).await?),
        None => None,
    };
    let chance = Arc::new(SystemChance);
    let broker = RabbitMq::start(config.queue.clone(), &account_places(&config), chance.clone());
    let store = store(&config, chance.clone()).await?;
    let Config { worker: times, .. } = &config;
    let wire = HttpWire::new(times.connect_timeout, times.request_timeout, times.ca.as_ref()).context(
        "the HTTP client can't be set up; it needs the system's CA certificates or worker.ca_file",
    )?;
    let ports = Ports {
        queue: broker.clone(),
        publisher: broker.clone(),
        claims: store.clone(),
        permits: store.clone(),
        sightings: store,
        wire: Arc::new(wire),
        clock: Arc::new(SystemClock),
        chance,
    };
    let manner = Manner {
        prefix: config.queue.prefix.clone(),
        worker: config.worker.clone(),
        limiter: config.limiter,
        retry: config.retry,
        circuit: config.circuit,
    };
    let worker = Worker::new(ports, manner, &config.accounts, stage.clone());
    let upkeep = tokio::spawn(keep_up(handle.clone()));
    let (ended, end) = watch::channel(false);
    let serving = listener.map(|listener| {
        tokio::spawn(admin::serve(listener, handle, Arc::new(Watched(worker.clone())), until_true(end)))
    });
    let worked = run_until_refused(worker, &broker, stage).await;
    // Nobody listening any more is fine.
    let _ = ended.send(true);
    if let Some(serving) = serving {
        serving.await.context("the admin listener failed")?;
    }
    upkeep.abort();
    worked
}

/// Runs the worker, unless the broker turns out to hold something that paceline can't work with.
async fn run_until_refused(
    worker: Arc<Worker>,
    broker: &RabbitMq,
    mut stage: watch::Receiver<Stage>,
) -> anyhow::Result<()> {
    let running = tokio::spawn(worker.run());
    let started = tokio::select! {
        started = broker.started() => started,
        _ = stage.wait_for(|stage| *stage != Stage::Running) => Ok(()),
    };
    if let Err(refused) = started {
        running.abort();
        broker.close().await;
        return Err(refused).context("the worker can't start");
    }
    running.await.context("the worker failed")
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

/// The worker as the admin listener sees it.
struct Watched(Arc<Worker>);

#[async_trait]
impl Observed for Watched {
    fn alive(&self) -> bool {
        self.0.alive()
    }

    async fn ready(&self) -> Readiness {
        self.0.ready().await
    }

    async fn refresh(&self) {
        self.0.refresh().await;
    }
}

/// A publisher that is connected.
///
/// # Errors
/// When the broker refuses, or can't be reached within half a minute.
pub async fn publisher(config: &Config) -> anyhow::Result<Arc<dyn Publisher>> {
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

/// Declares all broker objects of the configuration.
///
/// # Errors
/// When the broker can't be reached, refuses, or holds something of that name in another form.
pub async fn declare_topology(config: &Config) -> anyhow::Result<Vec<BrokerObject>> {
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
    broker: Option<Onlooker>,
    store: Arc<RedisStore>,
}

/// Connects to the store; the broker is connected to when it is asked.
///
/// # Errors
/// When the store refuses the address or lacks a right. One that is down is said by each question.
pub async fn onlookers(config: &Config) -> anyhow::Result<Onlookers> {
    let store = store(config, Arc::new(SystemChance)).await?;
    Ok(Onlookers { queue: config.queue.clone(), broker: None, store })
}

impl Onlookers {
    /// The broker, connected to anew where the last connection ended.
    ///
    /// # Errors
    /// When it can't be reached or refuses.
    pub async fn broker(&mut self) -> anyhow::Result<&Onlooker> {
        let standing = self.broker.take().filter(Onlooker::is_connected);
        let broker = match standing {
            Some(broker) => broker,
            None => Onlooker::connect(&self.queue).await?,
        };
        Ok(self.broker.insert(broker))
    }

    /// Claims, permits and the workers' reports.
    pub fn store(&self) -> &(impl Claims + Permits + Sightings) {
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
