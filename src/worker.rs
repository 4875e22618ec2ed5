//! A worker: takes messages from the broker, leads each delivery through the pipeline, settles it.
//!
//! Knows no provider and no server, only [`crate::ports`]. The way of a message through the rooms:
//! `intake` reads it and decides its route; counted deliveries wait in `dispatch` for a permit;
//! `attempt` claims and sends; `outcome` judges the answer and settles; `effects` writes what others
//! see, in the order that the promises need; `suspect` handles what may have brought a worker down;
//! `due` moves what waited in the delay ladder; `spread` and `observe` tell people, and `report`
//! tells the store what waits here.
//!
//! Invariants:
//! 1. A message is acked only after everything that follows from it is confirmed by the broker or
//!    written to the store. Whatever fails leaves it unacked, and it comes again.
//! 2. A request is made only with a claim (and, if counted, a permit) in hand: [`Cargo`].
//! 3. Of several things that could be done next, none is chosen by chance (`biased` in every
//!    `select!`), so that a simulated run repeats itself.
//! 4. No message waits here longer than `worker.hold` for a permit, an account or the store: it goes
//!    back to its queue, so that the broker's own consumer timeout is never reached.
//!
//! [`Cargo`]: crate::pipeline::send::Cargo

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{RwLock, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::config::{Account, CircuitConfig, LimiterConfig, RetryConfig, Weights, WorkerConfig};
use crate::job::{AccountName, Line, Pool};
use crate::metrics::LimitLabel;
use crate::pipeline::permit::lane_prefetch;
use crate::ports::{
    Chance, Claims, Clock, Message, Permits, Place, PoolKey, Publisher, Queue, Sightings, Ticket, Window,
    Wire,
};
use crate::worker::account::AccountState;
use crate::worker::dispatch::Dispatcher;
use crate::worker::parcel::Hand;
use crate::worker::report::Waiting;

mod account;
mod attempt;
mod dispatch;
mod due;
mod effects;
mod gate;
mod intake;
mod observe;
mod outcome;
mod parcel;
mod report;
mod spread;
mod suspect;

/// How many messages to hold of a queue for work beside the main limit that has none of its own: each
/// may come to an answer of megabytes, and nothing else bounds how many are under way.
const UNLIMITED_PREFETCH: u16 = 4;

/// Messages taken at once from the end of the delay ladder.
const DUE_PREFETCH: u16 = 200;

/// The world a worker lives in.
pub struct Ports {
    /// The consuming side of the broker.
    pub queue: Arc<dyn Queue>,
    /// The publishing side of the broker.
    pub publisher: Arc<dyn Publisher>,
    /// Claims and the accounts' health.
    pub claims: Arc<dyn Claims>,
    /// The limits.
    pub permits: Arc<dyn Permits>,
    /// What workers tell of what waits in their hands.
    pub sightings: Arc<dyn Sightings>,
    /// The way to the providers.
    pub wire: Arc<dyn Wire>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
}

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Manner {
    /// What the names of paceline's queues begin with.
    pub prefix: String,
    /// `[worker]`
    pub worker: WorkerConfig,
    /// `[limiter]`
    pub limiter: LimiterConfig,
    /// `[retry]`
    pub retry: RetryConfig,
    /// `[circuit]`
    pub circuit: CircuitConfig,
}

/// How far a worker is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It takes and sends.
    Running,
    /// It takes nothing more, and ends what is under way.
    Draining,
    /// It drops everything; what is unsettled comes again elsewhere.
    Stopped,
}

/// Work that follows from a step and need not hold up who took it: a dispatcher lets it run by itself; who
/// has nothing else left to do, or handles a suspect, sees to it.
struct Errand {
    tickets: Vec<Arc<dyn Ticket>>,
    work: BoxFuture<'static, ()>,
}

/// A worker.
pub struct Worker {
    ports: Ports,
    manner: Manner,
    accounts: BTreeMap<AccountName, Arc<AccountState>>,
    dispatchers: BTreeMap<PoolKey, Arc<Dispatcher>>,
    /// What waits beside the dispatchers, and the sign that something else waits than before.
    waiting: Arc<Waiting>,
    stage: watch::Receiver<Stage>,
    tasks: TaskTracker,
    /// Held for reading by whatever reads a message, talks to a provider or judges its answer, for
    /// writing by the handling of a suspect, which must be alone so that a crash is its own.
    /// Publishing and writing to the store, which only move bytes, hold neither.
    quiet: RwLock<()>,
    alive: AtomicBool,
}

/// A waiting room for each limit; accounts with the same credential share one.
fn waiting_rooms(
    accounts: &BTreeMap<AccountName, Arc<Account>>,
    weights: Weights,
    waiting: &Arc<Waiting>,
) -> BTreeMap<PoolKey, Arc<Dispatcher>> {
    let mut limits = BTreeMap::new();
    for (name, account) in accounts {
        for (pool, key, windows) in account.gateway.pools() {
            let (_, _, sharing) = limits.entry(key).or_insert_with(|| (pool, windows, Vec::new()));
            sharing.push(name);
        }
    }
    let room = |(key, (pool, windows, sharing)): (PoolKey, (Pool, Vec<Window>, Vec<&AccountName>))| {
        let label = LimitLabel::new(&sharing, pool);
        let room = Dispatcher::new(key.clone(), pool.line(), windows, label, weights, waiting.clone());
        (key, Arc::new(room))
    };
    limits.into_iter().map(room).collect()
}

impl Worker {
    /// A worker for these accounts; [`Worker::run`] starts it.
    pub fn new(
        ports: Ports,
        manner: Manner,
        accounts: &BTreeMap<AccountName, Arc<Account>>,
        stage: watch::Receiver<Stage>,
    ) -> Arc<Self> {
        let waiting = Arc::new(Waiting::default());
        let dispatchers = waiting_rooms(accounts, manner.worker.weights, &waiting);
        let accounts = accounts
            .iter()
            .map(|(name, account)| {
                (name.clone(), Arc::new(AccountState::new(account.clone(), &manner.worker, &dispatchers)))
            })
            .collect();
        Arc::new(Self {
            ports,
            manner,
            accounts,
            dispatchers,
            waiting,
            stage,
            tasks: TaskTracker::new(),
            quiet: RwLock::new(()),
            alive: AtomicBool::new(true),
        })
    }

    /// Works until the stage says to stop, then drains: ends what is under way within the drain
    /// time, and leaves the rest to the broker.
    pub async fn run(self: Arc<Self>) {
        let mut loops = JoinSet::new();
        self.start(&mut loops);
        let mut stage = self.stage.clone();
        // The sender lives as long as the process; were it gone, nobody could stop us but a kill.
        tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage != Stage::Running) => {}
            () = self.watch(&mut loops) => {}
        }
        tracing::info!("draining: taking nothing more, ending what is under way");
        let ended = async {
            self.ports.queue.stop().await;
            // The loops first: what they hold and have not begun goes back to its queue.
            while loops.join_next().await.is_some() {}
            self.tasks.close();
            self.tasks.wait().await;
        };
        let abandoned = tokio::select! {
            biased;
            () = ended => 0,
            () = tokio::time::sleep(self.manner.worker.drain) => self.tasks.len(),
            _ = stage.wait_for(|stage| *stage == Stage::Stopped) => self.tasks.len(),
        };
        if abandoned > 0 {
            tracing::warn!(abandoned, "drain ended with work under way; it comes again to another worker");
        }
        self.alive.store(false, Ordering::Relaxed);
        loops.abort_all();
        self.ports.queue.close().await;
        tracing::info!("stopped");
    }

    /// Never returns while all is well. A loop that ended by a panic makes the worker unhealthy, so
    /// that whoever runs it starts it anew; meanwhile the others go on.
    async fn watch(&self, loops: &mut JoinSet<()>) {
        while let Some(ended) = loops.join_next().await {
            if ended.is_err_and(|error| error.is_panic()) {
                tracing::error!("a loop of the worker panicked; it must be restarted");
                self.alive.store(false, Ordering::Relaxed);
            }
        }
    }

    fn start(self: &Arc<Self>, loops: &mut JoinSet<()>) {
        loops.spawn(self.clone().report());
        for dispatcher in self.dispatchers.values() {
            loops.spawn(self.clone().dispatch(dispatcher.clone()));
        }
        for account in self.accounts.values() {
            for place in account.places() {
                let prefetch = self.prefetch(account, &place);
                let messages = self.ports.queue.subscribe(place, prefetch);
                loops.spawn(self.clone().take_in(messages));
            }
        }
        let due = self.ports.queue.subscribe(Place::Due, DUE_PREFETCH);
        loops.spawn(self.clone().move_due(due));
    }

    /// How many messages of a queue this worker holds at once.
    fn prefetch(&self, account: &AccountState, place: &Place) -> u16 {
        let worker = &self.manner.worker;
        match place {
            Place::Jobs(_) => worker.jobs_prefetch,
            Place::Retry(_, line) | Place::Lane(_, line, _) if account.is_unlimited_beside(line) => {
                UNLIMITED_PREFETCH
            }
            Place::Retry(_, line) | Place::Lane(_, line, _) => {
                worker.lane_prefetch.unwrap_or_else(|| default_prefetch(account, line))
            }
            Place::Due | Place::Dead => DUE_PREFETCH,
        }
    }

    async fn take_in(self: Arc<Self>, mut messages: mpsc::Receiver<Box<Message>>) {
        while let Some(message) = messages.recv().await {
            let hand = Hand::from(*message);
            let worker = self.clone();
            self.spawn(vec![hand.ticket.clone()], async move {
                if worker.is_running() {
                    worker.admit(hand).await;
                } else {
                    // Fetched before the drain began.
                    worker.give_back_unless_stopped(&hand).await;
                }
            });
        }
    }

    fn spawn_all(self: &Arc<Self>, errands: Vec<Errand>) {
        for errand in errands {
            self.spawn(errand.tickets, errand.work);
        }
    }

    async fn see_to(errands: Vec<Errand>) {
        for errand in errands {
            errand.work.await;
        }
    }

    /// Runs work on messages. If it panics they go back to their queue, counted, and in the end
    /// count as poison; the worker goes on.
    fn spawn(
        self: &Arc<Self>,
        tickets: Vec<Arc<dyn Ticket>>,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        // Apart, since a task that took it in would hold its place twice: as what it was given, and as
        // what it awaits.
        let work = Box::pin(AssertUnwindSafe(work).catch_unwind());
        self.tasks.spawn(async move {
            if work.await.is_err() {
                tracing::error!(
                    messages = tickets.len(),
                    "handling panicked; the messages go back to their queue"
                );
                for ticket in tickets {
                    ticket.requeue().await;
                }
            }
        });
    }

    fn is_running(&self) -> bool {
        *self.stage.borrow() == Stage::Running
    }

    fn is_stopped(&self) -> bool {
        *self.stage.borrow() == Stage::Stopped
    }
}

/// The prefetch of an account's waiting queues: what their limit needs.
fn default_prefetch(account: &AccountState, line: &Line) -> u16 {
    let per_request = account.gateway().deliveries_per_request().max(1);
    account.room_at(line).map_or(64, |room| lane_prefetch(&room.windows, per_request))
}
