//! The broker: RabbitMQ, by quorum queues and publisher confirms.
//!
//! Reading order: [`names`] (what things are called), [`mod@topology`] (what there has to be),
//! [`properties`] (what travels with a message), `link` (one connection) and `lifeline`, `consume`, `acks`,
//! `width` and `subscriptions`, `publish`, and here what keeps the connections up.
//!
//! There are two connections, each kept up by a task of its own: a connection that the broker
//! blocks because of its publishing writes nothing at all, acks included; and a loss of the
//! publishing one must not make the broker give out again what the other one holds, since it
//! counts that. Both tasks connect, declare what is missing, work, and begin anew when their
//! connection ends, for ever.
//!
//! The library's own recovery is not used: it hides losses from consumers, and gives up.
//!
//! The library logs messages that the broker returns, bodies included, as warnings of the target
//! [`NEVER_LOGGED`]. Whoever sets up logging has to switch that target off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{error, info, warn};

use crate::config::QueueConfig;
use crate::ports::{Chance, Message, Outgoing, Place, PublishError, Publisher, Queue};

mod acks;
mod consume;
mod letters;
mod lifeline;
mod link;
pub mod names;
mod onlooker;
pub mod properties;
mod publish;
mod subscriptions;
pub mod topology;
mod width;

use consume::Subscription;
pub use letters::RabbitLetters;
pub use link::LinkError;
use link::{Link, Loss, Pauses};
pub use onlooker::Onlooker;
use publish::{Limits, Request};
pub use topology::{DeclareError, Object, topology};

/// The log target under which the library writes whole messages. A filter must switch it off at
/// every level (`lapin::returned_messages=off`): bodies and device tokens stay out of logs.
pub const NEVER_LOGGED: &str = "lapin::returned_messages";

/// Declares every broker object of accounts with these queues, and returns them.
///
/// # Errors
/// A [`DeclareError`] that names the object and says what to do; what was declared before it stays.
pub async fn declare(config: &QueueConfig, places: &[Place]) -> Result<Vec<Object>, DeclareError> {
    let objects = topology(&config.prefix, places);
    let link = Link::open(config, &format!("{} topology", config.prefix), 0).await?;
    let declared = declare_over(&link, &objects).await;
    link.close().await;
    declared.map(|()| objects)
}

async fn declare_over(link: &Link, objects: &[Object]) -> Result<(), DeclareError> {
    let broken = |error: lapin::Error| DeclareError::Unreachable(error.to_string());
    let channel = link.connection.create_channel().await.map_err(broken)?;
    topology::declare_all(&channel, objects).await?;
    channel.close(200, "OK".into()).await.map_err(broken)
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Stopped,
    Closed,
}

/// What the first attempt came to.
#[derive(Debug, Clone)]
enum Start {
    Pending,
    Up,
    Refused(DeclareError),
}

/// The two connections, by use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Consume,
    Publish,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Publish => "publish",
        }
    }
}

/// The way to the task that publishes; there is one only while it has a connection.
#[derive(Clone)]
struct Outlet {
    requests: mpsc::Sender<Box<Request>>,
    blocked: watch::Receiver<bool>,
}

/// Which connections can be used.
#[derive(Default)]
struct Usable {
    consuming: bool,
    publishing: bool,
}

struct Shared {
    config: QueueConfig,
    objects: Vec<Object>,
    chance: Arc<dyn Chance>,
    /// Held while declaring: two connections that create the same queue at once would be a race.
    declaring: tokio::sync::Mutex<()>,
    phase: watch::Sender<Phase>,
    start: watch::Sender<Start>,
    usable: Mutex<Usable>,
    up: watch::Sender<bool>,
    subscriptions: Mutex<Vec<Arc<Subscription>>>,
    subscribed: Notify,
    /// How many subscriptions are at work; `stop` waits for none.
    working: watch::Sender<usize>,
    outlet: Mutex<Option<Outlet>>,
    reading: Mutex<Option<Arc<Link>>>,
    /// How many channels have acks to write; `close` waits for none.
    writing_acks: watch::Sender<usize>,
    /// Whether each subscription has a connection of its own; see `subscriptions`.
    apart: AtomicBool,
}

/// RabbitMQ as [`Queue`] and [`Publisher`].
pub struct RabbitMq {
    shared: Arc<Shared>,
    keepers: tokio::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// A lock can only be poisoned by a panic while it is held, and nothing here panics under one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl RabbitMq {
    /// Starts to connect, and returns at once; must be called within a tokio runtime. A broker
    /// that can't be reached is waited for. `chance` spreads the attempts to reconnect.
    pub fn start(config: QueueConfig, places: &[Place], chance: Arc<dyn Chance>) -> Arc<Self> {
        let shared = Arc::new(Shared {
            objects: topology(&config.prefix, places),
            config,
            chance,
            declaring: tokio::sync::Mutex::new(()),
            phase: watch::Sender::new(Phase::Running),
            start: watch::Sender::new(Start::Pending),
            usable: Mutex::default(),
            up: watch::Sender::new(false),
            subscriptions: Mutex::default(),
            subscribed: Notify::new(),
            working: watch::Sender::new(0),
            outlet: Mutex::default(),
            reading: Mutex::default(),
            writing_acks: watch::Sender::new(0),
            apart: AtomicBool::new(false),
        });
        let keepers = [Role::Consume, Role::Publish].map(|role| tokio::spawn(keep_up(shared.clone(), role)));
        Arc::new(Self { shared, keepers: tokio::sync::Mutex::new(keepers.into()) })
    }

    /// Waits until the broker can be used for the first time, however long that takes.
    ///
    /// # Errors
    /// Where the broker refuses for a reason that a person has to mend ([`DeclareError::is_final`]):
    /// the worker should not start then. Attempts go on in the background until [`Queue::close`].
    pub async fn started(&self) -> Result<(), DeclareError> {
        let mut start = self.shared.start.subscribe();
        loop {
            let now = start.borrow_and_update().clone();
            match now {
                Start::Up => return Ok(()),
                Start::Refused(error) => return Err(error),
                Start::Pending => {}
            }
            if start.changed().await.is_err() {
                return Err(DeclareError::Unreachable("closed".into()));
            }
        }
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Closed);
    }
}

// ---------------------------------------------------------------------------------------------
// Keeping connections up
// ---------------------------------------------------------------------------------------------

/// Keeps one connection up until the end.
async fn keep_up(shared: Arc<Shared>, role: Role) {
    let mut pauses = Pauses::new(shared.config.reconnect_max);
    let mut phase = shared.phase.subscribe();
    let mut losses = 0;
    while !over(*phase.borrow_and_update(), role) {
        let begun = Instant::now();
        match work(&shared, role, losses).await {
            Ok(()) => continue,
            Err(failure) => tell(&shared, role, &failure),
        }
        losses = losses.wrapping_add(1);
        // A connection that breaks again and again as soon as it is up is paced like one that
        // can't be made.
        if begun.elapsed() > shared.config.reconnect_max {
            pauses.reset();
        }
        let pause = pauses.next(shared.chance.as_ref());
        // Whatever wakes it, the loop looks at the phase again.
        let _ = timeout(pause, phase.wait_for(|phase| over(*phase, role))).await;
    }
}

/// Whether a connection has nothing to do any more. A stopped queue consumes nothing, so a lost
/// consuming connection needs no other.
fn over(phase: Phase, role: Role) -> bool {
    match (phase, role) {
        (Phase::Closed, _) | (Phase::Stopped, Role::Consume) => true,
        (Phase::Running, _) | (Phase::Stopped, Role::Publish) => false,
    }
}

/// Why a connection is not up.
enum Failure {
    Refused(DeclareError),
    Lost(String),
}

fn tell(shared: &Shared, role: Role, failure: &Failure) {
    match failure {
        Failure::Refused(refusal) => {
            let first = shared.start.send_if_modified(|start| match start {
                Start::Pending if refusal.is_final() => {
                    *start = Start::Refused(refusal.clone());
                    true
                }
                Start::Pending | Start::Up | Start::Refused(_) => false,
            });
            if first || refusal.is_final() {
                error!(role = role.as_str(), error = %refusal, "the broker refuses");
            } else {
                warn!(role = role.as_str(), error = %refusal, "no connection to the broker");
            }
        }
        Failure::Lost(reason) => warn!(role = role.as_str(), reason, "the broker's connection was lost"),
    }
}

/// Connects, declares, and works until the connection or the work ends. `Ok` at the end of all.
async fn work(shared: &Arc<Shared>, role: Role, losses: usize) -> Result<(), Failure> {
    let name = format!("{} {} (process {})", shared.config.prefix, role.as_str(), std::process::id());
    let link = tokio::select! {
        link = Link::open(&shared.config, &name, losses) => link.map_err(|error| Failure::Refused(error.into()))?,
        () = closed(shared) => return Ok(()),
    };
    let link = Arc::new(link);
    let result = tokio::select! {
        result = work_over(shared, role, &link) => result,
        loss = link.ended() => Err(Failure::Lost(shared.note(role, loss))),
        () = ended(shared, role) => Ok(()),
    };
    shared.set_usable(role, false);
    match role {
        Role::Consume => drop(lock(&shared.reading).take()),
        // Everybody who waits for an answer learns at once that there will be none.
        Role::Publish => drop(lock(&shared.outlet).take()),
    }
    link.close().await;
    result
}

async fn closed(shared: &Shared) {
    let mut phase = shared.phase.subscribe();
    // An error means that nobody can close it any more, which is as good as closed.
    let _ = phase.wait_for(|phase| *phase == Phase::Closed).await;
}

/// Waits for the end of all, and until the broker has been told of all acks: their channels have to stay
/// open so long, or what is settled comes again.
async fn ended(shared: &Shared, role: Role) {
    closed(shared).await;
    if role == Role::Publish {
        return;
    }
    let mut writing = shared.writing_acks.subscribe();
    // A broker that takes nothing any more is left all the same.
    let _ = timeout(link::GOODBYE, writing.wait_for(|channels| *channels == 0)).await;
}

async fn work_over(shared: &Arc<Shared>, role: Role, link: &Arc<Link>) -> Result<(), Failure> {
    {
        let _alone = shared.declaring.lock().await;
        declare_over(link, &shared.objects).await.map_err(Failure::Refused)?;
    }
    match role {
        Role::Consume => {
            *lock(&shared.reading) = Some(link.clone());
            subscriptions::consume_over(shared, link).await;
            Ok(())
        }
        Role::Publish => Err(Failure::Lost(publish_over(shared, link).await)),
    }
}

impl Shared {
    /// Remembers that a message came which can't be read. Over one connection it would end all
    /// consuming again and again.
    fn note(&self, role: Role, loss: Loss) -> String {
        if role == Role::Consume && loss.unreadable && !self.apart.swap(true, Ordering::Relaxed) {
            error!("a message can't be read; from now on each queue has a connection of its own");
        }
        loss.reason
    }

    fn set_usable(&self, role: Role, usable: bool) {
        let mut both = lock(&self.usable);
        match role {
            Role::Consume => both.consuming = usable,
            Role::Publish => both.publishing = usable,
        }
        let up = both.consuming && both.publishing;
        if up {
            self.start.send_replace(Start::Up);
        }
        let changed = self.up.send_if_modified(|was| std::mem::replace(was, up) != up);
        if changed && up {
            info!("the broker can be used");
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Publishing
// ---------------------------------------------------------------------------------------------

/// Publishes over this connection for as long as its confirms can be trusted; says why it ended.
async fn publish_over(shared: &Arc<Shared>, link: &Arc<Link>) -> String {
    let channel = match publish::open(link).await {
        Ok(channel) => channel,
        Err(error) => return error.to_string(),
    };
    let (sender, mut requests) = mpsc::channel(publish::WAITING);
    *lock(&shared.outlet) = Some(Outlet { requests: sender, blocked: link.blocked.clone() });
    let limits = Limits { batch: shared.config.publish_batch.max(1), timeout: shared.config.publish_timeout };
    tokio::select! {
        end = publish::serve(link, channel, &mut requests, &shared.config.prefix, limits) => end,
        () = follow_blocked(shared, link) => "the connection ended".into(),
    }
}

/// A broker that blocks publishers can't be used, which only the publishing connection learns.
async fn follow_blocked(shared: &Shared, link: &Link) {
    let mut blocked = link.blocked.clone();
    loop {
        let is_blocked = *blocked.borrow_and_update();
        if is_blocked {
            warn!("{}", publish::BLOCKED);
        }
        shared.set_usable(Role::Publish, !is_blocked);
        if blocked.changed().await.is_err() {
            return;
        }
    }
}

#[async_trait]
impl Publisher for RabbitMq {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let unconfirmed = |reason: &str| Err(PublishError::Unconfirmed(reason.to_owned()));
        let Some(outlet) = lock(&self.shared.outlet).clone() else {
            return unconfirmed("there is no connection to the broker");
        };
        let Outlet { requests, blocked } = outlet;
        let limit = self.shared.config.publish_timeout;
        let (reply, answer) = oneshot::channel();
        let request = Box::new(Request { message, reply });
        let asked = async move {
            requests.send(request).await.ok()?;
            // Kept any longer it would keep the task waiting for requests that can't come.
            drop(requests);
            answer.await.ok()
        };
        match timeout(limit, asked).await {
            Ok(Some(result)) => result,
            Ok(None) => unconfirmed("the connection to the broker was lost"),
            Err(_) if *blocked.borrow() => unconfirmed(publish::BLOCKED),
            Err(_) => unconfirmed(&publish::late(limit)),
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The queue's port
// ---------------------------------------------------------------------------------------------

#[async_trait]
impl Queue for RabbitMq {
    fn subscribe(&self, place: Place, prefetch: u16) -> mpsc::Receiver<Box<Message>> {
        let (messages, receiver) = mpsc::channel(usize::from(prefetch.max(1)));
        let queue = names::queue(&self.shared.config.prefix, &place);
        let mut all = lock(&self.shared.subscriptions);
        // Looked at under the lock, which `stop` takes after it changed the phase.
        if *self.shared.phase.borrow() == Phase::Running {
            all.push(Arc::new(Subscription { place, queue, prefetch, messages }));
            self.shared.subscribed.notify_one();
        }
        receiver
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.shared.up.subscribe()
    }

    async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        let Some(link) = lock(&self.shared.reading).clone() else { return vec![None; places.len()] };
        let deadline = Instant::now() + self.shared.config.connect_timeout;
        let mut channel = None;
        let mut depths = Vec::with_capacity(places.len());
        for place in places {
            let queue = names::queue(&self.shared.config.prefix, place);
            let asked = timeout_at(deadline, depth(&link, &mut channel, &queue)).await;
            depths.push(asked.ok().flatten());
        }
        depths
    }

    async fn stop(&self) {
        self.shared.phase.send_if_modified(|phase| match phase {
            Phase::Running => {
                *phase = Phase::Stopped;
                true
            }
            Phase::Stopped | Phase::Closed => false,
        });
        lock(&self.shared.subscriptions).clear();
        self.shared.subscribed.notify_one();
        let mut working = self.shared.working.subscribe();
        // Past the limit the broker no longer answers, and so hands out nothing more either.
        let limit = self.shared.config.connect_timeout + Duration::from_secs(1);
        let _ = timeout(limit, working.wait_for(|count| *count == 0)).await;
    }

    async fn close(&self) {
        self.shared.phase.send_replace(Phase::Closed);
        lock(&self.shared.subscriptions).clear();
        for keeper in self.keepers.lock().await.drain(..) {
            // An error would be a panic of that task: there is nothing left to close then.
            let _ = keeper.await;
        }
    }
}

/// How many messages wait in a queue. Asking for one that doesn't exist closes the channel, so the
/// next question needs another.
async fn depth(link: &Link, channel: &mut Option<lapin::Channel>, queue: &str) -> Option<u64> {
    let asking = match channel.take() {
        Some(open) => open,
        None => link.connection.create_channel().await.ok()?,
    };
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let name = topology::short(queue).ok()?;
    let found = asking.queue_declare(name, options, FieldTable::default()).await.ok()?;
    *channel = Some(asking);
    Some(u64::from(found.message_count()))
}
