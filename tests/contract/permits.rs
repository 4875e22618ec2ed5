//! Permits: a model that drives the script's body on a real Redis with a clock of its own, and the
//! port itself on the real clock.

use std::time::Duration;

use paceline::adapters::redis::pacing::{Pace, Reading};
use paceline::adapters::redis::permits::{grant, slots_of, steady, take_args};
use paceline::config::LimiterConfig;
use paceline::ports::{Claims, PauseCause, Permits, PoolKey, StoreError, Usage, Window};
use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, sleep_until, timeout};

use crate::support::redis::{DEADLINE, RedisServer, connect, settings};

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HORIZON: Duration = Duration::from_secs(2);
const SLOT_WIDTH: Duration = Duration::from_millis(250);
const JITTER: Duration = Duration::from_millis(50);
/// What of J is left for the network once the clocks' slewing over a slot's life has its part
/// (5·10⁻⁴ of H + σ, on either side, and rounding).
const NETWORK_JITTER: u64 = 47_000;
const POOL: &str = "{test:pool:x}";
const COUNTS: &str = "{test:pool:x}:counts";

fn limiter(burst: u32) -> LimiterConfig {
    LimiterConfig { horizon: HORIZON, slot_width: SLOT_WIDTH, jitter: JITTER, burst }
}

fn per_minute(requests: u32) -> Window {
    Window { requests, length: Duration::from_micros(MINUTE) }
}

fn pace(requests: u32, burst: u32) -> Pace {
    Pace::new(&limiter(burst), &[per_minute(requests)]).unwrap()
}

/// Numbers that look random and repeat (SplitMix64).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Less than `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }
    fn chance(&mut self, in_thousand: u64) -> bool {
        self.below(1000) < in_thousand
    }
}

/// The script's body on a real Redis, with clock and identity passed in.
#[derive(Clone)]
struct Driven(MultiplexedConnection);

impl Driven {
    async fn on(server: &RedisServer) -> Self {
        Self(server.connection().await)
    }

    async fn run(&self, now: u64, run: &str, args: &[String]) -> Value {
        const PROLOGUE: &str = "local args = {} for i = 3, #ARGV do args[i - 2] = ARGV[i] end \
                                return permits(tonumber(ARGV[1]), ARGV[2], args)";
        let code = format!("{}\n{PROLOGUE}", include_str!("../../src/adapters/redis/permits.lua"));
        let script = redis::Script::new(&code);
        let mut call = script.key(&[POOL, COUNTS]);
        call.arg(now).arg(run).arg(args);
        call.invoke_async(&mut self.0.clone()).await.unwrap()
    }

    async fn pause(&self, now: u64, wait: u64) {
        self.run(now, "r", &["pause".into(), wait.to_string()]).await;
    }

    /// A wish for slots, as (offsets, wait).
    async fn take(&self, now: u64, pace: &Pace, n: u32, reset: bool) -> (Vec<u64>, Option<u64>) {
        let at = Instant::now();
        let answer = self.run(now, "r", &take_args(pace, n, reset)).await;
        let slots = slots_of(&answer, at, at).unwrap();
        (slots.offsets_us, slots.wait_us)
    }

    async fn snapshot(&self) -> Vec<String> {
        redis::cmd("HGETALL").arg(POOL).query_async::<Vec<String>>(&mut self.0.clone()).await.unwrap()
    }

    async fn forget(&self) {
        let () = redis::cmd("DEL").arg(POOL).arg(COUNTS).query_async(&mut self.0.clone()).await.unwrap();
    }

    async fn restore(&self, snapshot: &[String]) {
        self.forget().await;
        if !snapshot.is_empty() {
            let () =
                redis::cmd("HSET").arg(POOL).arg(snapshot).query_async(&mut self.0.clone()).await.unwrap();
        }
    }
}

/// When a request made on a permit may be counted by the provider: from, to, in true µs.
type Arrival = (u64, u64);

/// The most requests that can be counted in one window (closed at both ends) that begins within
/// `begins`, each at the worst instant for it.
fn fullest_window(arrivals: &[Arrival], length: u64, begins: std::ops::Range<u64>) -> usize {
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
struct World {
    seed: u64,
    random: Seeded,
    driven: Driven,
    start: Instant,
    /// True time, µs from the start.
    now: u64,
    /// What the store's clock shows beyond true time, µs.
    ahead: i64,
    /// How much the store's clock is slewed, parts of a million.
    slewed: i64,
    run: u64,
    workers: Vec<Option<Reading>>,
    arrivals: Vec<Arrival>,
    snapshot: Vec<String>,
    /// Nothing may be granted before this true time.
    paused_until: u64,
}

impl World {
    async fn new(seed: u64, driven: Driven) -> Self {
        driven.forget().await;
        let mut random = Seeded(seed);
        let slewed = i64::try_from(random.below(1001)).unwrap() - 500;
        let mut world = Self {
            seed,
            random,
            driven,
            start: Instant::now(),
            now: 0,
            ahead: 1_763_758_326_000_000,
            slewed,
            run: 1,
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

    fn clock(&self) -> u64 {
        let now = i64::try_from(self.now).unwrap();
        u64::try_from(now + now * self.slewed / 1_000_000 + self.ahead).unwrap()
    }

    fn instant(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }

    fn us(&self, at: Instant) -> u64 {
        u64::try_from((at - self.start).as_micros()).unwrap()
    }

    fn trip(&mut self) -> u64 {
        if self.random.chance(10) { self.random.below(400_000) } else { self.random.below(20_000) }
    }

    /// The reading that a worker has from connecting.
    fn connected(&mut self) -> Reading {
        let (before, there) = (self.now, self.trip());
        self.now += there;
        let store_us = i64::try_from(self.clock()).unwrap();
        self.now += self.random.below(20_000);
        let (before, after) = (self.instant(before), self.instant(self.now));
        Reading { before, after, store_us, run: self.run.to_string() }
    }

    /// One worker asks for permits and uses them; says how long it was told to wait.
    async fn call(&mut self, worker: usize, pace: &Pace, n: u32) -> u64 {
        let mut seen = self.workers[worker].take();
        let lost = self.random.chance(20);
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
                    let asked = world.now;
                    world.now += back;
                    if lost {
                        return Err(StoreError("lost".into()));
                    }
                    let slots = slots_of(&answer, world.instant(before), world.instant(world.now)).unwrap();
                    let early = !slots.offsets_us.is_empty() && asked < world.paused_until;
                    assert!(!early, "seed {}: granted during a pause", world.seed);
                    Ok(slots)
                }
            };
            steady(&mut seen, ask).await
        };
        self.workers[worker] = seen;
        let Ok(slots) = result else { return 0 };
        let granted = grant(&slots, n, pace.slot_width);
        for permit in &granted.permits {
            let arrival = (self.us(permit.opens), self.us(permit.closes) + NETWORK_JITTER);
            self.arrivals.push(arrival);
        }
        granted.retry_at.map_or(0, |at| self.us(at).saturating_sub(self.now))
    }

    async fn fault(&mut self, pace: &Pace) {
        match self.random.below(8) {
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
            6 => {
                let wait = self.random.below(20 * SECOND);
                self.driven.pause(self.clock(), wait).await;
                // The store's clock may run fast by its slewing.
                self.paused_until = self.paused_until.max(self.now + wait - wait / 1000);
            }
            _ => self.snapshot = self.driven.snapshot().await,
        }
    }

    /// How long until somebody asks again: at the promised instant, within a slot's life, or late.
    fn gap(&mut self, promised: u64, pace: &Pace) -> u64 {
        match self.random.below(10) {
            0..=2 => promised,
            3..=8 => self.random.below(pace.horizon_us.max(pace.interval_us)),
            _ => self.random.below(3 * pace.horizon_us.max(pace.interval_us)),
        }
    }

    async fn live(&mut self, pace: &Pace, calls: u32, faults_in_thousand: u64) {
        for _ in 0..calls {
            if self.random.chance(faults_in_thousand) {
                self.fault(pace).await;
            }
            let worker = usize::try_from(self.random.below(self.workers.len() as u64)).unwrap();
            let n = 1 + u32::try_from(self.random.below(500)).unwrap();
            let promised = self.call(worker, pace, n).await;
            self.now += self.gap(promised, pace);
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let count =
        std::env::var("PACELINE_SEEDS").ok().map_or(2, |text| text.parse().expect("a number of seeds"));
    0..count
}

/// The promise, for one limit: whatever happens, no window holds more.
async fn no_window_is_above(limit: u32) {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    for seed in seeds() {
        for (faults, burst) in [(0, 1), (3, 1), (30, 1), (3, 1000)] {
            let mut world = World::new(seed, driven.clone()).await;
            let pace = pace(limit, burst);
            world.live(&pace, 400, faults).await;
            let found = fullest_window(&world.arrivals, MINUTE, 0..u64::MAX - MINUTE);
            assert!(
                found <= limit as usize,
                "seed {seed}, {faults} faults in 1000, burst {burst}: {found} of {limit}"
            );
            let least = if faults == 0 { limit as usize * 3 / 4 } else { 1 };
            assert!(found >= least, "seed {seed}: only {found} of {limit}, which shows nothing");
        }
    }
}

#[tokio::test]
async fn no_window_is_above_2() {
    no_window_is_above(2).await;
}

#[tokio::test]
async fn no_window_is_above_60() {
    no_window_is_above(60).await;
}

#[tokio::test]
async fn no_window_is_above_600() {
    no_window_is_above(600).await;
}

#[tokio::test]
async fn no_window_is_above_10000() {
    no_window_is_above(10_000).await;
}

/// Workers that turn from one limit to another at instants of their own.
#[tokio::test]
async fn a_changed_limit_keeps_both_and_the_lower_one_from_then_on() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    for seed in seeds() {
        for (before, after) in [(600, 60), (10_000, 600), (100, 40), (60, 600), (600, 10_000)] {
            let (old, new) = (pace(before, 1), pace(after, 1));
            let mut world = World::new(seed, driven.clone()).await;
            let case = format!("seed {seed}, {before} to {after}");
            world.live(&old, 300, 0).await;
            let first_new = world.now;
            for _ in 0..300 {
                let pace = if world.random.chance(500) { &old } else { &new };
                world.live(pace, 1, 0).await;
            }
            let last_old = world.now;
            world.live(&new, 300, 0).await;
            let highest = before.max(after) as usize;
            assert!(fullest_window(&world.arrivals, MINUTE, 0..u64::MAX - MINUTE) <= highest, "{case}");
            let lowest = before.min(after) as usize;
            // Windows in which the lower limit is in force: from its first use, or to its last.
            let end = if after < before { u64::MAX - MINUTE } else { last_old - MINUTE };
            let begin = if after < before { first_new + SECOND } else { 0 };
            let found = fullest_window(&world.arrivals, MINUTE, begin..end);
            assert!(found <= lowest, "{case}: {found}");
        }
    }
}

#[tokio::test]
async fn asking_is_in_vain_before_the_promised_instant_and_not_at_it() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    for (limit, burst) in [(2, 1), (60, 1), (600, 3), (10_000, 50)] {
        driven.forget().await;
        let pace = pace(limit, burst);
        let mut now = 1_763_758_326_123_456;
        for round in 0..20 {
            let (_, wait) = driven.take(now, &pace, 1000, false).await;
            let wait = wait.expect("fewer than asked for");
            let (early, _) = driven.take(now + wait - 1, &pace, 1000, false).await;
            assert!(early.is_empty(), "{limit}, round {round}: {early:?}");
            now += wait;
            let (slots, _) = driven.take(now, &pace, 1, false).await;
            assert_eq!(slots.len(), 1, "{limit}, round {round}");
        }
    }
}

#[tokio::test]
async fn a_backlog_uses_all_of_the_rate() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    for limit in [2, 60, 600, 10_000] {
        driven.forget().await;
        let pace = pace(limit, 1);
        let start = 1_763_758_326_123_456;
        let (mut now, mut granted) = (start, 0);
        driven.take(now, &pace, 1, false).await;
        // The cold start is behind.
        now += 2 * pace.horizon_us.max(pace.interval_us) + pace.interval_us;
        let begun = now;
        while now < begun + 100 * pace.interval_us.max(SECOND) {
            let (slots, wait) = driven.take(now, &pace, 1000, false).await;
            granted += slots.len() as u64;
            now += wait.expect("a backlog").max(pace.horizon_us / 4);
        }
        let possible = (now - begun) / pace.interval_us;
        assert!(granted * 100 >= possible * 99, "{limit}: {granted} of {possible}");
        let ratio = (now - begun) as f64 / pace.interval_us as f64 / ((now - begun) as f64 / MINUTE as f64);
        assert!(limit == 2 || ratio >= f64::from(limit) * 0.97, "{limit}: the rate itself is {ratio}");
    }
}

#[tokio::test]
async fn an_idle_pool_gives_its_burst_once_and_pays_for_it() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    let pace = pace(600, 3);
    let interval = pace.interval_us;
    let mut now = 1_763_758_326_123_456;
    let (slots, wait) = driven.take(now, &pace, 5, false).await;
    assert_eq!((slots.len(), wait), (0, Some(interval)), "a cold start has no credit");
    now += 60 * SECOND;
    let (slots, _) = driven.take(now, &pace, 5, false).await;
    assert_eq!(slots, [0, 0, 0, 3 * interval, 4 * interval]);
    // One interval of idleness is worth one more than the slot itself.
    now += 6 * interval;
    let (slots, _) = driven.take(now, &pace, 3, false).await;
    assert_eq!(slots, [0, 0, 2 * interval]);
    // A pause gathers no credit.
    now += 10 * SECOND;
    driven.pause(now, 10 * SECOND).await;
    assert_eq!(driven.take(now + 1, &pace, 3, false).await, (vec![], Some(10 * SECOND - 1)));
    now += 10 * SECOND;
    assert_eq!(driven.take(now, &pace, 3, false).await.0, [0, interval, 2 * interval]);
}

#[tokio::test]
async fn a_clock_that_steps_leads_to_a_cold_start() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    let pace = pace(600, 1);
    let (interval, horizon) = (pace.interval_us, pace.horizon_us);
    let now = 1_763_758_326_123_456;
    driven.take(now, &pace, 1, false).await;
    let now = now + 60 * SECOND;
    assert_eq!(driven.take(now, &pace, 2, false).await.0, [0, interval]);
    // Back by an hour: no wait of an hour, but past whatever was granted before.
    let now = now - 3600 * SECOND;
    assert_eq!(driven.take(now, &pace, 2, false).await, (vec![], Some(interval)));
    let now = now + interval;
    assert_eq!(driven.take(now, &pace, 1, false).await.0, [horizon]);
    // A worker asks for it; another that does so too does not push it away again and again.
    let (now, reset) = (now + 10 * SECOND, true);
    assert_eq!(driven.take(now, &pace, 1, reset).await, (vec![], Some(interval)));
    assert_eq!(driven.take(now, &pace, 1, reset).await, (vec![], Some(interval)));
    // A pause keeps its length when the clock steps back.
    driven.pause(now, 5 * SECOND).await;
    let now = now - 3600 * SECOND;
    assert_eq!(driven.take(now, &pace, 1, false).await, (vec![], Some(5 * SECOND)));
}

fn pools() -> Vec<(PoolKey, Vec<Window>)> {
    vec![(PoolKey("x".into()), vec![per_minute(600)]), (PoolKey("free".into()), vec![])]
}

/// Takes until there are `n` permits: their opening instants.
async fn gather(store: &dyn Permits, pool: &PoolKey, n: usize) -> Vec<Instant> {
    let mut opens = vec![];
    let gathering = async {
        while opens.len() < n {
            let grant = store.take(pool, u32::try_from(n - opens.len()).unwrap()).await.unwrap();
            assert!(grant.permits.iter().all(|permit| permit.opens < permit.closes));
            opens.extend(grant.permits.iter().map(|permit| permit.opens));
            if let Some(at) = grant.retry_at {
                sleep_until(at).await;
            }
        }
    };
    timeout(DEADLINE, gathering).await.expect("in time");
    opens
}

#[tokio::test]
async fn workers_share_a_pool() {
    let server = RedisServer::start().await;
    let pool = PoolKey("x".into());
    let stores =
        [connect(settings(&server.url()), pools()).await, connect(settings(&server.url()), pools()).await];
    let asked = Instant::now();
    let mut opens = vec![];
    for _ in 0..3 {
        for store in &stores {
            opens.extend(gather(&**store, &pool, 5).await);
        }
    }
    opens.sort_unstable();
    assert!(opens[0] >= asked + HORIZON, "the cold start");
    let width = opens[29] - opens[0];
    let expected = Duration::from_micros(pace(600, 1).interval_us * 29);
    assert!(width + Duration::from_millis(100) > expected, "{width:?} for {expected:?}");

    sleep_until(opens[29]).await;
    let usage = stores[0].usage(&pool).await.unwrap();
    assert!((29..=31).contains(&usage.last_minute) && usage.paused.is_none(), "{usage:?}");
}

#[tokio::test]
async fn a_pause_of_the_pool_stops_all_workers_and_a_longer_one_stays() {
    let server = RedisServer::start().await;
    let pool = PoolKey("x".into());
    let (one, two) =
        (connect(settings(&server.url()), pools()).await, connect(settings(&server.url()), pools()).await);
    gather(&*one, &pool, 1).await;
    one.pause_pool(&pool, Duration::from_secs(3)).await.unwrap();
    two.pause_pool(&pool, Duration::from_secs(1)).await.unwrap();
    let before = Instant::now();
    let grant = two.take(&pool, 5).await.unwrap();
    let pause = grant.paused.expect("a pause");
    assert!(grant.permits.is_empty());
    assert_eq!(pause.cause, PauseCause::Throttled);
    assert!(pause.wait > Duration::from_secs(2) && pause.wait <= Duration::from_secs(3), "{pause:?}");
    assert!(grant.retry_at.unwrap() >= before + pause.wait);
    assert!(two.usage(&pool).await.unwrap().paused.is_some());
    sleep_until(grant.retry_at.unwrap()).await;
    assert!(!gather(&*two, &pool, 1).await.is_empty());

    // A pool without a limit knows pauses too.
    let free = PoolKey("free".into());
    assert_eq!(one.take(&free, 7).await.unwrap().permits.len(), 7);
    one.pause_pool(&free, Duration::from_secs(60)).await.unwrap();
    let grant = two.take(&free, 7).await.unwrap();
    assert!(grant.permits.is_empty() && grant.paused.is_some() && grant.retry_at.is_some());
}

#[tokio::test]
async fn after_a_crash_of_the_store_slots_granted_before_and_after_stay_apart() {
    let mut server = RedisServer::start().await;
    let pool = PoolKey("x".into());
    let store = connect(settings(&server.url()), pools()).await;
    gather(&*store, &pool, 1).await;
    let mut before = gather(&*store, &pool, 20).await;
    for with_data in [true, false] {
        if with_data {
            server.restart().await
        } else {
            server.restart_empty().await
        }
        let back = Instant::now();
        // The first call on the lost connection finds out that it is lost.
        let _ = store.take(&pool, 1).await;
        timeout(DEADLINE, store.up().wait_for(|up| *up)).await.expect("in time").unwrap();
        let after = gather(&*store, &pool, 20).await;
        let first = *after.iter().min().unwrap();
        assert!(first >= back + HORIZON, "with data {with_data}");
        let interval = Duration::from_micros(pace(600, 1).interval_us);
        // A permit opens up to a round trip after its slot.
        assert!(first + SLOT_WIDTH > *before.iter().max().unwrap() + interval, "with data {with_data}");
        before = after;
    }
}

#[tokio::test]
async fn what_can_not_be_granted_is_an_error() {
    let mut server = RedisServer::start().await;
    let store = connect(settings(&server.url()), pools()).await;
    let unknown = PoolKey("y".into());
    assert!(store.take(&unknown, 1).await.is_err());
    assert!(store.usage(&unknown).await.is_err());
    let pool = PoolKey("x".into());
    assert_eq!(store.usage(&pool).await.unwrap(), Usage::default());
    assert_eq!(store.take(&pool, 0).await.unwrap(), paceline::ports::Grant::default());
    server.kill();
    assert!(store.take(&pool, 1).await.is_err());
    assert!(store.take(&pool, 1).await.is_err());
    assert!(!*Claims::up(&*store).borrow());
    let one = vec![(pool, vec![Window { requests: 1, length: Duration::from_secs(60) }])];
    let chance = std::sync::Arc::new(crate::support::redis::Counting::default());
    let refused = paceline::adapters::redis::RedisStore::connect(settings(&server.url()), one, chance).await;
    assert!(refused.is_err());
}
