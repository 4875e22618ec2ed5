//! Several workers, a store and its clock in a time of their own: the script's body and the
//! worker's code that asks it, with every fault that `permits.rs` (the adapter) claims to survive.

use std::sync::Arc;
use std::time::Duration;

use paceline::adapters::redis::pacing::{Pace, Reading};
use paceline::adapters::redis::permits::{Slots, grant, slots_of, steady, take_args};
use paceline::ports::StoreError;
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::Instant;

use crate::support::redis::RedisServer;

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HORIZON: Duration = Duration::from_secs(2);
pub(super) const SLOT_WIDTH: Duration = Duration::from_millis(250);
pub(super) const JITTER: Duration = Duration::from_millis(50);
/// What of J is left for the network once the clocks' slewing over a slot's life has its part
/// (5·10⁻⁴ of H + σ, on either side, and rounding).
pub(super) const NETWORK_JITTER: u64 = 47_000;

/// Numbers that look random and repeat (SplitMix64).
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Less than `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    pub(super) fn chance(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }
}

/// The script's body on a real Redis, with clock and identity passed in.
#[derive(Clone)]
pub(super) struct Driven {
    connection: MultiplexedConnection,
    script: Arc<redis::Script>,
    pool: String,
    counts: String,
}

impl Driven {
    pub(super) async fn on(server: &RedisServer) -> Self {
        const PROLOGUE: &str = "local args = {} for i = 3, #ARGV do args[i - 2] = ARGV[i] end \
                                return permits(tonumber(ARGV[1]), ARGV[2], args)";
        let code = format!("{}\n{PROLOGUE}", include_str!("../../../src/adapters/redis/permits.lua"));
        let script = Arc::new(redis::Script::new(&code));
        let (pool, counts) = ("{test:pool:x}".to_owned(), "{test:pool:x}:counts".to_owned());
        Self { connection: server.connection().await, script, pool, counts }
    }

    /// A pool of its own.
    pub(super) fn of_seed(&self, seed: u64) -> Self {
        let pool = format!("{{test:pool:{seed}}}");
        Self { counts: format!("{pool}:counts"), pool, ..self.clone() }
    }

    pub(super) async fn run(&self, now: u64, run: &str, args: &[String]) -> Value {
        let mut call = self.script.key(&[&self.pool, &self.counts]);
        call.arg(now).arg(run).arg(args);
        call.invoke_async(&mut self.connection.clone()).await.unwrap()
    }

    pub(super) async fn pause(&self, now: u64, wait: u64) {
        self.run(now, "r", &["pause".into(), wait.to_string()]).await;
    }

    /// A wish for slots, as (offsets, wait).
    pub(super) async fn take(&self, now: u64, pace: &Pace, n: u32, reset: bool) -> (Vec<u64>, Option<u64>) {
        let at = Instant::now();
        let answer = self.run(now, "r", &take_args(pace, n, reset)).await;
        let slots = slots_of(&answer, at, at).unwrap();
        (slots.offsets_us, slots.wait_us)
    }

    pub(super) async fn snapshot(&self) -> Vec<String> {
        redis::cmd("HGETALL")
            .arg(&self.pool)
            .query_async::<Vec<String>>(&mut self.connection.clone())
            .await
            .unwrap()
    }

    pub(super) async fn forget(&self) {
        let () = redis::cmd("DEL")
            .arg(&self.pool)
            .arg(&self.counts)
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
    }

    pub(super) async fn restore(&self, snapshot: &[String]) {
        self.forget().await;
        if !snapshot.is_empty() {
            let () = redis::cmd("HSET")
                .arg(&self.pool)
                .arg(snapshot)
                .query_async(&mut self.connection.clone())
                .await
                .unwrap();
        }
    }
}

/// When a request made on a permit may be counted by the provider: from, to, in true µs.
pub(super) type Arrival = (u64, u64);

/// The most requests that can be counted in one window (closed at both ends) that begins within
/// `begins`, each at the worst instant for it.
pub(super) fn fullest_window(arrivals: &[Arrival], length: u64, begins: std::ops::Range<u64>) -> usize {
    let mut first: Vec<u64> = arrivals.iter().map(|arrival| arrival.0).collect();
    let mut last: Vec<u64> = arrivals.iter().map(|arrival| arrival.1).collect();
    first.sort_unstable();
    last.sort_unstable();
    // A fullest window begins where some request is counted at the latest, or where it may begin.
    last.iter()
        .copied()
        .chain([begins.start])
        .filter(|begin| begins.contains(begin))
        .map(|begin| {
            let begun = first.partition_point(|&from| from <= begin + length);
            begun - last.partition_point(|&to| to < begin)
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn the_fullest_window_is_found() {
    let arrivals = [(0, 10), (5, 15), (20, 30), (100, 110)];
    for (length, expected) in [(1, 2), (10, 3), (9, 2), (15, 3), (89, 3), (90, 4), (1000, 4)] {
        assert_eq!(fullest_window(&arrivals, length, 0..1000), expected, "{length}");
    }
    assert_eq!(fullest_window(&arrivals, 9, 16..1000), 1);
}

/// Workers, a store and its clock, in a time of their own.
pub(super) struct World {
    seed: u64,
    pub(super) random: Seeded,
    driven: Driven,
    start: Instant,
    /// True time, µs from the start.
    pub(super) now: u64,
    /// What the store's clock shows beyond true time, µs.
    ahead: i64,
    /// How much the store's clock is slewed, parts of a million.
    slewed: i64,
    run: u64,
    /// Round trips are short, somebody always asks soon, and the store's clock is as fast as it may
    /// be: windows fill up to the limit.
    tight: bool,
    /// True time at which the script ran last.
    asked: u64,
    workers: Vec<Option<Reading>>,
    pub(super) arrivals: Vec<Arrival>,
    snapshot: Vec<String>,
    /// Nothing may be granted before this true time.
    paused_until: u64,
}

impl World {
    pub(super) async fn new(seed: u64, tight: bool, driven: Driven) -> Self {
        driven.forget().await;
        let mut random = Seeded(seed);
        let slewed = if tight { 500 } else { i64::try_from(random.below(1001)).unwrap() - 500 };
        let mut world = Self {
            seed,
            random,
            driven,
            start: Instant::now(),
            now: 0,
            ahead: 1_763_758_326_000_000,
            slewed,
            run: 1,
            tight,
            asked: 0,
            workers: vec![],
            arrivals: vec![],
            snapshot: vec![],
            paused_until: 0,
        };
        for _ in 0..=world.random.below(3) {
            let reading = world.connected();
            world.workers.push(Some(reading));
        }
        world
    }

    pub(super) fn clock(&self) -> u64 {
        let now = i64::try_from(self.now).unwrap();
        u64::try_from(now + now * self.slewed / 1_000_000 + self.ahead).unwrap()
    }

    pub(super) fn instant(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    pub(super) fn us(&self, at: Instant) -> u64 {
        u64::try_from((at - self.start).as_micros()).unwrap()
    }

    pub(super) fn trip(&mut self) -> u64 {
        let most = if self.random.chance(10) { 400_000 } else { 20_000 };
        self.random.below(if self.tight { 500 } else { most })
    }

    /// The reading that a worker has from connecting.
    pub(super) fn connected(&mut self) -> Reading {
        let (before, there) = (self.now, self.trip());
        self.now += there;
        let store_us = i64::try_from(self.clock()).unwrap();
        self.now += self.random.below(20_000);
        let (before, after) = (self.instant(before), self.instant(self.now));
        Reading { before, after, store_us, run: self.run.to_string() }
    }

    /// One worker asks for permits and uses them; says how long it was told to wait.
    pub(super) async fn call(&mut self, worker: usize, pace: &Pace, n: u32) -> u64 {
        let mut seen = self.workers[worker].take();
        let lost = self.random.chance(if self.tight { 2 } else { 20 });
        let result = {
            let world = std::cell::RefCell::new(&mut *self);
            let ask = |reset| {
                let (driven, before, clock, run, back) = {
                    let mut world = world.borrow_mut();
                    let before = world.now;
                    world.now += world.trip();
                    let back = world.trip();
                    (world.driven.clone(), before, world.clock(), world.run.to_string(), back)
                };
                let world = &world;
                async move {
                    let answer = driven.run(clock, &run, &take_args(pace, n, reset)).await;
                    let mut world = world.borrow_mut();
                    world.asked = world.now;
                    world.now += back;
                    if lost {
                        return Err(StoreError("lost".into()));
                    }
                    let slots = slots_of(&answer, world.instant(before), world.instant(world.now)).unwrap();
                    let early = !slots.offsets_us.is_empty() && world.asked < world.paused_until;
                    assert!(!early, "seed {}: granted during a pause", world.seed);
                    Ok(slots)
                }
            };
            steady(&mut seen, ask).await
        };
        self.workers[worker] = seen;
        let Ok(slots) = result else { return 0 };
        if slots.offsets_us.is_empty() && !self.tight && self.random.chance(100) {
            self.try_the_promise(&slots, pace).await;
        }
        let granted = grant(&slots, n, pace.slot_width);
        for permit in &granted.permits {
            let (opens, closes) = (self.us(permit.opens), self.us(permit.closes));
            assert!(self.within_a_slot(&slots.offsets_us, opens, closes), "seed {}", self.seed);
            self.arrivals.push((opens, closes + NETWORK_JITTER));
        }
        granted.retry_at.map_or(0, |at| self.us(at).saturating_sub(self.now))
    }

    /// Whoever asks before the promised instant asks in vain, and at it not: whatever happened before.
    /// What is granted here nobody uses.
    async fn try_the_promise(&mut self, slots: &Slots, pace: &Pace) {
        let promised = slots.wait_us.expect("nothing was granted");
        let at = u64::try_from(slots.reading.store_us).unwrap() + promised;
        let clock = self.clock();
        if at <= clock {
            return;
        }
        let early = self.driven.run(at - 1, &slots.reading.run, &take_args(pace, 1, false)).await;
        let in_time = self.driven.run(at, &slots.reading.run, &take_args(pace, 1, false)).await;
        let count = |answer| slots_of(&answer, self.start, self.start).unwrap().offsets_us.len();
        assert_eq!((count(early), count(in_time)), (0, 1), "seed {}: the promised instant", self.seed);
        // The store's clock is as far now, at the slowest.
        self.now += (at - clock) * 1_001 / 1_000 + 1;
        self.asked = self.now;
    }

    /// Whether a permit lies within one of the slots granted last, but for the clocks' slewing.
    pub(super) fn within_a_slot(&self, offsets: &[u64], opens: u64, closes: u64) -> bool {
        const SLEWED: u64 = 1_300;
        offsets
            .iter()
            .map(|offset| self.asked + offset)
            .any(|slot| opens + SLEWED >= slot && closes <= slot + SLOT_WIDTH.as_micros() as u64 + SLEWED)
    }

    pub(super) async fn fault(&mut self, pace: &Pace) {
        match self.random.below(7) {
            // A worker dies and starts anew. What it held counts as used: the worse case.
            0 => {
                let worker = usize::try_from(self.random.below(self.workers.len() as u64)).unwrap();
                let reading = self.connected();
                self.workers[worker] = Some(reading);
            }
            1 => {
                self.driven.forget().await;
                self.paused_until = 0;
            }
            2 => self.run += 1,
            3 => {
                // A stale copy takes over, on a host whose clock differs.
                self.run += 1;
                self.ahead += i64::try_from(self.random.below(60 * SECOND)).unwrap() - 30_000_000;
                self.driven.restore(&self.snapshot.clone()).await;
                self.paused_until = 0;
            }
            4 => self.ahead -= i64::try_from(self.random.below(60 * SECOND)).unwrap(),
            5 => {
                self.ahead += i64::try_from(4 * SECOND + self.random.below(60 * SECOND)).unwrap();
                self.paused_until = 0;
                // Each worker that was there sees it at its next call.
                for worker in 0..self.workers.len() {
                    self.call(worker, pace, 50).await;
                }
            }
            _ => {
                let wait = self.random.below(20 * SECOND);
                self.driven.pause(self.clock(), wait).await;
                // The store's clock may run fast by its slewing.
                self.paused_until = self.paused_until.max(self.now + wait - wait / 1000);
            }
        }
    }

    /// How long until somebody asks again: at the promised instant, within a slot's life, or late.
    pub(super) fn gap(&mut self, promised: u64, pace: &Pace) -> u64 {
        let longest = pace.horizon_us.max(pace.interval_us);
        if self.tight {
            return if self.random.chance(500) { promised } else { self.random.below(pace.horizon_us / 2) };
        }
        match self.random.below(10) {
            0..=2 => promised,
            3..=8 => self.random.below(longest),
            _ => self.random.below(3 * longest),
        }
    }

    pub(super) async fn live(&mut self, pace: &Pace, calls: u32, faults_in_thousand: u64) {
        for _ in 0..calls {
            if faults_in_thousand > 0 && self.random.chance(100) {
                self.snapshot = self.driven.snapshot().await;
            }
            if self.random.chance(faults_in_thousand) {
                self.fault(pace).await;
            }
            let worker = usize::try_from(self.random.below(self.workers.len() as u64)).unwrap();
            let n = if self.tight { 1000 } else { 1 + u32::try_from(self.random.below(500)).unwrap() };
            let promised = self.call(worker, pace, n).await;
            self.now += self.gap(promised, pace);
        }
    }
}
