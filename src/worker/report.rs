//! What waits in this worker's hands, told to the store for people who look.
//!
//! An idle worker makes no trip for it: a report is made when what waits has changed, at most once
//! every two seconds, and once more when nothing waits. It holds up no delivery, and one that fails
//! is made again with the next change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::ports::{Held, Load, Place, Sighting};
use crate::worker::{Stage, Worker};

/// The least time between two reports.
const BETWEEN: Duration = Duration::from_secs(2);

/// How long a change waits for others: what is sent at once, as most is, leads to no report.
const GATHERED: Duration = Duration::from_millis(500);

/// What waits beside the dispatchers' lanes: exempt deliveries, for their account, the store or a
/// place among the requests under way.
#[derive(Default)]
pub(super) struct Waiting {
    here: Mutex<BTreeMap<Place, BTreeSet<(Timestamp, u64)>>>,
    serial: AtomicU64,
    changed: Notify,
}

impl Waiting {
    /// Says that something else waits than before, here or in a dispatcher.
    pub(super) fn changed(&self) {
        self.changed.notify_one();
    }

    /// Counts a delivery as waiting until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>, place: Place, published_at: Timestamp) -> Waits {
        let entry = (published_at, self.serial.fetch_add(1, Ordering::Relaxed));
        self.here().entry(place.clone()).or_default().insert(entry);
        self.changed();
        Waits { waiting: self.clone(), place, entry }
    }

    fn tally(&self, tally: &mut Tally) {
        for (place, entries) in self.here().iter() {
            for (published_at, _) in entries {
                tally.add(place.clone(), *published_at);
            }
        }
    }

    fn here(&self) -> MutexGuard<'_, BTreeMap<Place, BTreeSet<(Timestamp, u64)>>> {
        // Nothing that runs under the lock panics half-way through a change.
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery that waits.
pub(super) struct Waits {
    waiting: Arc<Waiting>,
    place: Place,
    entry: (Timestamp, u64),
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(entries) = self.waiting.here().get_mut(&self.place) {
            entries.remove(&self.entry);
        }
        self.waiting.changed();
    }
}

/// What waits, summed up by queue.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Place, Held>);

impl Tally {
    pub(super) fn add(&mut self, place: Place, published_at: Timestamp) {
        let held = self.0.entry(place.clone()).or_insert(Held { place, waiting: 0, oldest: published_at });
        held.waiting += 1;
        held.oldest = held.oldest.min(published_at);
    }

    fn into_held(self) -> Vec<Held> {
        self.0.into_values().collect()
    }
}

impl Worker {
    /// What waits in this worker's hands, by queue.
    pub fn held(&self) -> Vec<Held> {
        let mut tally = Tally::default();
        self.waiting.tally(&mut tally);
        for dispatcher in self.dispatchers.values() {
            dispatcher.tally(&mut tally);
        }
        tally.into_held()
    }

    fn sighting(&self) -> Sighting {
        let held = self.held();
        if held.is_empty() {
            return Sighting::default();
        }
        let loads = self.dispatchers.values().filter_map(|dispatcher| {
            let deliveries_per_request = dispatcher.carried()?;
            Some(Load { pool: dispatcher.key.clone(), deliveries_per_request })
        });
        Sighting { held, loads: loads.collect() }
    }

    /// Reports until the worker drains, then takes its report back.
    pub(super) async fn report(self: Arc<Self>) {
        let name = self.ports.chance.unique();
        let mut told = Some(Sighting::default());
        while self.unless_draining(self.waiting.changed.notified()).await {
            if !self.unless_draining(tokio::time::sleep(GATHERED)).await {
                break;
            }
            let seen = self.sighting();
            if told.as_ref().is_some_and(|told| told.held == seen.held) {
                continue;
            }
            told = self.tell(&name, &seen).await.then_some(seen);
            if !self.unless_draining(tokio::time::sleep(BETWEEN.saturating_sub(GATHERED))).await {
                break;
            }
        }
        if told.is_none_or(|told| !told.held.is_empty()) {
            self.tell(&name, &Sighting::default()).await;
        }
    }

    async fn tell(&self, name: &str, seen: &Sighting) -> bool {
        let told = self.ports.sightings.report(name, seen).await;
        if let Err(error) = &told {
            tracing::debug!(%error, "what waits here was not reported");
        }
        told.is_ok()
    }

    /// Whether it ended before the worker began to drain.
    async fn unless_draining(&self, what: impl Future<Output = ()>) -> bool {
        let mut stage = self.stage.clone();
        tokio::select! {
            biased;
            () = what => true,
            _ = stage.wait_for(|stage| *stage != Stage::Running) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::AccountName;

    #[test]
    fn what_waits_is_counted_until_it_is_led_on() {
        let jobs = || Place::Jobs(AccountName::new("shop").unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        let held = |waiting: &Arc<Waiting>| {
            let mut tally = Tally::default();
            waiting.tally(&mut tally);
            tally.into_held()
        };
        let waiting = Arc::new(Waiting::default());
        let first = waiting.enter(jobs(), at(10));
        let second = waiting.enter(jobs(), at(10));
        let third = waiting.enter(jobs(), at(30));
        assert_eq!(held(&waiting), [Held { place: jobs(), waiting: 3, oldest: at(10) }]);
        drop(first);
        assert_eq!(held(&waiting), [Held { place: jobs(), waiting: 2, oldest: at(10) }]);
        drop(second);
        assert_eq!(held(&waiting), [Held { place: jobs(), waiting: 1, oldest: at(30) }]);
        drop(third);
        assert_eq!(held(&waiting), []);
    }
}
