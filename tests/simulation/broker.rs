//! RabbitMQ, as far as paceline relies on it: durable queues, consumers with a prefetch, settling by
//! tag over the connection that a message came by, confirms, delay queues that dead-letter at least
//! once, counts of redeliveries.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use paceline::job::AccountName;
use paceline::pipeline::envelope::from_outside;
use paceline::ports::{
    Destination, LADDER_SECONDS, Message, Outgoing, Place, Properties, PublishError, Publisher, Queue, Ticket,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::life::{Chaos, Life};

/// A producer's own queue; any other one is gone.
pub const REPLIES: &str = "producer.replies";

/// So long after a process begins to stand still its connection ends.
const MISSED_HEARTBEATS: Duration = Duration::from_secs(15);

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Stored {
    body: Bytes,
    properties: Properties,
    redeliveries: u32,
}

struct Consumer {
    link: u64,
    place: Place,
    prefetch: usize,
    held: usize,
    sender: mpsc::UnboundedSender<Box<Message>>,
    /// The far end of `sender`, whose capacity is counted here.
    on: Arc<Link>,
}

struct Unsettled {
    link: u64,
    consumer: Place,
    stored: Stored,
}

/// A receipt, as it went to the exchange.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The message's own name: the same for each repeat of one end.
    pub name: String,
    pub body: Value,
}

impl Receipt {
    fn of(outgoing: &Outgoing) -> Self {
        let body = serde_json::from_slice(&outgoing.body).expect("a receipt is JSON");
        Self { name: outgoing.properties.message_id.clone().expect("a receipt has a name"), body }
    }
}

/// A dead letter.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub dead_id: String,
    pub reason: String,
    /// A job, unless it can't be read.
    pub body: Value,
    /// As it stands in its queue.
    pub bytes: Bytes,
    pub properties: Properties,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<Place, VecDeque<Stored>>,
    consumers: Vec<Consumer>,
    unsettled: BTreeMap<u64, Unsettled>,
    next_tag: u64,
    delayed: usize,
    receipts: Vec<Receipt>,
    replies: Vec<Receipt>,
}

/// The broker.
pub struct Broker {
    chaos: Arc<Chaos>,
    state: Mutex<State>,
    down: AtomicBool,
    links: Mutex<Vec<Arc<Link>>>,
}

/// What is left at the broker.
#[derive(Debug, PartialEq, Eq)]
pub struct Rest {
    pub waiting: BTreeMap<String, usize>,
    pub unsettled: usize,
    pub delayed: usize,
}

impl Broker {
    pub fn new(chaos: Arc<Chaos>, places: &[Place]) -> Arc<Self> {
        let queues = places.iter().cloned().chain([Place::Due, Place::Dead]);
        let state =
            State { queues: queues.map(|place| (place, VecDeque::new())).collect(), ..State::default() };
        Arc::new(Self {
            chaos,
            state: Mutex::new(state),
            down: AtomicBool::new(false),
            links: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// A connection of a worker's process.
    pub fn connect(self: &Arc<Self>, life: Arc<Life>) -> Arc<Link> {
        let mut links = self.links.lock().expect("nobody panics with it");
        let link = Arc::new(Link {
            broker: self.clone(),
            life,
            number: links.len() as u64,
            session: AtomicU64::new(0),
            connected: AtomicBool::new(!self.is_down()),
            closed: AtomicBool::new(false),
            up: watch::Sender::new(!self.is_down()),
        });
        links.push(link.clone());
        tokio::spawn(link.clone().beat());
        link
    }

    /// Lets go of what holds it in a circle, so that a run that is over takes no memory.
    pub fn dissolve(&self) {
        self.links.lock().expect("nobody panics with it").clear();
        *self.state() = State::default();
    }

    /// The connections that are not ended for good.
    fn links(&self) -> Vec<Arc<Link>> {
        let links = self.links.lock().expect("nobody panics with it");
        links.iter().filter(|link| !link.closed.load(Ordering::Relaxed)).cloned().collect()
    }

    fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Restarts: every connection ends, nothing is taken for a while, what was confirmed is kept.
    pub async fn restart(self: &Arc<Self>, away: Duration) {
        self.down.store(true, Ordering::Relaxed);
        for link in self.links() {
            link.drop_connection();
        }
        sleep(away).await;
        self.down.store(false, Ordering::Relaxed);
        for link in self.links() {
            link.reconnect(500);
        }
    }

    /// Ends the connection of one living worker.
    pub fn cut_one(&self) {
        let living: Vec<_> = self.links().into_iter().filter(|link| !link.life.is_dead()).collect();
        if living.is_empty() {
            return;
        }
        let link = self.chaos.dice.pick(&living);
        link.drop_connection();
        link.reconnect(3_000);
    }

    /// What a producer publishes, to the exchange of jobs.
    pub fn put(&self, place: &Place, body: Bytes, properties: Properties) {
        self.enqueue(place, Stored { body, properties: from_outside(properties), redeliveries: 0 });
    }

    fn enqueue(&self, place: &Place, stored: Stored) -> bool {
        let mut state = self.state();
        let Some(queue) = state.queues.get_mut(place) else { return false };
        queue.push_back(stored);
        self.give_out(&mut state);
        true
    }

    /// Gives what waits to whoever has room.
    fn give_out(&self, state: &mut State) {
        let State { queues, consumers, unsettled, next_tag, .. } = state;
        for (place, queue) in queues.iter_mut() {
            while !queue.is_empty() {
                let free: Vec<usize> = consumers
                    .iter()
                    .enumerate()
                    .filter(|(_, consumer)| consumer.place == *place && consumer.held < consumer.prefetch)
                    .filter(|(_, consumer)| consumer.on.is_connected())
                    .map(|(index, _)| index)
                    .collect();
                if free.is_empty() {
                    break;
                }
                let consumer = &mut consumers[*self.chaos.dice.pick(&free)];
                let Some(stored) = queue.pop_front() else { break };
                let tag = *next_tag;
                *next_tag += 1;
                consumer.held += 1;
                let message = consumer.on.message(tag, place, &stored);
                unsettled.insert(tag, Unsettled { link: consumer.link, consumer: place.clone(), stored });
                // A dead worker's end of the channel may be gone; its connection ends soon.
                let _ = consumer.sender.send(Box::new(message));
            }
        }
    }

    fn route(self: &Arc<Self>, outgoing: &Outgoing) -> Result<(), PublishError> {
        self.chaos.note_name(&outgoing.properties);
        let stored =
            Stored { body: outgoing.body.clone(), properties: outgoing.properties.clone(), redeliveries: 0 };
        match &outgoing.destination {
            Destination::Place(place) if self.enqueue(place, stored.clone()) => Ok(()),
            Destination::Place(_) => Err(PublishError::Unroutable),
            Destination::Jobs(account) => {
                let account = AccountName::new(account).ok_or(PublishError::Unroutable)?;
                let properties = from_outside(stored.properties);
                let taken = self.enqueue(&Place::Jobs(account), Stored { properties, ..stored });
                if taken { Ok(()) } else { Err(PublishError::Unroutable) }
            }
            Destination::Delay(rung) => {
                let seconds = LADDER_SECONDS.get(*rung).ok_or(PublishError::Unroutable)?;
                self.state().delayed += 1;
                let broker = self.clone();
                let wait = Duration::from_secs(*seconds);
                tokio::spawn(async move {
                    sleep(wait).await;
                    let copies = if broker.chaos.strikes(|odds| odds.doubled) { 2 } else { 1 };
                    broker.state().delayed -= 1;
                    for _ in 0..copies {
                        broker.enqueue(&Place::Due, stored.clone());
                    }
                });
                Ok(())
            }
            Destination::Receipts { .. } => {
                self.state().receipts.push(Receipt::of(outgoing));
                Ok(())
            }
            Destination::Reply { queue } if queue == REPLIES => {
                self.state().replies.push(Receipt::of(outgoing));
                Ok(())
            }
            Destination::Reply { queue } => {
                assert!(!queue.starts_with("paceline."), "a receipt goes to a queue of paceline's own");
                Err(PublishError::Unroutable)
            }
        }
    }

    /// Returns whether the message was still to be settled.
    fn settle(&self, tag: u64, back: Option<u32>) -> bool {
        let mut state = self.state();
        let found = state.unsettled.remove(&tag);
        let unsettled = found.is_some();
        if let Some(unsettled) = found {
            state.free(unsettled.link, &unsettled.consumer);
            if let Some(more) = back {
                state.put_back(unsettled, more);
            }
        }
        self.give_out(&mut state);
        unsettled
    }

    pub fn receipts(&self) -> Vec<Receipt> {
        self.state().receipts.clone()
    }

    /// What came to a producer's own queue.
    pub fn replies(&self) -> Vec<Receipt> {
        self.state().replies.clone()
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let state = self.state();
        let letters = state.queues[&Place::Dead].iter();
        letters
            .map(|stored| {
                let header = |name| stored.properties.header(name).expect("a header of its own").to_owned();
                let body = serde_json::from_slice(&stored.body).unwrap_or_default();
                DeadLetter {
                    dead_id: header("paceline-dead-id"),
                    reason: header("paceline-reason"),
                    body,
                    bytes: stored.body.clone(),
                    properties: stored.properties.clone(),
                }
            })
            .collect()
    }

    pub fn rest(&self) -> Rest {
        let state = self.state();
        let waiting =
            state.queues.iter().filter(|(place, queue)| **place != Place::Dead && !queue.is_empty());
        Rest {
            waiting: waiting.map(|(place, queue)| (format!("{place:?}"), queue.len())).collect(),
            unsettled: state.unsettled.len(),
            delayed: state.delayed,
        }
    }
}

impl State {
    fn free(&mut self, link: u64, place: &Place) {
        let mut consumers = self.consumers.iter_mut();
        if let Some(consumer) = consumers.find(|consumer| consumer.link == link && consumer.place == *place) {
            consumer.held -= 1;
        }
    }

    fn put_back(&mut self, unsettled: Unsettled, more: u32) {
        let Unsettled { consumer, mut stored, .. } = unsettled;
        stored.redeliveries += more;
        self.queues.get_mut(&consumer).expect("it came from there").push_front(stored);
    }
}

/// One worker's connection.
pub struct Link {
    broker: Arc<Broker>,
    life: Arc<Life>,
    number: u64,
    session: AtomicU64,
    connected: AtomicBool,
    closed: AtomicBool,
    up: watch::Sender<bool>,
}

impl Link {
    fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// The connection ends: what it holds goes back to its queues.
    pub fn drop_connection(&self) {
        if !self.connected.swap(false, Ordering::Relaxed) {
            return;
        }
        self.session.fetch_add(1, Ordering::Relaxed);
        self.up.send_replace(false);
        let mut state = self.broker.state();
        let tags: Vec<u64> = state
            .unsettled
            .iter()
            .filter(|(_, held)| held.link == self.number)
            .map(|(tag, _)| *tag)
            .collect();
        for tag in tags.into_iter().rev() {
            if let Some(unsettled) = state.unsettled.remove(&tag) {
                state.put_back(unsettled, 1);
            }
        }
        for consumer in state.consumers.iter_mut().filter(|consumer| consumer.link == self.number) {
            consumer.held = 0;
        }
        self.broker.give_out(&mut state);
    }

    /// A process that stands still for long misses its heartbeats.
    async fn beat(self: Arc<Self>) {
        let mut stills = self.life.stills();
        while !self.closed.load(Ordering::Relaxed) && stills.changed().await.is_ok() {
            if timeout(MISSED_HEARTBEATS, self.life.goes_on()).await.is_ok() {
                continue;
            }
            self.drop_connection();
            self.life.goes_on().await;
            self.reconnect(1_500);
        }
    }

    /// Ends it for good.
    pub fn end(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.drop_connection();
        self.broker.state().consumers.retain(|consumer| consumer.link != self.number);
    }

    /// Comes back within so many milliseconds, whatever becomes of whoever lost it.
    fn reconnect(self: &Arc<Self>, most_ms: u64) {
        let link = self.clone();
        tokio::spawn(async move {
            link.broker.chaos.travel(most_ms).await;
            if link.closed.load(Ordering::Relaxed) || link.life.is_dead() || link.broker.is_down() {
                return;
            }
            link.connected.store(true, Ordering::Relaxed);
            link.up.send_replace(true);
            link.broker.give_out(&mut link.broker.state());
        });
    }

    fn message(self: &Arc<Self>, tag: u64, place: &Place, stored: &Stored) -> Message {
        Message {
            body: stored.body.clone(),
            properties: stored.properties.clone(),
            place: place.clone(),
            redeliveries: stored.redeliveries,
            received: Instant::now(),
            ticket: Box::new(Tag { link: self.clone(), session: self.session.load(Ordering::Relaxed), tag }),
        }
    }
}

/// The connection as the worker sees it.
pub struct Port(pub Arc<Link>);

#[async_trait]
impl Queue for Port {
    fn subscribe(&self, place: Place, prefetch: u16) -> mpsc::Receiver<Box<Message>> {
        // The port hands out a bounded channel; what is on its way is bounded by the prefetch.
        let (bounded, receiver) = mpsc::channel(usize::from(prefetch).max(1));
        let (sender, mut given) = mpsc::unbounded_channel::<Box<Message>>();
        let life = self.0.life.clone();
        tokio::spawn(async move {
            while let Some(mut message) = given.recv().await {
                if life.is_dead() {
                    return std::future::pending().await;
                }
                message.received = Instant::now();
                if bounded.send(message).await.is_err() {
                    return;
                }
            }
        });
        let mut state = self.0.broker.state();
        let (link, prefetch) = (self.0.number, usize::from(prefetch));
        state.consumers.push(Consumer { link, place, prefetch, held: 0, sender, on: self.0.clone() });
        self.0.broker.give_out(&mut state);
        receiver
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.0.up.subscribe()
    }

    async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        let state = self.0.broker.state();
        let connected = self.0.is_connected();
        let depth = |place| state.queues.get(place).map(|queue: &VecDeque<Stored>| queue.len() as u64);
        places.iter().map(|place| depth(place).filter(|_| connected)).collect()
    }

    async fn stop(&self) {
        self.0.life.moment().await;
        self.0.broker.state().consumers.retain(|consumer| consumer.link != self.0.number);
    }

    async fn close(&self) {
        self.0.life.moment().await;
        self.0.end();
    }
}

#[async_trait]
impl Publisher for Port {
    async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        let chaos = &self.0.broker.chaos;
        let lost = |why: &str| Err(PublishError::Unconfirmed(why.to_owned()));
        self.0.life.moment().await;
        let session = self.0.session.load(Ordering::Relaxed);
        chaos.travel(3).await;
        if !self.0.is_connected() {
            chaos.travel(200).await;
            self.0.life.moment().await;
            return lost("no connection");
        }
        if chaos.strikes(|odds| odds.publish_lost) {
            sleep(PUBLISH_TIMEOUT).await;
            self.0.life.moment().await;
            return lost("it never arrived");
        }
        let routed = self.0.broker.route(&outgoing);
        if chaos.strikes(|odds| odds.confirm_lost) {
            if chaos.dice.in_thousand(500) {
                self.0.drop_connection();
                self.0.reconnect(1_500);
                chaos.travel(1_000).await;
            } else {
                sleep(PUBLISH_TIMEOUT).await;
            }
            self.0.life.moment().await;
            return lost("its confirm never came");
        }
        chaos.travel(3).await;
        self.0.life.moment().await;
        if session != self.0.session.load(Ordering::Relaxed) {
            return lost("the connection ended");
        }
        routed
    }
}

/// The right to settle one message.
struct Tag {
    link: Arc<Link>,
    session: u64,
    tag: u64,
}

#[async_trait]
impl Ticket for Tag {
    async fn ack(&self) -> bool {
        self.link.life.moment().await;
        self.link.broker.chaos.travel(2).await;
        if self.is_stale() {
            return false;
        }
        let settled = if self.link.broker.chaos.strikes(|odds| odds.ack_lost) {
            // Written to a socket whose other end is gone.
            self.link.drop_connection();
            self.link.reconnect(500);
            true
        } else {
            self.link.broker.settle(self.tag, None)
        };
        self.link.life.moment().await;
        settled
    }

    async fn requeue(&self) {
        self.link.life.moment().await;
        if !self.is_stale() {
            self.link.broker.settle(self.tag, Some(1));
        }
        self.link.life.moment().await;
    }

    fn is_stale(&self) -> bool {
        self.session != self.link.session.load(Ordering::Relaxed)
    }
}
