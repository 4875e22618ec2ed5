//! What there is to see, and what follows from it. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::ports::{Held, Pause, PauseCause, Place, PoolKey, Sighted, Usage, Window};

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// When it was taken.
    pub at: Timestamp,
    /// Whether the broker could be asked.
    pub broker: bool,
    /// Whether the store could be asked.
    pub store: bool,
    /// Dead letters, for all accounts.
    pub dead: Option<u64>,
    /// Messages on the delay ladder, for all accounts.
    pub delayed: Option<u64>,
    /// In the order of their names.
    pub accounts: Vec<AccountPicture>,
    /// What could not be asked, and what to do.
    pub problems: Vec<String>,
}

/// What is known of an account.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountPicture {
    /// Its name.
    pub name: String,
    /// Its provider's name.
    pub provider: &'static str,
    /// Jobs that no worker has looked at.
    pub jobs: Lane,
    /// The main limit first.
    pub limits: Vec<LimitPicture>,
}

/// What is known of one of its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitPicture {
    /// `None` for the main one.
    pub name: Option<String>,
    /// None for no limit.
    pub windows: Vec<Window>,
    /// `None` where the store can't be asked.
    pub usage: Option<Usage>,
    /// `retry`, `high`, `normal`, `low`.
    pub lanes: Vec<Lane>,
    /// What keeps its work from going on.
    pub pause: Option<Pause>,
    /// How long until nothing waits for it.
    pub drain: Drain,
}

/// One queue, with what workers hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// [`Place::label`].
    pub label: String,
    /// `None` where the queue can't be asked.
    pub waiting: Option<u64>,
    /// `None` where nothing waits or no worker told.
    pub age: Option<Duration>,
}

/// How long until nothing waits any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Nothing waits.
    Empty,
    /// At the limit's pace, if nothing more comes.
    In(Duration),
    /// Not before a person does something.
    Stopped,
    /// It can't be told: there is no limit, or something could not be asked.
    Unknown,
}

/// The time to send what waits.
///
/// `waiting` is `None` where it can't be asked, `per_request` how many deliveries a request carries.
pub(super) fn drain(
    waiting: Option<u64>,
    usage: Option<&Usage>,
    pause: Option<&Pause>,
    per_request: f64,
) -> Drain {
    let (Some(waiting), Some(usage)) = (waiting, usage) else { return Drain::Unknown };
    if waiting == 0 {
        return Drain::Empty;
    }
    let rest = match pause {
        Some(Pause {
            cause: PauseCause::Operator | PauseCause::Credentials | PauseCause::Receipts, ..
        }) => return Drain::Stopped,
        Some(Pause { cause: PauseCause::Throttled | PauseCause::Circuit, wait }) => *wait,
        None => Duration::ZERO,
    };
    let Some(interval) = usage.interval else { return Drain::Unknown };
    let requests = (waiting as f64 / per_request.max(1.0)).ceil();
    Drain::In(rest.max(usage.next_slot) + interval.mul_f64(requests))
}

/// The reports of workers that live: one that holds something reports again within `hold`.
pub(super) fn fresh(sightings: Vec<Sighted>, hold: Duration) -> Vec<Sighted> {
    const SLACK: Duration = Duration::from_secs(10);
    sightings.into_iter().filter(|sighted| sighted.age <= hold + SLACK).collect()
}

/// A queue's depth and what workers hold of it.
pub(super) fn lane(place: &Place, depth: Option<u64>, sightings: &[Sighted], now: Timestamp) -> Lane {
    let held = || held_of(place, sightings);
    let oldest = held().map(|held| held.oldest).min();
    let in_hands: u64 = held().map(|held| held.waiting).sum();
    let age = oldest.map(|oldest| crate::pipeline::send::until(oldest, now));
    Lane { label: place.label(), waiting: depth.map(|depth| depth + in_hands), age }
}

fn held_of<'a>(place: &'a Place, sightings: &'a [Sighted]) -> impl Iterator<Item = &'a Held> {
    sightings.iter().flat_map(|sighted| &sighted.sighting.held).filter(move |held| held.place == *place)
}

/// How many deliveries a request of this limit carries on average, as workers told; 1 where none did.
pub(super) fn per_request(pool: &PoolKey, sightings: &[Sighted]) -> f64 {
    let loads = sightings.iter().flat_map(|sighted| &sighted.sighting.loads);
    let loads: Vec<f64> =
        loads.filter(|load| load.pool == *pool).map(|load| load.deliveries_per_request).collect();
    if loads.is_empty() { 1.0 } else { loads.iter().sum::<f64>() / loads.len() as f64 }
}

/// The pause that keeps a limit's work from going on: the longer one, where a person's or a
/// provider's comes with the pool's own.
pub(super) fn pause(of_account: Option<Pause>, of_pool: Option<Pause>) -> Option<Pause> {
    match (of_account, of_pool) {
        (Some(pause), None) | (None, Some(pause)) => Some(pause),
        (None, None) => None,
        (Some(account), Some(pool)) => match account.cause {
            PauseCause::Operator | PauseCause::Credentials | PauseCause::Receipts => Some(account),
            PauseCause::Throttled | PauseCause::Circuit => {
                Some(if account.wait >= pool.wait { account } else { pool })
            }
        },
    }
}

impl AccountPicture {
    /// All its lanes, that of its jobs first.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.jobs).chain(self.limits.iter().flat_map(|limit| &limit.lanes))
    }

    /// Whether something waits, and no worker told of anything.
    pub fn is_unseen(&self) -> bool {
        self.lanes().any(|lane| lane.waiting.is_some_and(|waiting| waiting > 0))
            && self.lanes().all(|lane| lane.age.is_none())
    }
}

impl LimitPicture {
    /// Whether there is anything to say of it.
    pub fn matters(&self) -> bool {
        let waits = self.lanes.iter().any(|lane| lane.waiting != Some(0));
        let limited = self.name.is_none() || !self.windows.is_empty();
        limited || waits || self.pause.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AccountName, Line, Priority};
    use crate::ports::{Load, Sighting};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_time_to_drain_follows_the_rate_the_batches_and_the_pauses() {
        let usage = |interval: Option<u64>, next| Usage {
            interval: interval.map(Duration::from_millis),
            next_slot: seconds(next),
            ..Usage::default()
        };
        let paused = |cause, wait| Some(Pause { cause, wait: seconds(wait) });
        let (limited, free) = (Some(usage(Some(100), 1)), Some(usage(None, 0)));
        let cases = [
            (Some(0), limited, None, 1.0, Drain::Empty),
            (Some(600), limited, None, 1.0, Drain::In(seconds(61))),
            (Some(600), limited, None, 20.0, Drain::In(seconds(4))),
            (Some(601), limited, None, 20.0, Drain::In(Duration::from_millis(4_100))),
            (Some(600), limited, None, 0.0, Drain::In(seconds(61))),
            (Some(600), limited, paused(PauseCause::Throttled, 30), 1.0, Drain::In(seconds(90))),
            (Some(600), limited, paused(PauseCause::Circuit, 5), 1.0, Drain::In(seconds(65))),
            (Some(600), limited, paused(PauseCause::Credentials, 5), 1.0, Drain::Stopped),
            (Some(600), limited, paused(PauseCause::Operator, 10), 1.0, Drain::Stopped),
            (Some(600), free, None, 1.0, Drain::Unknown),
            (None, limited, None, 1.0, Drain::Unknown),
            (Some(600), None, None, 1.0, Drain::Unknown),
        ];
        for (waiting, usage, pause, per_request, expected) in cases {
            let found = drain(waiting, usage.as_ref(), pause.as_ref(), per_request);
            assert_eq!(found, expected, "{waiting:?} {pause:?} {per_request}");
        }
    }

    #[test]
    fn reports_of_workers_are_added_up_and_those_of_dead_ones_left_out() {
        let place = Place::Lane(AccountName::new("shop").unwrap(), Line::MAIN, Priority::High);
        let now = Timestamp::from_second(1_000).unwrap();
        let sighted = |age, waiting, oldest, load| Sighted {
            age: seconds(age),
            sighting: Sighting {
                held: vec![Held {
                    place: place.clone(),
                    waiting,
                    oldest: Timestamp::from_second(oldest).unwrap(),
                }],
                loads: vec![Load { pool: PoolKey("p".into()), deliveries_per_request: load }],
            },
        };
        let all = vec![sighted(1, 3, 990, 20.0), sighted(240, 4, 940, 10.0), sighted(251, 99, 1, 1.0)];
        let fresh = fresh(all, seconds(240));
        assert_eq!(fresh.len(), 2);
        let found = lane(&place, Some(5), &fresh, now);
        assert_eq!((found.waiting, found.age), (Some(12), Some(seconds(60))));
        assert_eq!(found.label, "high");
        assert_eq!(lane(&place, None, &fresh, now).waiting, None);
        let quiet = lane(&Place::Due, Some(5), &fresh, now);
        assert_eq!((quiet.waiting, quiet.age), (Some(5), None));
        assert!((per_request(&PoolKey("p".into()), &fresh) - 15.0).abs() < f64::EPSILON);
        assert!((per_request(&PoolKey("q".into()), &fresh) - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn of_two_pauses_the_one_that_lasts_is_told() {
        let pause_for = |cause, wait| Some(Pause { cause, wait: seconds(wait) });
        let (long, short) = (pause_for(PauseCause::Throttled, 60), pause_for(PauseCause::Throttled, 1));
        let circuit = pause_for(PauseCause::Circuit, 10);
        let person = pause_for(PauseCause::Operator, 10);
        for (account, pool, expected) in [
            (None, None, None),
            (circuit, None, circuit),
            (None, long, long),
            (circuit, long, long),
            (circuit, short, circuit),
            (person, long, person),
        ] {
            assert_eq!(pause(account, pool), expected);
        }
    }
}
