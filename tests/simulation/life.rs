//! What can go wrong, and when a worker dies of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use paceline::ports::{Clock, Properties};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Dice;

/// How long a process stands still at least, and up to so many milliseconds more.
const SHORTEST_STILL: Duration = Duration::from_secs(10);
const STILL_SPREAD_MS: u64 = 80_000;

/// How often each fault strikes, in a thousand occasions. Drawn anew for each seed, so that some
/// runs are calm and some are mad, and most faults also meet each other alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// The process dies: before an effect, or after it.
    pub crash: u64,
    /// A published message never reaches the broker.
    pub publish_lost: u64,
    /// It does, and the confirm is lost.
    pub confirm_lost: u64,
    /// An ack never reaches the broker, and its connection ends.
    pub ack_lost: u64,
    /// A message comes out of a delay queue twice (at-least-once dead-lettering).
    pub doubled: u64,
    /// A trip to the store is lost on its way there.
    pub ask_lost: u64,
    /// The store did what was asked, and its answer is lost.
    pub answer_lost: u64,
    /// A trip to the store takes a second and more.
    pub store_slow: u64,
    /// A provider can't be connected to.
    pub connect_failed: u64,
    /// A request is lost on its way to the provider.
    pub request_lost: u64,
    /// The provider did what was asked, and its answer is lost or comes too late.
    pub reply_lost: u64,
    /// The provider's answer arrives garbled.
    pub reply_garbled: u64,
    /// The process stands still between its claim and its request, for up to a minute: longer than
    /// its lease.
    pub stall: u64,
    /// The same between the answer and what follows from it, or the whole process does: another worker
    /// takes over meanwhile.
    pub stall_after: u64,
    /// The whole process stands still before or after an effect, for up to a minute and a half: the broker
    /// misses its heartbeats, and others take over what it holds.
    pub freeze: u64,
}

impl Odds {
    /// Odds for one run.
    pub fn draw(dice: &Dice) -> Self {
        let odds = |most: u64| if dice.in_thousand(400) { 0 } else { dice.below(most + 1) };
        Self {
            crash: odds(6),
            publish_lost: odds(30),
            confirm_lost: odds(30),
            ack_lost: odds(20),
            doubled: odds(100),
            ask_lost: odds(30),
            answer_lost: odds(30),
            store_slow: odds(20),
            connect_failed: odds(60),
            request_lost: odds(60),
            reply_lost: odds(100),
            reply_garbled: odds(60),
            stall: odds(30),
            stall_after: odds(30),
            freeze: odds(2),
        }
    }

    /// The same, calmer: what a mood is about must not drown in all else.
    pub fn a_quarter(self) -> Self {
        Self {
            crash: self.crash / 4,
            publish_lost: self.publish_lost / 4,
            confirm_lost: self.confirm_lost / 4,
            ack_lost: self.ack_lost / 4,
            doubled: self.doubled / 4,
            ask_lost: self.ask_lost / 4,
            answer_lost: self.answer_lost / 4,
            store_slow: self.store_slow / 4,
            connect_failed: self.connect_failed / 4,
            request_lost: self.request_lost / 4,
            reply_lost: self.reply_lost / 4,
            reply_garbled: self.reply_garbled / 4,
            stall: self.stall / 4,
            stall_after: self.stall_after / 4,
            freeze: self.freeze / 4,
        }
    }
}

/// What all parts of a run share.
pub struct Chaos {
    pub dice: Arc<Dice>,
    odds: Odds,
    on: AtomicBool,
    /// What the hosts' wall clock shows beyond true time, in milliseconds.
    pub wall_ahead_ms: AtomicI64,
    /// What the store's clock shows beyond true time to claims, in milliseconds.
    pub store_ahead_ms: AtomicI64,
    start: Instant,
    crashes: AtomicU64,
    names: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Chaos {
    pub fn new(dice: Arc<Dice>, odds: Odds) -> Arc<Self> {
        Arc::new(Self {
            dice,
            odds,
            on: AtomicBool::new(true),
            wall_ahead_ms: 0.into(),
            store_ahead_ms: 0.into(),
            start: Instant::now(),
            crashes: AtomicU64::new(0),
            names: Mutex::default(),
        })
    }

    /// From now on nothing goes wrong any more.
    pub fn end(&self) {
        self.on.store(false, Ordering::Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    pub fn crashes(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }

    /// Whether a fault strikes now.
    pub fn strikes(&self, odds: impl Fn(&Odds) -> u64) -> bool {
        self.is_on() && self.dice.in_thousand(odds(&self.odds))
    }

    /// Remembers which delivery a message of a worker carries under which name.
    pub fn note_name(&self, properties: &Properties) {
        let (name, delivery) = ("paceline-instance", "paceline-delivery");
        if let (Some(name), Some(delivery)) = (properties.header(name), properties.header(delivery)) {
            let mut names = self.names.lock().expect("nobody panics with it");
            names.entry(name.to_owned()).or_default().insert(delivery.to_owned());
        }
    }

    /// The names that messages of several deliveries had, with those.
    pub fn shared_names(&self) -> Vec<(String, BTreeSet<String>)> {
        let names = self.names.lock().expect("nobody panics with it");
        names.iter().filter(|(_, of)| of.len() > 1).map(|(name, of)| (name.clone(), of.clone())).collect()
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// True time, in milliseconds since 1970.
    pub fn true_ms(&self) -> i64 {
        const BEGIN_MS: i64 = 1_790_000_000_000;
        BEGIN_MS + i64::try_from(self.elapsed().as_millis()).expect("a run is short")
    }

    /// The way over a network.
    pub async fn travel(&self, most_ms: u64) {
        sleep(self.dice.millis(most_ms)).await;
    }
}

/// The wall clock of the workers' hosts.
pub struct WallClock(pub Arc<Chaos>);

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let ahead = self.0.wall_ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millisecond(self.0.true_ms() + ahead).expect("a moment of this century")
    }
}

/// One process of a worker. All its effects go through it; once it is dead they never end, so that
/// whatever of it is still in memory can do no more than a process that is gone.
pub struct Life {
    pub chaos: Arc<Chaos>,
    dead: AtomicBool,
    /// While it stands still: until when.
    still_until: Mutex<Option<Instant>>,
    /// Told whenever it begins to stand still.
    still: watch::Sender<()>,
    obituary: mpsc::UnboundedSender<()>,
}

impl Life {
    pub fn new(chaos: Arc<Chaos>) -> (Arc<Self>, mpsc::UnboundedReceiver<()>) {
        let (obituary, died) = mpsc::unbounded_channel();
        let (still, still_until) = (watch::Sender::new(()), Mutex::default());
        (Arc::new(Self { chaos, dead: AtomicBool::new(false), still_until, still, obituary }), died)
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    pub fn die(&self) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.chaos.crashes.fetch_add(1, Ordering::Relaxed);
            // Nobody waits for it any more at the end of a run.
            let _ = self.obituary.send(());
        }
    }

    /// Told whenever it begins to stand still.
    pub fn stills(&self) -> watch::Receiver<()> {
        self.still.subscribe()
    }

    fn stands_still_until(&self) -> Option<Instant> {
        self.still_until.lock().expect("nobody panics with it").filter(|until| Instant::now() < *until)
    }

    /// The whole process stands still for a while.
    pub fn stand_still(&self) {
        let until = Instant::now() + SHORTEST_STILL + self.chaos.dice.millis(STILL_SPREAD_MS);
        *self.still_until.lock().expect("nobody panics with it") = Some(until);
        self.still.send_replace(());
    }

    /// Returns when it goes on, if it stands still.
    pub async fn goes_on(&self) {
        while let Some(until) = self.stands_still_until() {
            sleep_until(until).await;
        }
    }

    /// A moment before or after an effect, at which the process may die or stand still.
    pub async fn moment(&self) {
        if !self.is_dead() && self.chaos.strikes(|odds| odds.crash) {
            self.die();
        }
        if self.stands_still_until().is_none() && self.chaos.strikes(|odds| odds.freeze) {
            self.stand_still();
        }
        self.goes_on().await;
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
