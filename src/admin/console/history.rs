//! What was seen before, in bounded memory: the use of limits and the ends of the last minute and hour,
//! and since when something is as it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::metrics::Ends;
use crate::status::Picture;

/// The fine samples reach back so far, and the coarse ones; a coarse one is kept this long after the
/// one before.
const FINE: Duration = Duration::from_secs(62);
const COARSE: Duration = Duration::from_secs(60 * 60);
const STEP: Duration = Duration::from_secs(14);

/// The most samples of a kind.
const MOST: usize = 300;

/// What is remembered of one look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    at: Instant,
    /// Requests of the last 60 seconds, by account and limit; `None` where that could not be asked.
    used: BTreeMap<(String, String), Option<u32>>,
    /// Deliveries that this worker ended since its start, by account and status.
    ends: Ends,
}

impl Sample {
    pub(super) fn of(picture: &Picture, ends: Ends, at: Instant) -> Self {
        let used = picture.accounts.iter().flat_map(|account| {
            account.limits.iter().map(|limit| {
                let name = limit.name.clone().unwrap_or_else(|| "main".to_owned());
                ((account.name.clone(), name), limit.usage.map(|usage| usage.last_minute))
            })
        });
        Self { at, used: used.collect(), ends }
    }
}

/// Since when something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since {
    /// When it was seen first.
    pub(super) at: Timestamp,
    /// Whether it was so at the very first look, so that it may be so for longer.
    pub(super) or_longer: bool,
}

/// A point of a series: how many seconds ago, and how much.
pub(super) type Point = (u64, Option<u32>);

#[derive(Debug, Default)]
pub(super) struct History {
    fine: VecDeque<Sample>,
    coarse: VecDeque<Sample>,
    standing: BTreeMap<String, Since>,
    has_looked: bool,
}

impl History {
    /// Adds a look.
    pub(super) fn add(&mut self, sample: Sample) {
        if self.coarse.back().is_none_or(|last| sample.at.duration_since(last.at) >= STEP) {
            push(&mut self.coarse, sample.clone(), COARSE);
        }
        push(&mut self.fine, sample, FINE);
    }

    /// Says what stands now; what no longer stands is forgotten.
    pub(super) fn stand(&mut self, now: Timestamp, standing: &BTreeSet<String>) {
        self.standing.retain(|what, _| standing.contains(what));
        let or_longer = !self.has_looked;
        for what in standing {
            self.standing.entry(what.clone()).or_insert(Since { at: now, or_longer });
        }
        self.has_looked = true;
    }

    pub(super) fn since(&self, what: &str) -> Option<Since> {
        self.standing.get(what).copied()
    }

    /// The use of a limit over the last minute, and over the last hour, the oldest first.
    pub(super) fn series(&self, account: &str, limit: &str, now: Instant) -> [Vec<Point>; 2] {
        let key = (account.to_owned(), limit.to_owned());
        [&self.fine, &self.coarse].map(|samples| {
            let known = samples.iter().filter_map(|sample| Some((sample.at, *sample.used.get(&key)?)));
            known.map(|(at, used)| (now.duration_since(at).as_secs(), used)).collect()
        })
    }

    /// How many deliveries of an account this worker ended in the last minute, by status, and over how
    /// many seconds that was looked at.
    pub(super) fn ends(&self, account: &str) -> (BTreeMap<String, u64>, u64) {
        let (Some(first), Some(last)) = (self.fine.front(), self.fine.back()) else {
            return (BTreeMap::new(), 0);
        };
        let own = last.ends.iter().filter(|((name, _), _)| name == account);
        let counts = own.map(|(key, count)| {
            (key.1.clone(), count.saturating_sub(first.ends.get(key).copied().unwrap_or_default()))
        });
        (counts.collect(), last.at.duration_since(first.at).as_secs())
    }
}

fn push(samples: &mut VecDeque<Sample>, sample: Sample, reach: Duration) {
    let now = sample.at;
    samples.push_back(sample);
    while samples.len() > MOST || samples.front().is_some_and(|first| now.duration_since(first.at) > reach) {
        samples.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, used: u32, delivered: u64) -> Sample {
        let key = |word: &str| ("shop".to_owned(), word.to_owned());
        Sample {
            at,
            used: BTreeMap::from([(key("main"), Some(used))]),
            ends: Ends::from([(key("delivered"), delivered)]),
        }
    }

    #[test]
    fn a_day_of_looks_leaves_a_minute_and_an_hour() {
        let mut history = History::default();
        let start = Instant::now();
        let last = (0..43_200u32).map(|n| (n, start + Duration::from_secs(2) * n));
        let mut now = start;
        for (n, at) in last {
            history.add(sample(at, n, u64::from(n) * 3));
            now = at;
        }
        let [minute, hour] = history.series("shop", "main", now);
        assert_eq!((minute.len(), minute[0], minute[31]), (32, (62, Some(43_168)), (0, Some(43_199))));
        assert!((250..=260).contains(&hour.len()) && hour[0].0 > 3_580, "{} {:?}", hour.len(), hour[0]);
        assert_eq!(history.ends("shop"), (BTreeMap::from([("delivered".to_owned(), 93)]), 62));
        assert_eq!(history.ends("other").0, BTreeMap::new());
        assert_eq!(history.series("other", "main", now), [vec![], vec![]]);
    }

    #[test]
    fn what_stands_is_told_since_it_was_seen_first() {
        let mut history = History::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
        history.stand(at(1), &set(&["a"]));
        history.stand(at(2), &set(&["a", "b"]));
        assert_eq!(history.since("a"), Some(Since { at: at(1), or_longer: true }));
        assert_eq!(history.since("b"), Some(Since { at: at(2), or_longer: false }));
        history.stand(at(3), &set(&["b"]));
        history.stand(at(4), &set(&["a"]));
        assert_eq!(history.since("a"), Some(Since { at: at(4), or_longer: false }));
        assert_eq!(history.since("b"), None);
    }
}
