//! What the pipeline asks of the world: queues, a publisher, claims, permits, time and chance.
//!
//! An adapter implements these traits over a real server; one suite of tests (`tests/contract`)
//! runs on every adapter. The promises below are what the pipeline builds on.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::job::{AccountName, DeliveryId, Instance, Line};
use crate::verdict::{Outcome, Signal};

mod letters;
mod place;
mod sightings;

pub use letters::{DeadLetters, Intent, LONGEST_READING, Letter, LetterTag, LettersError, Reading};
pub use place::{LADDER_SECONDS, Place};
pub use sightings::{Held, Load, Sighted, Sighting, Sightings};

// ---------------------------------------------------------------------------------------------
// Queues
// ---------------------------------------------------------------------------------------------

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// One of paceline's queues.
    Place(Place),
    /// One rung of the delay ladder, by its index in [`LADDER_SECONDS`]; it comes out at
    /// [`Place::Due`].
    Delay(usize),
    /// The receipts exchange. Nobody bound to the key is not an error.
    Receipts {
        /// `<account>.<operation>.<status>`.
        routing_key: String,
    },
    /// A producer's own reply queue. One that is gone is [`PublishError::Unroutable`].
    Reply {
        /// The queue's name.
        queue: String,
    },
    /// The jobs exchange, as a producer does it; an unknown account is
    /// [`PublishError::Unroutable`].
    Jobs(String),
}

/// Everything beside the body that travels with a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Names this message, unique for each publishing.
    pub message_id: Option<String>,
    /// A queue that wants the receipts too.
    pub reply_to: Option<String>,
    /// Echoed with `reply_to`.
    pub correlation_id: Option<String>,
    /// Time of publishing, to the second (AMQP has no finer one).
    pub timestamp: Option<Timestamp>,
    /// `application/json` for what paceline writes.
    pub content_type: Option<String>,
    /// Headers whose values are texts or whole numbers (as decimal text), in any order. Headers of
    /// other types are dropped by the adapter, as are those that the broker itself adds on its way
    /// (`x-death` and its kin, whose copies make a broker lose messages).
    pub headers: Vec<(String, String)>,
}

impl Properties {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Sets a header, replacing one of the same name.
    pub fn set_header(&mut self, name: &str, value: impl Into<String>) {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.to_owned(), value.into()));
    }
}

/// A message in hand. Until it is settled the queue keeps it, and gives it to somebody else when
/// this worker dies or loses its connection.
pub struct Message {
    /// The body as it came.
    pub body: Bytes,
    /// Its properties. Of one that came by way of the jobs exchange, as producers publish, headers of
    /// paceline's own are left out but for those that a producer may set: see
    /// [`crate::pipeline::envelope::from_outside`].
    pub properties: Properties,
    /// The queue it came from.
    pub place: Place,
    /// How often the queue gave it out before without its being settled.
    pub redeliveries: u32,
    /// When it came into this process.
    pub received: Instant,
    /// Settles it.
    pub ticket: Box<dyn Ticket>,
}

impl fmt::Debug for Message {
    /// Bodies and headers stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("place", &self.place)
            .field("bytes", &self.body.len())
            .field("redeliveries", &self.redeliveries)
            .finish_non_exhaustive()
    }
}

/// The right to settle one message, once.
#[async_trait]
pub trait Ticket: Send + Sync {
    /// Has the message taken off its queue: soon, and at the latest when the queue is closed. `false` when
    /// it is settled already, or when the connection it came over is gone: the queue gives it out again
    /// then, which is no error, because its claim answers for it.
    async fn ack(&self) -> bool;
    /// Puts it back at once; the queue counts that as a redelivery.
    async fn requeue(&self);
    /// Whether settling it can no longer work, so that working on it is a waste.
    fn is_stale(&self) -> bool;
}

/// The consuming side of the broker. Reconnects for ever by itself.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Hands over the messages of `place`, at most `prefetch` unsettled at once. The subscription
    /// outlives connections: after a reconnect it goes on by itself, and what it gave out before
    /// is stale. Ends only when the queue is stopped. Boxed, because a channel keeps room for a few
    /// dozen of what it carries, and there is one for each queue of each account.
    fn subscribe(&self, place: Place, prefetch: u16) -> mpsc::Receiver<Box<Message>>;
    /// Whether the broker can be used now.
    fn up(&self) -> watch::Receiver<bool>;
    /// How many messages wait in each place (those in workers' hands not counted); `None` for one
    /// that can't be asked.
    async fn depths(&self, places: &[Place]) -> Vec<Option<u64>>;
    /// Gives out nothing more; what was given out can still be settled. Every subscription ends.
    async fn stop(&self);
    /// Ends all connections; whatever is unsettled goes back to its queue.
    async fn close(&self);
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Where to.
    pub destination: Destination,
    /// Its body.
    pub body: Bytes,
    /// Its properties.
    pub properties: Properties,
}

/// Why a message is not known to be safe at the broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No queue takes it. Final until somebody makes one.
    #[error("no queue takes it")]
    Unroutable,
    /// The queue is full, or has no leader for now. Another try may work.
    #[error("the broker refused it: the queue is full, or has no leader")]
    Refused,
    /// The broker can't be reached, is blocked by an alarm, or did not confirm in time; the
    /// message may arrive all the same.
    #[error("not confirmed: {0}")]
    Unconfirmed(String),
}

/// The publishing side of the broker.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Returns when the broker has confirmed the message as safely queued (on disk, on a majority
    /// of its nodes), and not before. After an error the message may have arrived or not.
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError>;
}

// ---------------------------------------------------------------------------------------------
// Claims
// ---------------------------------------------------------------------------------------------

/// The store can't be used now; what was asked may have happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// What is known of a delivery's earlier attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Requests made for it, the coming one not counted.
    pub requests: u32,
    /// Retries used up.
    pub retries: u32,
    /// Since when, in milliseconds of the store's clock, an attempt was made for the first time.
    pub first_attempt_ms: Option<i64>,
    /// Start, in milliseconds of the store's clock, of the earliest attempt whose outcome is not
    /// known. A delivery that has one ends only as `delivered` or `uncertain`.
    pub unresolved_ms: Option<i64>,
}

/// What a claim is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To send: the claim is `sending` from this moment, so that a crash afterwards counts as an
    /// attempt whose outcome is not known.
    Send,
    /// To end it without a request.
    End,
}

/// A wish for a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimRequest {
    /// The account.
    pub account: AccountName,
    /// The limit it waits for: each has a health of its own, since it may have a credential and an
    /// address of its own.
    pub line: Line,
    /// The delivery.
    pub id: DeliveryId,
    /// Which publishing of it this is.
    pub instance: Instance,
    /// To send or to end.
    pub purpose: Purpose,
    /// What the message itself remembers; used where the store remembers less (lost data).
    pub remembered: History,
    /// The dead id of a replay, which overrides an ended claim once.
    pub replay: Option<String>,
    /// Fences this holder from others, and makes asking twice harmless: a wish whose answer was lost
    /// is repeated with the same token, and then finds the claim its own. After any answer was read
    /// the next wish needs a new one.
    pub token: String,
}

/// The right to send and to end one delivery, until its lease runs out.
#[derive(Debug)]
pub struct Claim {
    /// The account.
    pub account: AccountName,
    /// The limit whose health its attempt speaks of.
    pub line: Line,
    /// The delivery.
    pub id: DeliveryId,
    /// Which publishing of it this is.
    pub instance: Instance,
    /// Fences this holder from later ones.
    pub token: String,
    /// What is known of earlier attempts.
    pub history: History,
    /// The store's clock when the claim was made, in milliseconds.
    pub claimed_ms: i64,
    /// Whether it is the one that finds out whether a paused account works again.
    pub probe: bool,
    /// No request may be written later than this, lest it outlive the lease.
    pub write_by: Instant,
}

/// Why an account's requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PauseCause {
    /// The provider asked for it.
    Throttled,
    /// The credential or the account is refused.
    Credentials,
    /// The provider answers with faults.
    Circuit,
    /// A person asked for it.
    Operator,
    /// A queue bound to the receipts exchange is full. Known only to the worker whose receipts are
    /// refused, never to the store.
    Receipts,
}

impl PauseCause {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::Throttled, Self::Credentials, Self::Circuit, Self::Operator, Self::Receipts];

    /// A stable word for metrics, logs and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Credentials => "credentials",
            Self::Circuit => "circuit",
            Self::Operator => "operator",
            Self::Receipts => "receipts",
        }
    }

    /// The cause of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// A pause that all workers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How long from now.
    pub wait: Duration,
    /// Why.
    pub cause: PauseCause,
}

/// The answer to a [`ClaimRequest`].
#[derive(Debug)]
pub enum Answer {
    /// It is ours.
    Acquired(Claim),
    /// Somebody holds it, at the longest for this time.
    Held(Duration),
    /// It has ended. `same` when by this same instance, whose effects may have to be done again.
    Ended {
        /// How.
        outcome: Outcome,
        /// Whether this instance is the one that ended. An instance that is not is a duplicate, and
        /// finds the same end again even when a replay has overridden it meanwhile.
        same: bool,
    },
    /// The account is paused (for [`Purpose::Send`] only).
    Paused(Pause),
}

/// What a holder leaves behind when it gives a claim back without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The history to keep.
    pub history: History,
    /// What the attempt said of the provider's health.
    pub signal: Signal,
}

/// What became of ending or releasing a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fenced(
    /// Whether the claim was no longer ours, so that nothing was written.
    pub bool,
);

/// What to do with a delivery for which the provider found the account at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// The account is paused; a different delivery probes it when the pause ends.
    Paused(Pause),
    /// Others were accepted since this same delivery was suspected: the delivery is at fault.
    Delivery,
}

/// Claims: who handles a delivery, how it ended, and the health of each account, for all workers.
///
/// Every call may be made twice with the same effect: a reply that is lost still ran.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Asks for several claims at once; the answers are in the order of the requests.
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Answer>, StoreError>;
    /// Writes the end of a delivery, before any of its effects.
    async fn end(&self, claim: &Claim, outcome: &Outcome, signal: Signal) -> Result<Fenced, StoreError>;
    /// Drops the holder; the history stays.
    async fn release(&self, claim: &Claim, release: Release) -> Result<Fenced, StoreError>;
    /// Says that the provider found the account at fault while sending this delivery. Pauses the
    /// account for all workers, or names the delivery as the culprit.
    async fn suspect(&self, claim: &Claim) -> Result<Suspicion, StoreError>;
    /// The provider asked for a pause of an account's work that has no limit: nothing of it is sent
    /// for `wait` (a day at most) by any worker; a longer pause in force stays. When it is over all
    /// go on, without a probe.
    async fn throttle(&self, account: &AccountName, line: &Line, wait: Duration) -> Result<(), StoreError>;
    /// The pause of an account's work for one of its limits, if any.
    async fn pause_of(&self, account: &AccountName, line: &Line) -> Result<Option<Pause>, StoreError>;
    /// Pauses the whole account until it is resumed by a person.
    async fn pause(&self, account: &AccountName) -> Result<(), StoreError>;
    /// Ends a person's pause of the account, and any pause of its work for one of its limits.
    async fn resume(&self, account: &AccountName, line: &Line) -> Result<(), StoreError>;
    /// Counts that a suspected message is about to be handled, once for each name of a handling, and
    /// says how often it now was.
    async fn count_suspect(&self, fingerprint: &str, handling: &str) -> Result<u32, StoreError>;
    /// Takes one such count back: that handling ended quietly.
    async fn uncount_suspect(&self, fingerprint: &str, handling: &str) -> Result<(), StoreError>;
    /// Whether the store can be used now.
    fn up(&self) -> watch::Receiver<bool>;
    /// Asks the store whether it can be used, and remembers the answer for [`Claims::up`].
    async fn ping(&self) -> bool;
}

// ---------------------------------------------------------------------------------------------
// Permits
// ---------------------------------------------------------------------------------------------

/// The key under which workers share one limit: derived from the provider, the credential and the
/// pool, so that accounts with the same credential share it. Holds no secret.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey(pub String);

impl fmt::Debug for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One limit: `requests` in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The most requests, at least 2.
    pub requests: u32,
    /// In any stretch of this length.
    pub length: Duration,
}

/// The right to make one counted request, within a short stretch of time.
///
/// A permit can't be cloned and `send` consumes it, so no request is made twice on one.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    /// Not written earlier.
    pub opens: Instant,
    /// Not written later; then it is thrown away.
    pub closes: Instant,
}

/// The answer to a wish for permits.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Permits, earliest first; may be fewer than asked for.
    pub permits: Vec<Permit>,
    /// When it makes sense to ask again, if fewer were granted than asked for.
    pub retry_at: Option<Instant>,
    /// The provider asked for a pause: nothing is granted before its end.
    pub paused: Option<Pause>,
}

/// The use of a pool, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Permits granted whose slots lie in the last 60 seconds.
    pub last_minute: u32,
    /// The pool's pause, if any.
    pub paused: Option<Pause>,
    /// How long until the next free slot: the pause and slots granted ahead are counted in.
    pub next_slot: Duration,
    /// The distance between slots in force; `None` for a pool without a limit.
    pub interval: Option<Duration>,
}

/// Permits: the limit of a pool, for all workers.
#[async_trait]
pub trait Permits: Send + Sync {
    /// Asks for up to `n` permits. Granted ones that are not used are lost, never given back.
    async fn take(&self, pool: &PoolKey, n: u32) -> Result<Grant, StoreError>;
    /// Stops all grants of the pool for `wait` from now; a longer pause in force stays.
    async fn pause_pool(&self, pool: &PoolKey, wait: Duration) -> Result<(), StoreError>;
    /// The pool's use.
    async fn usage(&self, pool: &PoolKey) -> Result<Usage, StoreError>;
}

/// All that a store is asked for.
pub trait Store: Claims + Permits + Sightings {}

impl<T: Claims + Permits + Sightings> Store for T {}

// ---------------------------------------------------------------------------------------------
// The wire
// ---------------------------------------------------------------------------------------------

/// A request as it goes over the wire. Holds credentials: no `Debug`.
#[derive(Clone)]
pub struct WireRequest {
    /// The method.
    pub method: reqwest::Method,
    /// The full URL.
    pub url: reqwest::Url,
    /// Headers beyond `Content-Type: application/json`.
    pub headers: Vec<(reqwest::header::HeaderName, reqwest::header::HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// The most bytes of an answer that are read. What providers answer to a push is a thousand times
/// smaller; pages of a history are the largest. A hostile or broken one must not fill the memory.
pub const MOST_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The headers of an answer that are read.
pub const ANSWER_HEADERS: [&str; 3] = ["date", "retry-after", "x-ratelimit-reset"];

/// What came back for a request.
#[derive(Debug, Clone, PartialEq)]
pub enum WireAnswer {
    /// A whole response.
    Response {
        /// The HTTP status.
        status: u16,
        /// Those of its headers that say when to come back: [`ANSWER_HEADERS`], names in lower case.
        headers: Vec<(String, String)>,
        /// Its body, cut off at [`MOST_ANSWER_BYTES`].
        body: Bytes,
    },
    /// The request can't have been processed.
    NotSent(String),
    /// The request may have been processed; no (whole) answer came.
    Lost(String),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// It was written; this came back.
    Answer(WireAnswer),
    /// Its time had passed before anything was written: nothing left this process.
    TooLate,
}

/// The way to a provider.
#[async_trait]
pub trait Wire: Send + Sync {
    /// Makes one request, once: never repeated, never redirected. Nothing is written later than
    /// `write_by`, which is checked with the connection open, right before the first byte.
    async fn send(&self, request: WireRequest, write_by: Instant) -> Sent;
    /// Opens a connection ahead of a request, by a call that uses up no limit.
    async fn warm_up(&self, url: &reqwest::Url);
}

// ---------------------------------------------------------------------------------------------
// Time and chance
// ---------------------------------------------------------------------------------------------

/// Time, passed in. `now` is the host's wall clock, for what people write and read; intervals are
/// measured on [`Instant`], which a paused test clock can drive.
pub trait Clock: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// Chance, passed in.
pub trait Chance: Send + Sync {
    /// A number in [0, 1).
    fn unit(&self) -> f64;
    /// A text that no other call gives.
    fn unique(&self) -> String;
}
