//! Permits: a model that drives the script's body on a real Redis with a clock of its own, and the
//! port itself, on every store, on the real clock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use paceline::adapters::redis::pacing::Pace;
use paceline::adapters::redis::permits::{slots_of, take_args};
use paceline::config::LimiterConfig;
use paceline::ports::{Claims, PauseCause, Permits, PoolKey, Usage, Window};
use tokio::time::{Instant, sleep_until, timeout};

mod model;

use model::{Driven, HORIZON, JITTER, MINUTE, SECOND, SLOT_WIDTH, World, fullest_window};

use super::stores::{Bench, on_every_store, started};
use crate::support::redis::{DEADLINE, RedisServer, connect, settings};

fn limiter(burst: u32) -> LimiterConfig {
    LimiterConfig { horizon: HORIZON, slot_width: SLOT_WIDTH, jitter: JITTER, burst }
}

fn per_minute(requests: u32) -> Window {
    Window { requests, length: Duration::from_micros(MINUTE) }
}

fn pace(requests: u32, burst: u32) -> Pace {
    Pace::new(&limiter(burst), &[per_minute(requests)]).unwrap()
}

/// `PACELINE_SEEDS=N` for the first N, `PACELINE_SEED=S` for one alone.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    match number("PACELINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PACELINE_SEEDS").unwrap_or(usual),
    }
}

/// Faults in a thousand calls, burst, and whether everything is as tight as it may be.
const SHAPES: [(u64, u32, bool); 4] = [(0, 1, true), (10, 1, true), (30, 1, false), (3, 1000, true)];

/// So many seeds are under way at once, each with a pool of its own.
const AT_ONCE: usize = 8;

/// The promise, for one limit: whatever happens, no window holds more.
async fn no_window_is_above(limit: u32) {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    let runs = stream::iter(seeds(300)).map(|seed| fullest_of(seed, limit, driven.of_seed(seed)));
    let fullest: Vec<usize> = runs.buffer_unordered(AT_ONCE).collect().await;
    let (runs, most) = (fullest.len(), fullest.into_iter().max().unwrap_or_default());
    println!("limit {limit}: {runs} seeds, fullest window {most}");
}

/// The fullest window of one seed.
async fn fullest_of(seed: u64, limit: u32, driven: Driven) -> usize {
    let (faults, burst, tight) = SHAPES[usize::try_from(seed % 4).expect("small")];
    let case = format!("PACELINE_SEED={seed} for limit {limit}, {faults} faults in 1000, burst {burst}");
    let mut world = World::new(seed, tight, driven.clone()).await;
    world.live(&pace(limit, burst), 400, faults).await;
    let found = fullest_window(&world.arrivals, MINUTE, 0..u64::MAX - MINUTE);
    assert!(found <= limit as usize, "{case}: {found} in a window");
    let least = if faults == 0 { limit as usize * 96 / 100 } else { 1 };
    assert!(found >= least, "{case}: only {found}, which shows nothing");
    driven.forget().await;
    found
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

/// Several windows at once, as MoEngage counts its campaign calls: each is kept, through faults, and
/// the tightest one is filled, over more than the longest.
#[tokio::test]
async fn no_window_of_several_is_above_its_own() {
    let windows = [(10, SECOND), (100, MINUTE), (6_000, 60 * MINUTE)];
    let limits = windows.map(|(requests, us)| Window { requests, length: Duration::from_micros(us) });
    let pace = Pace::new(&limiter(3), &limits).unwrap();
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    for (calls, faults, tight) in [(7_500, 0, true), (800, 10, true), (800, 30, false)] {
        let mut world = World::new(7, tight, driven.clone()).await;
        world.live(&pace, calls, faults).await;
        for (limit, us) in windows {
            let found = fullest_window(&world.arrivals, us, 0..u64::MAX - us);
            assert!(found <= limit as usize, "{faults} faults in 1000: {found} of {limit} in {us} us");
            // A second holds what the minute's rate leaves to it.
            let least = if faults == 0 && us >= MINUTE { limit as usize * 96 / 100 } else { 2 };
            assert!(found >= least, "only {found} of {limit} in {us} us, which shows nothing");
        }
    }
}

/// Workers that turn from one limit to another at instants of their own.
#[tokio::test]
async fn a_changed_limit_keeps_both_and_the_lower_one_from_then_on() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    for seed in seeds(2) {
        for (before, after) in [(600, 60), (3000, 600), (100, 40), (60, 600), (600, 3000)] {
            let (old, new) = (pace(before, 1), pace(after, 1));
            let mut world = World::new(seed, true, driven.clone()).await;
            let case = format!("seed {seed}, {before} to {after}");
            world.live(&old, 300, 0).await;
            world.live(&new, 1, 0).await;
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
            let begin = if after < before { first_new } else { 0 };
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

#[tokio::test]
async fn a_store_that_restarted_leads_to_a_cold_start() {
    let server = RedisServer::start().await;
    let driven = Driven::on(&server).await;
    let pace = pace(600, 1);
    let now = 1_763_758_326_123_456;
    driven.take(now, &pace, 1, false).await;
    let now = now + 60 * SECOND;
    let snapshot = driven.snapshot().await;
    assert_eq!(driven.take(now, &pace, 20, false).await.0.len(), 20);
    // A copy that knows nothing of these takes over.
    driven.restore(&snapshot).await;
    let at = Instant::now();
    for (asked, expected) in [(now, None), (now + pace.interval_us, Some(pace.horizon_us))] {
        let answer = driven.run(asked, "another", &take_args(&pace, 1, false)).await;
        let slots = slots_of(&answer, at, at).unwrap();
        assert_eq!(slots.offsets_us.first().copied(), expected);
        assert_eq!(slots.reading.run, "another");
    }
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

on_every_store! {
    a_pause_of_the_pool_stops_all_workers_and_a_longer_one_stays,
    what_is_not_known_is_not_granted,
}

mod of_several_workers {
    use super::workers_share_a_pool;

    crate::contract::stores::on_every_shared_store! { workers_share_a_pool }
}

async fn workers_share_a_pool<B: Bench>() {
    let (bench, first) = started::<B>(|terms| terms.pools = pools()).await;
    let pool = PoolKey("x".into());
    let stores = [first, bench.connect().await];
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
    assert_eq!(usage.interval, Some(Duration::from_micros(pace(600, 1).interval_us)));
    assert!(usage.next_slot <= HORIZON + Duration::from_secs(1), "{usage:?}");
}

async fn a_pause_of_the_pool_stops_all_workers_and_a_longer_one_stays<B: Bench>() {
    let (bench, one) = started::<B>(|terms| terms.pools = pools()).await;
    let pool = PoolKey("x".into());
    let two = bench.connect().await;
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
    let usage = two.usage(&pool).await.unwrap();
    assert!(usage.paused.is_some_and(|pause| pause.wait <= usage.next_slot), "{usage:?}");
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

async fn what_is_not_known_is_not_granted<B: Bench>() {
    let (_bench, store) = started::<B>(|terms| terms.pools = pools()).await;
    let unknown = PoolKey("y".into());
    assert!(store.take(&unknown, 1).await.is_err());
    assert!(store.usage(&unknown).await.is_err());
    let pool = PoolKey("x".into());
    let interval = Some(Duration::from_micros(pace(600, 1).interval_us));
    assert_eq!(store.usage(&pool).await.unwrap(), Usage { interval, ..Usage::default() });
    assert_eq!(store.take(&pool, 0).await.unwrap(), paceline::ports::Grant::default());
}

#[tokio::test]
async fn what_can_not_be_granted_is_an_error() {
    let mut server = RedisServer::start().await;
    let store = connect(settings(&server.url()), pools()).await;
    let pool = PoolKey("x".into());
    server.kill();
    assert!(store.take(&pool, 1).await.is_err());
    assert!(store.take(&pool, 1).await.is_err());
    assert!(!*Claims::up(&*store).borrow());
    let one = vec![(pool, vec![Window { requests: 1, length: Duration::from_secs(60) }])];
    let chance = Arc::new(crate::support::redis::Counting::default());
    let refused = paceline::adapters::redis::RedisStore::connect(settings(&server.url()), one, chance).await;
    assert!(refused.is_err());
}
