//! A worker that takes a new configuration without a pause: one worker in the process follows another.
//!
//! To the broker and the store two generations are two workers, which is what they are made for: the
//! next one is started first, and the present one drains only when the next has been accepted by the
//! broker. On a file, where there is one worker at a time, the present one drains first.

use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::{Servers, manner};
use crate::adapters::rabbitmq::DeclareError;
use crate::adapters::system::SystemChance;
use crate::admin::{Observed, Readiness};
use crate::config::Config;
use crate::ports::Publisher;
use crate::worker::{Stage, Worker};

/// A worker of one configuration, with connections of its own.
pub(super) struct Generation {
    config: Config,
    servers: Servers,
    worker: Arc<Worker>,
    stage: watch::Sender<Stage>,
}

impl Generation {
    /// Makes it; [`Generation::start`] lets it work.
    ///
    /// # Errors
    /// When the store refuses the address or lacks a right, or the file can't be used.
    pub(super) async fn new(config: Config) -> anyhow::Result<Self> {
        let chance = Arc::new(SystemChance);
        let servers = Servers::of(&config, chance.clone()).await?;
        let (stage, asked) = watch::channel(Stage::Running);
        let ports = servers.ports(&config, chance)?;
        let worker = Worker::new(ports, manner(&config), &config.accounts, asked);
        Ok(Self { config, servers, worker, stage })
    }

    fn start(self) -> Running {
        let work = tokio::spawn(self.worker.clone().run());
        Running { generation: self, work: Some(work) }
    }

    fn present(&self) -> Present {
        let publisher = self.servers.publisher();
        Present { worker: self.worker.clone(), config: Arc::new(self.config.clone()), publisher }
    }

    fn is_embedded(&self) -> bool {
        match self.servers {
            Servers::Embedded(_) => true,
            Servers::Shared { .. } => false,
        }
    }
}

/// What others see of the present one.
pub(super) struct Present {
    worker: Arc<Worker>,
    /// What it was made of.
    pub(super) config: Arc<Config>,
    /// What it publishes by.
    pub(super) publisher: Arc<dyn Publisher>,
}

/// One that works.
struct Running {
    generation: Generation,
    /// `None` once it has ended.
    work: Option<JoinHandle<()>>,
}

impl Running {
    /// Raises its stage: what was asked for is never taken back.
    fn ask(&self, stage: Stage) {
        self.generation.stage.send_if_modified(|present| {
            let later = stage > *present;
            *present = stage.max(*present);
            later
        });
    }

    /// Waits until it has ended; may be given up and called again.
    ///
    /// # Errors
    /// When it panicked.
    async fn ended(&mut self) -> anyhow::Result<()> {
        let Some(work) = &mut self.work else { return Ok(()) };
        let ended = work.await;
        self.work = None;
        ended.context("the worker failed")
    }

    /// Waits until it has drained, or ends it at once when that is asked for.
    ///
    /// # Errors
    /// When it panicked.
    async fn ended_or_stopped(&mut self, mut stage: watch::Receiver<Stage>) -> anyhow::Result<()> {
        let stopped = async {
            // Were nobody left to ask for it, it would end with its time to drain.
            if stage.wait_for(|stage| *stage == Stage::Stopped).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            ended = self.ended() => return ended,
            () = stopped => self.ask(Stage::Stopped),
        }
        self.ended().await
    }

    /// Ends one that the broker does not accept.
    async fn drop_refused(self) {
        if let Some(work) = &self.work {
            work.abort();
        }
        self.generation.servers.queue().close().await;
    }
}

/// All of them: the present one, and those that end what they have begun.
pub(super) struct Generations {
    present: Running,
    former: JoinSet<()>,
    stage: watch::Receiver<Stage>,
    /// Whom the admin listener asks.
    watched: watch::Sender<Present>,
}

impl Generations {
    /// Starts the first one.
    pub(super) fn start(first: Generation, stage: watch::Receiver<Stage>) -> Self {
        let (watched, _) = watch::channel(first.present());
        Self { present: first.start(), former: JoinSet::new(), stage, watched }
    }

    /// The present one, as the listener sees it.
    pub(super) fn observed(&self) -> Watched {
        Watched(self.watched.subscribe())
    }

    /// The present one, whichever it is.
    pub(super) fn present(&self) -> watch::Receiver<Present> {
        self.watched.subscribe()
    }

    /// Works until the stage says to stop, then until all have drained.
    ///
    /// # Errors
    /// When the broker holds something that the first one can't work with; when a file can't be opened
    /// again.
    pub(super) async fn run(mut self, mut configs: mpsc::Receiver<Config>) -> anyhow::Result<()> {
        if let Some(refused) = self.refused(&self.present.generation).await {
            self.present.drop_refused().await;
            return Err(refused).context("the worker can't start");
        }
        let mut stage = self.stage.clone();
        loop {
            let config = tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage != Stage::Running) => break,
                ended = self.present.ended() => return ended,
                Some(config) = configs.recv() => config,
            };
            self.follow(config).await?;
        }
        self.drain().await
    }

    /// Has a worker of another configuration follow the present one. Where it can't, nothing changes.
    ///
    /// # Errors
    /// When a file can't be opened again: nothing works on it then.
    async fn follow(&mut self, config: Config) -> anyhow::Result<()> {
        if self.present.generation.is_embedded() {
            self.present.ask(Stage::Draining);
            self.present.ended_or_stopped(self.stage.clone()).await?;
            if *self.stage.borrow() != Stage::Running {
                return Ok(());
            }
            let next = Generation::new(config).await.context("the file can't be opened again")?;
            self.replace(next.start());
            return Ok(());
        }
        let next = match Generation::new(config).await {
            Ok(next) => next.start(),
            Err(error) => {
                tracing::error!("the new configuration can't be used, nothing is changed: {error:#}");
                return Ok(());
            }
        };
        if let Some(refused) = self.refused(&next.generation).await {
            tracing::error!("the new configuration can't be used, nothing is changed: {refused:#}");
            next.drop_refused().await;
            return Ok(());
        }
        self.replace(next);
        Ok(())
    }

    /// What the broker holds that this one can't work with. Waits while the broker is away, unless the
    /// end is asked for.
    async fn refused(&self, generation: &Generation) -> Option<DeclareError> {
        let mut stage = self.stage.clone();
        tokio::select! {
            started = generation.servers.started() => started.err(),
            _ = stage.wait_for(|stage| *stage != Stage::Running) => None,
        }
    }

    fn replace(&mut self, next: Running) {
        let mut before = std::mem::replace(&mut self.present, next);
        self.watched.send_replace(self.present.generation.present());
        before.ask(Stage::Draining);
        let accounts = self.present.generation.config.accounts.clone();
        let stage = self.stage.clone();
        self.former.spawn(async move {
            let ended = before.ended_or_stopped(stage).await;
            before.generation.worker.tell_gone(&accounts);
            match ended {
                Ok(()) => {
                    tracing::info!("the worker of the configuration before has ended what it had begun")
                }
                Err(error) => tracing::error!("the worker of the configuration before: {error:#}"),
            }
        });
        tracing::info!("a worker of the new configuration has taken over");
    }

    /// Passes on what is asked for until the last of them has ended.
    async fn drain(mut self) -> anyhow::Result<()> {
        let ended = loop {
            self.present.ask(*self.stage.borrow_and_update());
            tokio::select! {
                biased;
                ended = self.present.ended() => break ended,
                changed = self.stage.changed() => if changed.is_err() {
                    break self.present.ended().await;
                },
            }
        };
        while self.former.join_next().await.is_some() {}
        ended
    }
}

/// The present worker as the admin listener sees it.
pub(super) struct Watched(watch::Receiver<Present>);

impl Watched {
    fn worker(&self) -> Arc<Worker> {
        self.0.borrow().worker.clone()
    }
}

#[async_trait]
impl Observed for Watched {
    fn alive(&self) -> bool {
        self.worker().alive()
    }

    async fn ready(&self) -> Readiness {
        self.worker().ready().await
    }

    async fn refresh(&self) {
        self.worker().refresh().await;
    }
}
