//! How far the round trips of an account's counted requests spread.
//!
//! The limiter's bound assumes that the time between writing a request and its being counted varies
//! by at most `limiter.jitter`. That time can't be seen from here; a round trip contains it, so
//! while round trips spread by less, the assumption holds.

use std::time::Duration;

use tokio::time::Instant;

/// Round trips are looked at together for so long.
const STRETCH: Duration = Duration::from_secs(60);

/// Fewer say nothing.
const LEAST: usize = 20;

/// So many are kept; with more a stretch ends early.
const MOST: usize = 4_096;

/// A spread that is too large is told no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(600);

/// The round trips of one limit, a stretch at a time.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    begun: Option<Instant>,
    trips: Vec<Duration>,
    last: Duration,
    told: Option<Instant>,
}

impl RoundTrips {
    /// Adds one. At the end of a stretch that says something: its spread.
    pub(super) fn add(&mut self, took: Duration, now: Instant) -> Option<Duration> {
        let begun = *self.begun.get_or_insert(now);
        self.trips.push(took);
        if now.saturating_duration_since(begun) < STRETCH && self.trips.len() < MOST {
            return None;
        }
        let mut trips = std::mem::take(&mut self.trips);
        self.begun = None;
        if trips.len() < LEAST {
            return None;
        }
        self.last = spread(&mut trips);
        Some(self.last)
    }

    /// The spread of the last stretch that said something.
    pub(super) fn last(&self) -> Duration {
        self.last
    }

    /// Whether to tell a person now that it is larger than the jitter that is allowed for.
    pub(super) fn must_tell(&mut self, jitter: Duration, now: Instant) -> bool {
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        let tell = due && self.last > jitter;
        if tell {
            self.told = Some(now);
        }
        tell
    }
}

/// From the fastest to the 99th percentile: one answer in a hundred may be an outlier, such as a
/// connection that had to be opened anew.
fn spread(trips: &mut [Duration]) -> Duration {
    trips.sort_unstable();
    let (Some(fastest), Some(slow)) = (trips.first(), trips.get((trips.len() * 99).div_ceil(100) - 1)) else {
        return Duration::ZERO;
    };
    *slow - *fastest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_answer_in_a_hundred_is_left_out() {
        let cases: [(Vec<u32>, u32); 5] = [
            (vec![30; 50], 0),
            ((0..100).collect(), 98),
            ([vec![10; 99], vec![9_000]].concat(), 0),
            ([vec![10; 98], vec![500, 9_000]].concat(), 490),
            (vec![7], 0),
        ];
        for (trips, expected) in cases {
            let mut trips: Vec<Duration> = trips.into_iter().map(|ms| MS * ms).collect();
            assert_eq!(spread(&mut trips), MS * expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stretch_is_a_minute_or_many_answers_and_few_say_nothing() {
        let start = Instant::now();
        let mut trips = RoundTrips::default();
        let second = Duration::from_secs(1);
        let found: Vec<_> = (0..=60).filter_map(|n| trips.add(MS * (n % 7), start + second * n)).collect();
        assert_eq!(found, [MS * 6]);
        assert_eq!(trips.last(), MS * 6);

        let later = start + second * 100;
        let rare: Vec<_> = (0..10).filter_map(|n| trips.add(MS * n, later + second * 20 * n)).collect();
        assert!(rare.is_empty(), "{rare:?}");

        let mut trips = RoundTrips::default();
        let many: Vec<_> = (0..10_000).filter_map(|n| trips.add(MS * (n % 3), start)).collect();
        assert_eq!(many, [MS * 2, MS * 2]);
        assert!(trips.trips.len() < MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_is_told_of_a_large_spread_now_and_then() {
        let start = Instant::now();
        let mut trips = RoundTrips { last: MS * 300, ..RoundTrips::default() };
        let minute = Duration::from_secs(60);
        let told: Vec<u32> = (0..25).filter(|n| trips.must_tell(MS * 100, start + minute * *n)).collect();
        assert_eq!(told, [0, 10, 20]);
        assert!(!trips.must_tell(MS * 300, start + minute * 100));
    }
}
