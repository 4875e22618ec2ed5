use super::*;
use crate::config::LimiterConfig;
use crate::ports::Window;

const MINUTE: Duration = Duration::from_secs(60);
const HORIZON: Duration = Duration::from_secs(2);
const WIDTH: Duration = Duration::from_millis(200);
const JITTER: Duration = Duration::from_millis(100);

/// A process with one limit, in a time of the test's own.
struct Process {
    limits: Limits,
    key: PoolKey,
}

fn settings(requests: u32, burst: u32) -> EmbeddedSettings {
    let limiter = LimiterConfig { horizon: HORIZON, slot_width: WIDTH, jitter: JITTER, burst };
    let key = PoolKey("x".into());
    let windows = vec![Window { requests, length: MINUTE }];
    let free = (PoolKey("free".into()), Vec::new());
    EmbeddedSettings { limiter, pools: vec![(key, windows), free], ..super::super::tests_settings() }
}

impl Process {
    fn start(requests: u32, burst: u32, kept: &str, at: Instant, wall: i64) -> Self {
        let key = PoolKey("x".into());
        let kept = HashMap::from([(key.0.clone(), kept.to_owned())]);
        let moment = Moment { wall, steady: wall, at };
        Self { limits: Limits::new(&settings(requests, burst), &kept, &moment).unwrap(), key }
    }

    fn take(&self, n: u32, at: Instant) -> Grant {
        self.limits.take(&self.key, n, at).unwrap()
    }

    fn kept(&self, at: Instant, wall: i64) -> String {
        self.limits.record(&self.key, &Moment { wall, steady: wall, at }).unwrap()
    }
}

/// Numbers that look random and repeat.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_first_permit_after_a_start_comes_after_the_spread_and_one_interval_without_burst() {
    let start = Instant::now();
    let process = Process::start(600, 3, "", start, 0);
    let interval = Duration::from_micros(101_056);
    let first = process.take(5, start);
    let opens: Vec<Duration> = first.permits.iter().map(|permit| permit.opens - start).collect();
    let expected: Vec<Duration> = (1..=5).map(|n| ms(300) + interval * n).collect();
    assert_eq!(opens, expected);
    assert!(first.permits.iter().all(|permit| permit.closes - permit.opens == WIDTH));
    // The horizon bounds how far ahead they lie, and the promised instant is when the next one is free.
    let rest = process.take(1_000, start);
    assert_eq!(rest.permits.last().unwrap().opens, start + ms(300) + interval * 16);
    let promised = rest.retry_at.unwrap();
    assert_eq!(promised + HORIZON, start + ms(300) + interval * 17);
    assert!(process.take(1, promised - Duration::from_nanos(1)).permits.is_empty());
    assert_eq!(process.take(1, promised).permits.len(), 1);
    // An idle limit gives its burst at once.
    let idle = start + Duration::from_secs(30);
    let burst = process.take(4, idle).permits;
    let at_once: Vec<Duration> = burst.iter().map(|permit| permit.opens - idle).collect();
    assert_eq!(at_once, [Duration::ZERO, Duration::ZERO, Duration::ZERO, interval]);
}

/// When a request made on a permit may be counted: from, to.
type Arrival = (Instant, Instant);

fn fullest_window(arrivals: &[Arrival], begins_after: Instant) -> usize {
    let mut first: Vec<Instant> = arrivals.iter().map(|arrival| arrival.0).collect();
    let mut last: Vec<Instant> = arrivals.iter().map(|arrival| arrival.1).collect();
    first.sort_unstable();
    last.sort_unstable();
    let begins = last.iter().copied().filter(|begin| *begin >= begins_after).chain([begins_after]);
    begins
        .map(|begin| {
            let begun = first.partition_point(|from| *from <= begin + MINUTE);
            begun - last.partition_point(|to| *to < begin)
        })
        .max()
        .unwrap_or(0)
}

/// What a process does until its end: it takes what it can, and sends as early or late as it may.
fn live(process: &Process, from: Instant, until: Instant, random: &mut Seeded, arrivals: &mut Vec<Arrival>) {
    let mut now = from;
    while now < until {
        let grant = process.take(1 + u32::try_from(random.below(600)).unwrap(), now);
        // What was not written before the end never is.
        let used = grant.permits.iter().filter(|permit| permit.opens <= until);
        arrivals.extend(used.map(|permit| (permit.opens, permit.closes.min(until) + JITTER)));
        let promised = grant.retry_at.unwrap_or(now);
        let late = if random.below(3) == 0 { ms(random.below(5_000)) } else { Duration::ZERO };
        now = promised.max(now + ms(1)) + late;
    }
}

#[test]
fn no_window_holds_more_than_the_limit_whenever_the_process_is_restarted() {
    for (seed, (limit, burst)) in
        (1..=8).flat_map(|seed| [(2, 1), (30, 1), (600, 3), (3_000, 15)].map(|of| (seed, of)))
    {
        let mut random = Seeded(seed);
        let start = Instant::now();
        let (mut now, mut arrivals, mut kept) = (start, Vec::new(), String::new());
        for _ in 0..12 {
            let wall = i64::try_from((now - start).as_millis()).unwrap();
            let process = Process::start(limit, burst, &kept, now, wall);
            let longest = if random.below(2) == 0 { 3_000 } else { 200_000 };
            let end = now + ms(1 + random.below(longest));
            live(&process, now, end, &mut random, &mut arrivals);
            // The file may know it or not: a crash comes at any time.
            if random.below(2) == 0 {
                kept = process.kept(end, wall);
            }
            now = end + ms(random.below(300));
        }
        let found = fullest_window(&arrivals, start);
        assert!(found <= limit as usize, "seed {seed}: {found} of {limit}");
        assert!(limit < 600 || found * 20 >= limit as usize, "seed {seed}: {found} of {limit} is hardly any");
    }
}

#[test]
fn a_restart_with_a_lower_limit_keeps_windows_that_begin_after_it_below_the_new_one() {
    for seed in 1..=30 {
        let mut random = Seeded(seed);
        let start = Instant::now();
        let mut arrivals = Vec::new();
        let end = start + Duration::from_secs(90);
        let before = Process::start(3_000, 15, "", start, 0);
        live(&before, start, end, &mut random, &mut arrivals);
        let after = Process::start(60, 1, &before.kept(end, 90_000), end, 90_000);
        live(&after, end, end + Duration::from_secs(180), &mut random, &mut arrivals);
        let found = fullest_window(&arrivals, end);
        assert!(found <= 60, "seed {seed}: {found}");
        assert!(fullest_window(&arrivals, start) <= 3_000);
    }
}

#[test]
fn a_pause_survives_a_restart_gathers_no_credit_and_a_longer_one_stays() {
    let start = Instant::now();
    let first = Process::start(600, 3, "", start, 1_000);
    let at = start + Duration::from_secs(10);
    first.limits.pause_pool(&first.key, ms(5_000), at).unwrap();
    first.limits.pause_pool(&first.key, ms(1_000), at).unwrap();
    let grant = first.take(5, at + ms(1_000));
    assert_eq!((grant.permits.len(), grant.retry_at), (0, Some(at + ms(5_000))));
    assert_eq!(grant.paused.map(|pause| pause.wait), Some(ms(4_000)));
    let usage = first.limits.usage(&first.key, at + ms(1_000)).unwrap();
    assert!(usage.paused.is_some() && usage.next_slot >= ms(4_000), "{usage:?}");
    let opens = |grant: Grant, from: Instant| -> Vec<Duration> {
        grant.permits.iter().map(|permit| permit.opens - from).collect()
    };
    let interval = Duration::from_micros(101_056);
    let end = at + ms(5_000);
    assert_eq!(opens(first.take(3, end), end), [Duration::ZERO, interval, interval * 2]);

    // Written at `at`, 11 s on the wall clock; restarted half a second later.
    let fresh = Process::start(600, 3, "", start, 1_000);
    fresh.limits.pause_pool(&fresh.key, ms(5_000), at).unwrap();
    let kept = fresh.kept(at, 11_000);
    let again = Process::start(600, 3, &kept, at + ms(500), 11_500);
    let grant = again.take(1, at + ms(600));
    assert_eq!(grant.paused.map(|pause| pause.wait), Some(ms(4_400)));
    // The host's clock went back by an hour meanwhile: the pause is no longer than it was.
    let back = Process::start(600, 3, &kept, at, 11_000 - 3_600_000);
    assert_eq!(back.take(1, at).paused.map(|pause| pause.wait), Some(ms(5_000)));
    let over = Process::start(600, 3, &kept, at, 16_000);
    assert_eq!(over.take(1, at).paused, None);
}

#[test]
fn the_use_of_a_limit_is_told_within_the_process_and_from_the_file() {
    let start = Instant::now();
    let process = Process::start(600, 1, "", start, 1_000_000);
    let mut now = start;
    let mut taken = 0;
    while taken < 30 {
        let grant = process.take(30 - taken, now);
        taken += u32::try_from(grant.permits.len()).unwrap();
        now = grant.retry_at.unwrap_or(now);
    }
    let later = start + Duration::from_secs(10);
    let usage = process.limits.usage(&process.key, later).unwrap();
    assert_eq!((usage.last_minute, usage.paused), (30, None));
    assert_eq!(usage.interval, Some(Duration::from_micros(100_719)));
    let kept = Kept::of(&process.kept(later, 1_010_000));
    assert_eq!(kept.usage(1_010_000).last_minute, 30);
    assert_eq!(kept.usage(1_062_000).last_minute, 4);
    assert_eq!(kept.usage(1_090_000).last_minute, 0);
    assert_eq!(kept.usage(1_010_000).interval, usage.interval);
    assert_eq!(Kept::of("nonsense").usage(5), Usage::default());
}

#[test]
fn a_limit_that_is_none_is_held_up_by_pauses_only() {
    let start = Instant::now();
    let process = Process::start(600, 1, "", start, 0);
    let free = PoolKey("free".into());
    assert_eq!(process.limits.take(&free, 7, start).unwrap().permits.len(), 7);
    process.limits.pause_pool(&free, MINUTE, start).unwrap();
    let grant = process.limits.take(&free, 7, start).unwrap();
    assert!(grant.permits.is_empty() && grant.paused.is_some() && grant.retry_at == Some(start + MINUTE));
    assert_eq!(process.limits.take(&free, 7, start + MINUTE).unwrap().permits.len(), 7);
    assert_eq!(process.limits.usage(&free, start).unwrap().interval, None);
    assert!(process.limits.take(&PoolKey("y".into()), 1, start).is_err());
    let one = EmbeddedSettings {
        pools: vec![(free, vec![Window { requests: 1, length: MINUTE }])],
        ..super::super::tests_settings()
    };
    let moment = Moment { wall: 0, steady: 0, at: start };
    assert!(Limits::new(&one, &HashMap::new(), &moment).is_err());
}
