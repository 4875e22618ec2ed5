//! The ports: requests go to the engine, which has a thread of its own, so that the disk holds up
//! nobody else; for a simulated run they are done at once, in the caller's place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self as channel, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;

use super::engine::{Engine, Failure, Moment, Request};
use super::limits::Limits;
use super::queues::name_of;
use super::upkeep::Upkeep;
use super::{EmbeddedSettings, OpenError, Role, file};
use crate::ports::{Clock, Message, Outgoing, Place, PublishError, Publisher, Queue, Ticket};

/// The most requests in one transaction.
const MOST_AT_ONCE: usize = 512;

/// The most requests that wait for the engine.
const MOST_WAITING: usize = 8_192;

/// How long the engine waits after a failure before it tries by itself whether the file can be used.
const TRY_AGAIN: Duration = Duration::from_millis(300);

/// How long the file is left to other processes that write, after each commit.
const OTHERS_TURN: Duration = Duration::from_millis(1);

/// How long closing waits for what was asked before.
const LONGEST_CLOSE: Duration = Duration::from_secs(10);

/// What reaches the engine's thread.
enum Incoming {
    Ask(Box<dyn Request>),
    Ack(i64),
    Close,
}

/// Where the engine is.
enum Way {
    /// In a thread of its own.
    Thread { requests: channel::Sender<Incoming>, room: Arc<Semaphore>, ended: watch::Receiver<bool> },
    /// Here; `None` once it is closed.
    Here { engine: Mutex<Option<Box<Engine>>>, changed: Arc<Notify> },
}

/// What all handles share.
pub(super) struct Core {
    settings: EmbeddedSettings,
    role: Role,
    way: Way,
    closed: AtomicBool,
    up: watch::Sender<bool>,
    limits: Arc<Limits>,
}

/// The file as every port.
pub struct Embedded {
    core: Arc<Core>,
}

/// A request for the engine: work, and who waits for what it gives.
struct Asked<T, F> {
    writes: bool,
    work: F,
    found: Option<T>,
    reply: Option<oneshot::Sender<Result<T, Failure>>>,
    /// Held until it is answered.
    _room: Option<OwnedSemaphorePermit>,
}

impl<T, F> Request for Asked<T, F>
where
    T: Send,
    F: FnMut(&mut Engine, &Moment) -> rusqlite::Result<T> + Send,
{
    fn writes(&self) -> bool {
        self.writes
    }

    fn run(&mut self, engine: &mut Engine, moment: &Moment) -> rusqlite::Result<()> {
        self.found = Some((self.work)(engine, moment)?);
        Ok(())
    }

    fn answer(mut self: Box<Self>, done: Result<(), Failure>) {
        let found = self.found.take().ok_or(Failure::Closed);
        if let Some(reply) = self.reply.take() {
            // Who asked may have given up.
            let _ = reply.send(done.and(found));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The engine takes back what a failed step changed, so that its state is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Embedded {
    /// Opens the file; the engine gets a thread of its own. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of [`OpenError`].
    pub fn open(settings: EmbeddedSettings, role: Role, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let (mut engine, limits, up) = begin(&settings, role, clock)?;
        let (requests, incoming) = channel::channel();
        let (ending, ended) = watch::channel(false);
        let way = Way::Thread { requests, room: Arc::new(Semaphore::new(MOST_WAITING)), ended };
        let failed = |error: std::io::Error| OpenError::Failed(settings.file.clone(), error.to_string());
        let core = Arc::new(Core {
            role,
            way,
            closed: AtomicBool::new(false),
            up,
            limits,
            settings: settings.clone(),
        });
        engine.core = Arc::downgrade(&core);
        let thread = std::thread::Builder::new().name("paceline-file".to_owned());
        let ending = Ending { ended: ending, up: core.up.clone() };
        let work = move || {
            let _ending = ending;
            serve(engine, &incoming);
        };
        thread.spawn(work).map_err(failed)?;
        Ok(Self { core })
    }

    /// The same with the engine in the caller's place, so that a run on a paused clock repeats itself.
    /// Must be called within a tokio runtime. When the last handle is dropped, all is as if the process
    /// had been killed.
    ///
    /// # Errors
    /// Those of [`OpenError`].
    pub fn open_here(
        settings: EmbeddedSettings,
        role: Role,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OpenError> {
        let (mut engine, limits, up) = begin(&settings, role, clock)?;
        let changed = Arc::new(Notify::new());
        let way = Way::Here { engine: Mutex::new(None), changed: changed.clone() };
        let core = Arc::new(Core { role, way, closed: AtomicBool::new(false), up, limits, settings });
        if let Way::Here { engine: place, .. } = &core.way {
            engine.core = Arc::downgrade(&core);
            *lock(place) = Some(Box::new(engine));
        }
        tokio::spawn(tend(Arc::downgrade(&core), changed));
        Ok(Self { core })
    }

    pub(super) fn settings(&self) -> &EmbeddedSettings {
        &self.core.settings
    }

    pub(super) fn role(&self) -> Role {
        self.core.role
    }

    pub(super) fn limits(&self) -> Arc<Limits> {
        self.core.limits.clone()
    }

    pub(super) fn watch_up(&self) -> watch::Receiver<bool> {
        self.core.up.subscribe()
    }

    /// One more handle, for what outlives a borrow of this one.
    pub(super) fn handle(&self) -> Self {
        Self { core: self.core.clone() }
    }

    /// Asks for something that may change the file, for the store's ports.
    pub(super) async fn store<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut Engine, &Moment) -> rusqlite::Result<T> + Send + 'static,
    {
        self.core.ask(true, self.core.settings.timeout, work).await
    }

    /// Asks for something that only reads.
    pub(super) async fn look<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut Engine, &Moment) -> rusqlite::Result<T> + Send + 'static,
    {
        self.core.ask(false, self.core.settings.timeout, work).await
    }

    /// Whether the file takes a write now.
    pub(super) async fn probe(&self) -> bool {
        match self.core.role {
            Role::Worker | Role::Producer => self.store(probe).await.is_ok(),
            Role::Onlooker => self.look(|_, _| Ok(())).await.is_ok(),
        }
    }

    /// How many messages wait on the delay ladder, for all accounts; `None` when it can't be asked.
    pub async fn delayed(&self) -> Option<u64> {
        self.look(|engine, _| engine.delayed()).await.ok()
    }
}

/// A write that changes nothing of any meaning.
fn probe(engine: &mut Engine, moment: &Moment) -> rusqlite::Result<()> {
    engine.note("probe", moment.wall)
}

fn begin(
    settings: &EmbeddedSettings,
    role: Role,
    clock: Arc<dyn Clock>,
) -> Result<(Engine, Arc<Limits>, watch::Sender<bool>), OpenError> {
    let failed = |detail: String| OpenError::Failed(settings.file.clone(), detail);
    let up = watch::Sender::new(true);
    let opened = file::open(&settings.file, role, settings.timeout)?;
    let mut engine = Engine::new(opened, settings.clone(), role, clock, up.clone())
        .map_err(|error| failed(error.to_string()))?;
    if role == Role::Worker {
        let moment = engine.moment();
        let kept = engine.kept_limits().map_err(|error| failed(error.to_string()))?;
        let limits = Limits::new(settings, &kept, &moment).map_err(|error| failed(error.0))?;
        engine.limits = Arc::new(limits);
    }
    let limits = engine.limits.clone();
    Ok((engine, limits, up))
}

// ---------------------------------------------------------------------------------------------
// The engine's thread
// ---------------------------------------------------------------------------------------------

/// Serves requests until it is closed or nobody can ask any more.
fn serve(mut engine: Engine, incoming: &channel::Receiver<Incoming>) {
    loop {
        let patience = if engine.is_up() { engine.look_again_in() } else { TRY_AGAIN };
        let first = match incoming.recv_timeout(patience) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return engine.finish(),
        };
        let waiting = std::iter::from_fn(|| incoming.try_recv().ok());
        let mut batch: Vec<Box<dyn Request>> = Vec::new();
        for one in first.into_iter().chain(waiting.take(MOST_AT_ONCE)) {
            match one {
                Incoming::Ask(request) => batch.push(request),
                Incoming::Ack(key) => engine.acked(key),
                Incoming::Close => {
                    engine.run(batch);
                    return engine.close();
                }
            }
        }
        if batch.is_empty() && !engine.is_up() {
            batch.push(Box::new(Asked { writes: true, work: probe, found: None, reply: None, _room: None }));
        }
        if !batch.is_empty() || engine.has_errand() {
            engine.run(batch);
            if engine.shares_the_file() {
                // SQLite lets nobody queue up for the next turn: who commits again at once would keep
                // all others from it.
                std::thread::sleep(OTHERS_TURN);
            }
        }
    }
}

/// Says that the engine's thread has ended, however it did.
struct Ending {
    ended: watch::Sender<bool>,
    up: watch::Sender<bool>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.up.send_replace(false);
        self.ended.send_replace(true);
    }
}

/// Does what is due while the engine is in its callers' place.
async fn tend(core: Weak<Core>, changed: Arc<Notify>) {
    loop {
        let wait = {
            let Some(core) = core.upgrade() else { return };
            let Way::Here { engine, .. } = &core.way else { return };
            let mut engine = lock(engine);
            let Some(engine) = engine.as_mut() else { return };
            if engine.has_errand() {
                engine.run(Vec::new());
            }
            engine.idle_for()
        };
        // Woken by every request, which may have put something onto the ladder.
        let _ = timeout(wait.max(Duration::from_millis(1)), changed.notified()).await;
    }
}

impl Core {
    async fn ask<T, F>(&self, writes: bool, limit: Duration, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut Engine, &Moment) -> rusqlite::Result<T> + Send + 'static,
    {
        if self.closed.load(Ordering::Acquire) {
            return Err(Failure::Closed);
        }
        let (reply, mut answer) = oneshot::channel();
        let asked = |room| Asked { writes, work, found: None, reply: Some(reply), _room: room };
        match &self.way {
            Way::Here { engine, changed } => {
                {
                    let mut engine = lock(engine);
                    let engine = engine.as_mut().ok_or(Failure::Closed)?;
                    engine.run(vec![Box::new(asked(None))]);
                }
                changed.notify_one();
                answer.try_recv().unwrap_or(Err(Failure::Closed))
            }
            Way::Thread { requests, room, .. } => {
                let waiting = async {
                    let room = room.clone().acquire_owned().await.map_err(|_| Failure::Closed)?;
                    requests.send(Incoming::Ask(Box::new(asked(Some(room))))).map_err(|_| Failure::Closed)?;
                    answer.await.unwrap_or(Err(Failure::Closed))
                };
                timeout(limit, waiting).await.unwrap_or(Err(Failure::Late(limit)))
            }
        }
    }

    fn ack(&self, key: i64) -> bool {
        if self.closed.load(Ordering::Acquire) {
            return false;
        }
        match &self.way {
            Way::Here { engine, .. } => match lock(engine).as_mut() {
                Some(engine) => {
                    engine.acked(key);
                    engine.run(Vec::new());
                    true
                }
                None => false,
            },
            Way::Thread { requests, .. } => requests.send(Incoming::Ack(key)).is_ok(),
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Queue and publisher
// ---------------------------------------------------------------------------------------------

/// The right to settle a message.
pub(super) struct Settling {
    core: Weak<Core>,
    key: i64,
    settled: AtomicBool,
}

impl Settling {
    pub(super) fn new(core: Weak<Core>, key: i64) -> Self {
        Self { core, key, settled: AtomicBool::new(false) }
    }

    /// The file, if the message can still be settled there, which from now on it can't.
    fn settle(&self) -> Option<Arc<Core>> {
        let core = self.core.upgrade()?;
        let first = !self.settled.swap(true, Ordering::AcqRel);
        (first && !core.closed.load(Ordering::Acquire)).then_some(core)
    }
}

#[async_trait]
impl Ticket for Settling {
    /// Taken off with whatever is committed next. A crash before that gives it out again, as a
    /// broker does whose connection is lost before it read the ack.
    async fn ack(&self) -> bool {
        self.settle().is_some_and(|core| core.ack(self.key))
    }

    async fn requeue(&self) {
        let Some(core) = self.settle() else { return };
        let key = self.key;
        let limit = core.settings.timeout;
        // Where it fails the message stays in hand, and comes again when the worker is restarted.
        let _ = core.ask(true, limit, move |engine: &mut Engine, _: &Moment| engine.requeue(key)).await;
    }

    fn is_stale(&self) -> bool {
        let usable = |core: Arc<Core>| !core.closed.load(Ordering::Acquire);
        self.settled.load(Ordering::Acquire) || !self.core.upgrade().is_some_and(usable)
    }
}

#[async_trait]
impl Queue for Embedded {
    fn subscribe(&self, place: Place, prefetch: u16) -> mpsc::Receiver<Box<Message>> {
        let (messages, receiver) = mpsc::channel(usize::from(prefetch.max(1)));
        let subscribe = move |engine: &mut Engine, _: &Moment| {
            let id = engine.declare(&name_of(&place))?;
            engine.desk.subscribe(id, place.clone(), prefetch, messages.clone());
            Ok(())
        };
        let asked = Box::new(Asked { writes: true, work: subscribe, found: None, reply: None, _room: None });
        match &self.core.way {
            Way::Here { engine, .. } => {
                if let Some(engine) = lock(engine).as_mut() {
                    engine.run(vec![asked]);
                    engine.run(Vec::new());
                }
            }
            // An error means that it is closed: the subscription ends at once.
            Way::Thread { requests, .. } => drop(requests.send(Incoming::Ask(asked))),
        }
        receiver
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.watch_up()
    }

    async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        let wanted = places.to_vec();
        let depths = self.look(move |engine, _| engine.depths(&wanted)).await;
        depths.unwrap_or_else(|_| vec![None; places.len()])
    }

    async fn stop(&self) {
        // Where it fails nothing is given out either.
        let _ = self
            .store(|engine: &mut Engine, _: &Moment| {
                engine.desk.stop();
                Ok(())
            })
            .await;
    }

    async fn close(&self) {
        if self.core.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        match &self.core.way {
            Way::Here { engine, changed } => {
                if let Some(engine) = lock(engine).take() {
                    engine.close();
                }
                changed.notify_one();
            }
            Way::Thread { requests, ended, .. } => {
                // An error means that the thread has ended.
                let _ = requests.send(Incoming::Close);
                let _ = timeout(LONGEST_CLOSE, ended.clone().wait_for(|ended| *ended)).await;
            }
        }
    }
}

#[async_trait]
impl Publisher for Embedded {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let limit = self.core.settings.publish_timeout;
        let work = move |engine: &mut Engine, moment: &Moment| engine.publish(&message, moment);
        match self.core.ask(true, limit, work).await {
            Ok(done) => done,
            Err(Failure::Full) => Err(PublishError::Refused),
            Err(failure @ (Failure::Closed | Failure::Late(_) | Failure::Other(_))) => {
                Err(PublishError::Unconfirmed(failure.to_string()))
            }
        }
    }
}

impl Engine {
    /// A message was acked: it is taken off with the next transaction.
    fn acked(&mut self, key: i64) {
        self.acked.push(key);
        self.desk.leave(key, false);
    }

    /// Puts a message back at once, counted.
    fn requeue(&mut self, key: i64) -> rusqlite::Result<()> {
        self.put_back(&[key])?;
        self.desk.leave(key, true);
        Ok(())
    }

    /// How long to wait for requests before looking for errands.
    fn look_again_in(&mut self) -> Duration {
        self.idle_for().min(Upkeep::look_every(self.role))
    }

    /// Takes off what was acked, at the end.
    fn finish(mut self) {
        if !self.acked.is_empty() {
            self.desk.stop();
            self.run(Vec::new());
        }
    }

    /// Puts back what is in hand, at the end.
    fn close(mut self) {
        self.desk.stop();
        let hands = self.desk.hands();
        let work = move |engine: &mut Engine, _: &Moment| engine.put_back(&hands);
        self.run(vec![Box::new(Asked { writes: true, work, found: None, reply: None, _room: None })]);
    }
}
