//! The sliding window.

use std::collections::VecDeque;
use std::time::Duration;

/// The moments of the last window, and the most that any window held.
///
/// A window is half open: moments exactly one length apart do not share one. Exact, not an
/// estimate: every window that holds the most ends at a moment, and each moment is looked at.
#[derive(Debug, Clone)]
pub struct Sliding {
    length: Duration,
    moments: VecDeque<Duration>,
    most: usize,
}

impl Sliding {
    /// An empty window of this length.
    pub fn new(length: Duration) -> Self {
        Self { length, moments: VecDeque::new(), most: 0 }
    }

    /// Its length.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Adds a moment, no earlier than those before it.
    pub fn add(&mut self, now: Duration) {
        self.forget(now);
        self.moments.push_back(now);
        self.most = self.most.max(self.moments.len());
    }

    /// How many moments the window that ends now holds.
    pub fn count(&mut self, now: Duration) -> usize {
        self.forget(now);
        self.moments.len()
    }

    /// How long from now until the window holds fewer than `limit`; zero when it does already.
    pub fn wait(&mut self, limit: usize, now: Duration) -> Duration {
        let over = (self.count(now) + 1).saturating_sub(limit.max(1));
        let Some(last_to_go) = over.checked_sub(1) else { return Duration::ZERO };
        // At least 1 is taken off count + 1 above, so this index lies within the moments.
        self.moments[last_to_go] + self.length - now
    }

    /// The most that any window held so far.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Begins to measure anew: the most is what the present window holds.
    pub fn reset_most(&mut self, now: Duration) {
        self.most = self.count(now);
    }

    fn forget(&mut self, now: Duration) {
        while self.moments.front().is_some_and(|&first| first + self.length <= now) {
            self.moments.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_window_is_half_open() {
        let mut sliding = Sliding::new(ms(1000));
        for moment in [0, 999, 1000] {
            sliding.add(ms(moment));
        }
        assert_eq!((sliding.most(), sliding.count(ms(1998)), sliding.count(ms(1999))), (2, 2, 1));
    }

    #[test]
    fn the_wait_ends_when_there_is_room() {
        let mut sliding = Sliding::new(ms(1000));
        for moment in [0, 100, 200] {
            sliding.add(ms(moment));
        }
        for (limit, wait) in [(4, 0), (3, 750), (2, 850), (1, 950), (0, 950)] {
            assert_eq!(sliding.wait(limit, ms(250)), ms(wait), "limit {limit}");
        }
        assert_eq!(sliding.wait(3, ms(1000)), ms(0));
    }

    #[test]
    fn measuring_anew_keeps_what_the_present_window_holds() {
        let mut sliding = Sliding::new(ms(1000));
        for moment in [0, 1, 2, 900] {
            sliding.add(ms(moment));
        }
        sliding.reset_most(ms(1500));
        assert_eq!(sliding.most(), 1);
    }

    proptest! {
        #[test]
        fn the_most_is_that_of_a_search_over_all_windows(
            gaps in proptest::collection::vec(0_u64..40, 1..120),
        ) {
            let mut sliding = Sliding::new(ms(100));
            let moments: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            for moment in &moments {
                sliding.add(ms(*moment));
            }
            let expected = moments
                .iter()
                .map(|start| moments.iter().filter(|m| (*start..start + 100).contains(m)).count())
                .max();
            prop_assert_eq!(Some(sliding.most()), expected);
        }
    }
}
