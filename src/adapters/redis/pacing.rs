//! The pure part of permits: how fast, at which instants, and whether a clock stepped.
//!
//! The symbols and the proof are in [`super::permits`].

use std::time::Duration;

use tokio::time::Instant;

use crate::config::LimiterConfig;
use crate::ports::{Permit, Window};

/// A clock that is slewed (by NTP) runs at most this much too fast or too slow, in parts of a
/// million: the kernel's limit for `adjtime`.
const SLEW_PPM: u64 = 500;

/// What a pool's script works with, in whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// 1/r: the distance between slots; 0 for a pool without a limit.
    pub interval_us: u64,
    /// b: the most slots at once.
    pub burst: u32,
    /// H: how far ahead a slot may lie.
    pub horizon_us: u64,
    /// Δ = σ + J.
    pub spread_us: u64,
    /// The longest window + Δ: how long a slot granted matters.
    pub memory_us: u64,
    /// σ: how long after its beginning a slot may be used. No window depends on the slots of a pool
    /// without a limit: they may be used for H, so that a store that answers slowly spoils none.
    pub slot_width: Duration,
}

impl Pace {
    /// The pace that keeps every one of `windows`; `None` when one allows fewer than 2 requests,
    /// which leaves no room for the bound. No windows mean no limit.
    pub fn new(limiter: &LimiterConfig, windows: &[Window]) -> Option<Self> {
        let burst = effective_burst(limiter.burst, windows);
        let spread = limiter.slot_width + limiter.jitter;
        let intervals: Option<Vec<u64>> =
            windows.iter().map(|window| interval_us(*window, spread, burst)).collect();
        let longest = windows.iter().map(|window| window.length).max().unwrap_or_default();
        let slot_width =
            if windows.is_empty() { limiter.slot_width.max(limiter.horizon) } else { limiter.slot_width };
        Some(Self {
            interval_us: intervals?.into_iter().max().unwrap_or(0),
            burst,
            horizon_us: micros(limiter.horizon),
            spread_us: micros(spread),
            memory_us: micros(longest + spread),
            slot_width,
        })
    }
}

/// The burst that a pool really gets: a two-hundredth of its limit at the most, because the rate
/// pays for it, and none where several windows must be kept.
fn effective_burst(configured: u32, windows: &[Window]) -> u32 {
    match windows {
        [only] => configured.clamp(1, (only.requests / 200).max(1)),
        _ => 1,
    }
}

/// (W + Δ)(1 + 5·10⁻⁴) / (L − b), rounded up to whole microseconds.
fn interval_us(window: Window, spread: Duration, burst: u32) -> Option<u64> {
    if window.requests < 2 {
        return None;
    }
    let shared = u64::from(window.requests.checked_sub(burst)?).max(1);
    let stretched = micros(window.length + spread) * (1_000_000 + SLEW_PPM);
    Some(stretched.div_ceil(shared * 1_000_000))
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// The store's clock as a worker saw it: read somewhere between two instants of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// m0: before the call.
    pub before: Instant,
    /// m1: after it.
    pub after: Instant,
    /// R: the store's clock, in microseconds since 1970.
    pub store_us: i64,
    /// The store's run id: another one means another clock.
    pub run: String,
}

/// Whether the store's clock moved against the worker's monotonic one between two readings by more
/// than slewing and the two round trips explain.
///
/// Between the readings the worker's clock moved by at least `later.before - earlier.after` and at
/// most `later.after - earlier.before`. Both clocks may be slewed, so a thousandth of the time
/// between them is allowed for, and a millisecond for rounding. A step that hides in the round
/// trips stays unseen and costs at most their length times r.
pub fn drifted(earlier: &Reading, later: &Reading) -> bool {
    if earlier.run != later.run {
        return false;
    }
    let moved = later.store_us - earlier.store_us;
    let least = signed_us(earlier.after, later.before);
    let most = signed_us(earlier.before, later.after);
    let allowed = 1_000 + most.abs() / 1_000;
    moved < least - allowed || moved > most + allowed
}

fn signed_us(from: Instant, to: Instant) -> i64 {
    let us = |length: Duration| i64::try_from(length.as_micros()).unwrap_or(i64::MAX / 4);
    if to >= from { us(to - from) } else { -us(from - to) }
}

/// A slot as a stretch of the worker's own monotonic clock; `None` when the round trip was so long
/// that nothing of it is left.
///
/// The store's clock was R somewhere between `before` and `after`, so `after + offset` is not
/// before the slot begins and `before + offset + width` is not after it ends, whichever it was.
pub fn permit(reading: &Reading, offset_us: u64, width: Duration) -> Option<Permit> {
    let offset = Duration::from_micros(offset_us);
    let opens = reading.after + offset;
    let closes = reading.before + offset + width;
    (closes > opens && closes > reading.after).then_some(Permit { opens, closes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limiter(burst: u32) -> LimiterConfig {
        LimiterConfig {
            horizon: Duration::from_secs(2),
            slot_width: Duration::from_millis(250),
            jitter: Duration::from_millis(50),
            burst,
        }
    }

    fn window(requests: u32, length: Duration) -> Window {
        Window { requests, length }
    }

    #[test]
    fn the_interval_is_that_of_the_bound() {
        // (60.3 s · 1.0005) / (L − b), rounded up.
        let cases = [
            (2, 1, Some(60_330_150)),
            (60, 1, Some(1_022_545)),
            (600, 1, Some(100_719)),
            (600, 3, Some(101_056)),
            (10_000, 1, Some(6_034)),
            (1, 1, None),
            (0, 1, None),
        ];
        for (requests, burst, expected) in cases {
            let found = interval_us(window(requests, MINUTE), Duration::from_millis(300), burst);
            assert_eq!(found, expected, "{requests} by {burst}");
        }
    }

    #[test]
    fn the_slowest_window_rules() {
        let campaigns = [
            window(10, Duration::from_secs(1)),
            window(100, MINUTE),
            window(6_000, Duration::from_secs(3600)),
        ];
        let pace = Pace::new(&limiter(50), &campaigns).unwrap();
        assert_eq!(pace.burst, 1);
        assert_eq!(pace.interval_us, interval_us(campaigns[1], Duration::from_millis(300), 1).unwrap());
        assert_eq!(pace.memory_us, 3_600_300_000);
        let unlimited = Pace::new(&limiter(1), &[]).unwrap();
        assert_eq!((unlimited.interval_us, unlimited.slot_width), (0, limiter(1).horizon));
        assert_eq!(Pace::new(&limiter(1), &[window(1, MINUTE)]), None);
    }

    #[test]
    fn a_burst_is_at_most_a_two_hundredth_of_the_limit() {
        let cases =
            [(1, 600, 1), (3, 600, 3), (4, 600, 3), (99, 600, 3), (99, 2, 1), (0, 600, 1), (99, 10_000, 50)];
        for (configured, requests, expected) in cases {
            assert_eq!(effective_burst(configured, &[window(requests, MINUTE)]), expected);
        }
        assert_eq!(effective_burst(9, &[window(10_000, MINUTE), window(10_000, MINUTE)]), 1);
    }

    #[test]
    fn permits_lie_within_their_slots_whenever_the_store_read_its_clock() {
        let before = Instant::now();
        let ms = Duration::from_millis;
        let width = ms(250);
        // (round trip, offset) → (opens, closes) after `before`
        let cases = [
            (0, 0, Some((0, 250))),
            (20, 0, Some((20, 250))),
            (20, 1000, Some((1020, 1250))),
            (249, 0, Some((249, 250))),
            (250, 0, None),
            (250, 1000, None),
            (9000, 1000, None),
        ];
        for (trip, offset, expected) in cases {
            let reading = Reading { before, after: before + ms(trip), store_us: 1, run: "a".into() };
            let found = permit(&reading, offset * 1000, width);
            let expected = expected
                .map(|(opens, closes)| Permit { opens: before + ms(opens), closes: before + ms(closes) });
            assert_eq!(found, expected, "{trip} {offset}");
        }
    }

    #[test]
    fn a_step_of_the_clock_is_told_from_slewing_and_slow_round_trips() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let reading = |before: u64, after: u64, store_ms: i64, run: &str| Reading {
            before: start + ms(before),
            after: start + ms(after),
            store_us: 1_000_000_000 + store_ms * 1000,
            run: run.into(),
        };
        let first = reading(0, 2, 1, "a");
        let cases = [
            ("steady", reading(1000, 1002, 1001, "a"), false),
            ("slow trip", reading(1000, 1400, 1399, "a"), false),
            ("slewed", reading(100_000, 100_002, 100_098, "a"), false),
            ("forward", reading(1000, 1002, 1010, "a"), true),
            ("forward within the trip", reading(1000, 1400, 1300, "a"), false),
            ("backward", reading(1000, 1002, 990, "a"), true),
            ("another store", reading(1000, 1002, 99_000, "b"), false),
            ("out of order", reading(0, 3, 0, "a"), false),
        ];
        for (name, later, expected) in cases {
            assert_eq!(drifted(&first, &later), expected, "{name}");
        }
    }
}
