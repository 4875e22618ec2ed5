//! What can go wrong, and when a worker dies of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use paceline::ports::Clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::chance::Dice;

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
    /// The same between the answer and what follows from it: another worker takes over meanwhile.
    pub stall_after: u64,
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
    obituary: mpsc::UnboundedSender<()>,
}

impl Life {
    pub fn new(chaos: Arc<Chaos>) -> (Arc<Self>, mpsc::UnboundedReceiver<()>) {
        let (obituary, died) = mpsc::unbounded_channel();
        (Arc::new(Self { chaos, dead: AtomicBool::new(false), obituary }), died)
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

    /// A moment before or after an effect, at which the process may die.
    pub async fn moment(&self) {
        if !self.is_dead() && self.chaos.strikes(|odds| odds.crash) {
            self.die();
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
