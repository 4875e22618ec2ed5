//! What arrived at one simulated provider, as it counts. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::simulator::sliding::Sliding;
use crate::simulator::{DeliveryOutcome, Entry};

/// The step of the history of sends.
const STEP: Duration = Duration::from_secs(1);

/// How far back "lately" reaches.
const LATELY: Duration = Duration::from_secs(3);

/// One account's arrivals.
pub(super) struct Meter {
    window: Sliding,
    steps: Vec<u32>,
    lately: VecDeque<Arrival>,
    per_request: f64,
}

struct Arrival {
    at: Duration,
    taken: u32,
    counted: bool,
}

impl Meter {
    /// Nothing arrived yet; a minute lasts so long.
    pub(super) fn new(minute: Duration) -> Self {
        Self { window: Sliding::new(minute), steps: Vec::new(), lately: VecDeque::new(), per_request: 1.0 }
    }

    /// Takes in one request.
    pub(super) fn arrive(&mut self, entry: &Entry) {
        let at = Duration::from_micros(entry.at_us);
        if entry.counted {
            self.window.add(at);
        }
        let taken = entry.deliveries.iter().filter(|one| one.outcome == DeliveryOutcome::Accepted).count();
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let step = step_of(at);
        if self.steps.len() <= step {
            self.steps.resize(step + 1, 0);
        }
        self.steps[step] += taken;
        self.lately.push_back(Arrival { at, taken, counted: entry.counted });
    }

    /// Counted requests in the minute that ends at `now`.
    pub(super) fn used(&mut self, now: Duration) -> usize {
        self.window.count(now)
    }

    /// The most of them in any minute.
    pub(super) fn most(&self) -> usize {
        self.window.most()
    }

    /// Deliveries taken in each second until `now`.
    pub(super) fn sends(&self, now: Duration) -> Vec<u32> {
        let mut steps = self.steps.clone();
        steps.resize(step_of(now) + 1, 0);
        steps
    }

    /// Deliveries taken in the last second.
    pub(super) fn per_second(&self, now: Duration) -> u32 {
        let since = now.saturating_sub(STEP);
        self.lately.iter().filter(|arrival| arrival.at >= since).map(|arrival| arrival.taken).sum()
    }

    /// How many deliveries a counted request carried lately.
    pub(super) fn per_request(&mut self, now: Duration) -> f64 {
        let since = now.saturating_sub(LATELY);
        while self.lately.front().is_some_and(|arrival| arrival.at < since) {
            self.lately.pop_front();
        }
        let full = self.lately.iter().filter(|arrival| arrival.counted && arrival.taken > 0);
        let (requests, taken) = full.fold((0_u32, 0), |(n, sum), arrival| (n + 1, sum + arrival.taken));
        if requests > 0 {
            self.per_request = f64::from(taken) / f64::from(requests);
        }
        self.per_request
    }
}

fn step_of(at: Duration) -> usize {
    usize::try_from(at.as_millis() / STEP.as_millis()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::DeliveryRecord;

    fn entry(ms: u64, counted: bool, taken: usize) -> Entry {
        let one = DeliveryRecord { id: None, key: None, outcome: DeliveryOutcome::Accepted, code: None };
        Entry {
            seq: 0,
            at_us: ms * 1_000,
            provider: None,
            operation: String::new(),
            account: None,
            counted,
            throttled: false,
            status: Some(200),
            fault: None,
            deliveries: vec![one; taken],
        }
    }

    #[test]
    fn requests_are_counted_by_the_minute_and_deliveries_by_the_second() {
        let ms = Duration::from_millis;
        let mut meter = Meter::new(ms(2_000));
        for (at, counted, taken) in [(100, true, 4), (900, false, 1), (1_500, true, 2), (2_050, true, 0)] {
            meter.arrive(&entry(at, counted, taken));
        }
        assert_eq!((meter.used(ms(2_099)), meter.used(ms(2_100)), meter.most()), (3, 2, 3));
        assert_eq!(meter.sends(ms(3_000)), [5, 2, 0, 0]);
        assert_eq!((meter.per_second(ms(1_899)), meter.per_second(ms(2_400))), (3, 2));
        assert!((meter.per_request(ms(2_400)) - 3.0).abs() < 1e-9);
        assert!((meter.per_request(ms(9_000)) - 3.0).abs() < 1e-9, "the last known");
    }
}
