//! Which delivery gets the next permit.
//!
//! A worker takes a permit, not a job, from the limiter: the delivery is picked when the slot
//! falls due, so that a late urgent one takes the next permit. Everything here is a pure function
//! of what waits.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Weights;
use crate::job::{AccountName, DeliveryId, Priority};
use crate::ports::{Place, Window};

/// The lanes of a worker's memory, in the order in which they are preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Tried before: a resend must fall inside the provider's duplicate window.
    Retry,
    /// Urgent.
    High,
    /// The default.
    Normal,
    /// Bulk.
    Low,
}

impl Lane {
    /// All, preferred first.
    pub const ALL: [Self; 4] = [Self::Retry, Self::High, Self::Normal, Self::Low];

    /// The lane whose queue this is.
    pub const fn of(place: &Place) -> Option<Self> {
        match place {
            Place::Retry(..) => Some(Self::Retry),
            Place::Lane(_, _, Priority::High) => Some(Self::High),
            Place::Lane(_, _, Priority::Normal) => Some(Self::Normal),
            Place::Lane(_, _, Priority::Low) => Some(Self::Low),
            Place::Jobs(_) | Place::Due | Place::Dead => None,
        }
    }

    /// A stable word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// The order in which lanes are asked for permit number `turn`.
///
/// `retry` and `high` come first, but every tenth permit (by default) begins with the lower lanes,
/// so that nothing starves; of those, and of what the first two leave, `normal` and `low` share
/// 4 : 1 (by default).
pub const fn order(turn: u64, weights: Weights) -> [Lane; 4] {
    let every = if weights.lower_every == 0 { 1 } else { weights.lower_every as u64 };
    let round = weights.normal_per_low as u64 + 1;
    if turn % every == every - 1 {
        if (turn / every) % round == round - 1 {
            [Lane::Low, Lane::Normal, Lane::High, Lane::Retry]
        } else {
            [Lane::Normal, Lane::Low, Lane::High, Lane::Retry]
        }
    } else if (turn - turn / every) % round == round - 1 {
        [Lane::Retry, Lane::High, Lane::Low, Lane::Normal]
    } else {
        Lane::ALL
    }
}

/// What a lane needs to know of a waiting delivery.
pub trait Waiting {
    /// Its account.
    fn account(&self) -> &AccountName;
    /// Its identity.
    fn id(&self) -> &DeliveryId;
    /// The key under which it may share a request; `None` to go alone.
    fn batch(&self) -> Option<&Arc<str>>;
    /// About how many bytes it adds to a request.
    fn bytes(&self) -> usize;
}

/// The most bytes of deliveries in one request: below the 10 MB that Pushwoosh takes (providers'
/// help pages), with room for the rest of the request.
pub const MAX_REQUEST_BYTES: usize = 9_000_000;

/// Deliveries in hand that wait for a permit.
#[derive(Debug)]
pub struct Lanes<T> {
    waiting: [VecDeque<T>; 4],
    turn: u64,
    weights: Weights,
}

impl<T: Waiting> Lanes<T> {
    /// Empty lanes.
    pub fn new(weights: Weights) -> Self {
        Self { waiting: std::array::from_fn(|_| VecDeque::new()), turn: 0, weights }
    }

    /// Puts one at the end of its lane.
    pub fn push(&mut self, lane: Lane, item: T) {
        self.waiting[lane as usize].push_back(item);
    }

    /// Puts one back to where it was picked from: the head of its lane.
    pub fn put_back(&mut self, lane: Lane, item: T) {
        self.waiting[lane as usize].push_front(item);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of one lane, oldest first.
    pub fn iter(&self, lane: Lane) -> impl Iterator<Item = &T> {
        self.waiting[lane as usize].iter()
    }

    /// Takes out everything that meets a condition.
    pub fn extract(&mut self, mut condition: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for queue in &mut self.waiting {
            let (out, keep) = std::mem::take(queue).into_iter().partition::<VecDeque<T>, _>(&mut condition);
            *queue = keep;
            taken.extend(out);
        }
        taken
    }

    /// Picks what the next permit carries: the first delivery whose account is `open`, and up to
    /// `most(account)` in all that may share its request. Each is returned with its lane. Counts
    /// the turn only when something was picked.
    pub fn pick(
        &mut self,
        open: impl Fn(&AccountName) -> bool,
        most: impl Fn(&AccountName) -> usize,
    ) -> Vec<(Lane, T)> {
        let Some((lane, index)) = self.first(&open) else { return Vec::new() };
        self.turn += 1;
        // `first` found it at this index a moment ago, under the same exclusive borrow.
        let Some(leader) = self.waiting[lane as usize].remove(index) else { return Vec::new() };
        let mut group = vec![(lane, leader)];
        if let Some(key) = group[0].1.batch().cloned() {
            let account = group[0].1.account().clone();
            let room = most(&account).saturating_sub(1);
            self.fill(&mut group, &account, &key, room);
        }
        group
    }

    fn first(&self, open: &impl Fn(&AccountName) -> bool) -> Option<(Lane, usize)> {
        order(self.turn, self.weights).into_iter().find_map(|lane| {
            let index = self.waiting[lane as usize].iter().position(|item| open(item.account()))?;
            Some((lane, index))
        })
    }

    /// Adds those that may share the leader's request, preferred lanes first. The same id never
    /// goes twice into one request: its second claim could only be `Held`.
    fn fill(&mut self, group: &mut Vec<(Lane, T)>, account: &AccountName, key: &Arc<str>, mut room: usize) {
        let mut bytes = group[0].1.bytes();
        let mut ids: HashSet<DeliveryId> = HashSet::from([group[0].1.id().clone()]);
        for lane in Lane::ALL {
            let mut rest = VecDeque::new();
            while let Some(item) = self.waiting[lane as usize].pop_front() {
                let fits = room > 0
                    && item.account() == account
                    && item.batch() == Some(key)
                    && bytes + item.bytes() <= MAX_REQUEST_BYTES
                    && !ids.contains(item.id());
                if !fits {
                    rest.push_back(item);
                    continue;
                }
                room -= 1;
                bytes += item.bytes();
                ids.insert(item.id().clone());
                group.push((lane, item));
            }
            self.waiting[lane as usize] = rest;
        }
    }
}

/// How many permits a worker keeps reserved ahead: few, so that a late urgent delivery waits for
/// few slots, and a stopping worker wastes few; more at high rates, where one trip to the store
/// must bring several.
pub fn permits_ahead(windows: &[Window]) -> u32 {
    if rate(windows) >= 50.0 { 4 } else { 2 }
}

/// How many unsettled messages to take from each lane: what a request may carry, times the
/// requests of about two seconds (those under way and those next), within bounds.
pub fn lane_prefetch(windows: &[Window], deliveries_per_request: usize) -> u16 {
    let requests = (rate(windows) * 2.0).ceil().clamp(4.0, 500.0) as usize + 4;
    u16::try_from((requests * deliveries_per_request).min(2_000)).unwrap_or(2_000)
}

/// Requests a second that a pool allows, about; the exact rate is the limiter's.
fn rate(windows: &[Window]) -> f64 {
    windows
        .iter()
        .map(|window| f64::from(window.requests) / window.length.max(Duration::from_millis(1)).as_secs_f64())
        .fold(f64::INFINITY, f64::min)
        .min(10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::TransactionId;

    #[derive(Debug, PartialEq)]
    struct Item(AccountName, DeliveryId, Option<Arc<str>>, usize);
    impl Waiting for Item {
        fn account(&self) -> &AccountName {
            &self.0
        }
        fn id(&self) -> &DeliveryId {
            &self.1
        }
        fn batch(&self) -> Option<&Arc<str>> {
            self.2.as_ref()
        }
        fn bytes(&self) -> usize {
            self.3
        }
    }

    fn item(account: &str, id: &str, batch: Option<&str>) -> Item {
        let id = DeliveryId::from(&TransactionId::new(id).unwrap());
        Item(AccountName::new(account).unwrap(), id, batch.map(Into::into), 100)
    }

    fn lanes() -> Lanes<Item> {
        Lanes::new(Weights { lower_every: 10, normal_per_low: 4 })
    }

    fn ids(group: &[(Lane, Item)]) -> Vec<&str> {
        group.iter().map(|(_, item)| item.1.as_str()).collect()
    }

    fn drain(lanes: &mut Lanes<Item>, n: usize) -> Vec<Lane> {
        (0..n).filter_map(|_| lanes.pick(|_| true, |_| 1).first().map(|(lane, _)| *lane)).collect()
    }

    #[test]
    fn with_every_lane_full_none_starves() {
        let mut lanes = lanes();
        for n in 0..1_000 {
            for (lane, name) in Lane::ALL.into_iter().zip(["r", "h", "n", "l"]) {
                lanes.push(lane, item("a", &format!("{name}{n}"), None));
            }
        }
        let picked = drain(&mut lanes, 1_000);
        let share = |lane| picked.iter().filter(|picked| **picked == lane).count();
        assert_eq!([share(Lane::Retry), share(Lane::Normal), share(Lane::Low)], [900, 80, 20]);
    }

    #[test]
    fn shares_follow_the_weights() {
        for (lower_every, normal_per_low, low) in
            [(10, 4, 200), (5, 4, 200), (2, 1, 500), (10, 9, 100), (7, 3, 250)]
        {
            let mut lanes = Lanes::new(Weights { lower_every, normal_per_low });
            for n in 0..1_000 {
                lanes.push(Lane::Normal, item("a", &format!("n{n}"), None));
                lanes.push(Lane::Low, item("a", &format!("l{n}"), None));
            }
            let picked = drain(&mut lanes, 1_000);
            let found = picked.iter().filter(|lane| **lane == Lane::Low).count();
            assert!(found.abs_diff(low) <= 3, "{lower_every} {normal_per_low}: {found} of 1000");
        }
    }

    #[test]
    fn urgent_goes_first_and_every_tenth_permit_to_the_lowest() {
        let mut lanes = lanes();
        for n in 0..20 {
            lanes.push(Lane::High, item("a", &format!("h{n}"), None));
            lanes.push(Lane::Low, item("a", &format!("l{n}"), None));
        }
        let picked = drain(&mut lanes, 20);
        assert_eq!(picked.iter().filter(|lane| **lane == Lane::Low).count(), 2);
        assert_eq!(picked[..9], [Lane::High; 9]);
    }

    #[test]
    fn normal_and_low_share_about_four_to_one() {
        let mut lanes = lanes();
        for n in 0..100 {
            lanes.push(Lane::Normal, item("a", &format!("n{n}"), None));
            lanes.push(Lane::Low, item("a", &format!("l{n}"), None));
        }
        let picked = drain(&mut lanes, 100);
        assert_eq!(picked.iter().filter(|lane| **lane == Lane::Low).count(), 20);
    }

    #[test]
    fn no_lane_starves_and_an_empty_one_costs_nothing() {
        let mut lanes = lanes();
        lanes.push(Lane::Low, item("a", "l", None));
        assert_eq!(drain(&mut lanes, 3), [Lane::Low]);
        assert!(lanes.is_empty());
    }

    #[test]
    fn a_request_carries_what_may_share_it() {
        let mut lanes = lanes();
        lanes.push(Lane::Normal, item("a", "1", Some("k")));
        lanes.push(Lane::Normal, item("b", "2", Some("k")));
        lanes.push(Lane::Normal, item("a", "3", Some("other")));
        lanes.push(Lane::Normal, item("a", "4", None));
        lanes.push(Lane::Normal, item("a", "1", Some("k")));
        lanes.push(Lane::Low, item("a", "5", Some("k")));
        lanes.push(Lane::High, item("a", "6", Some("k")));
        assert_eq!(ids(&lanes.pick(|_| true, |_| 20)), ["6", "1", "5"]);
        assert_eq!(ids(&lanes.pick(|_| true, |_| 20)), ["2"]);
        assert_eq!(lanes.len(), 3);
    }

    #[test]
    fn a_request_stays_within_its_numbers_and_bytes() {
        let mut lanes = lanes();
        for n in 0..10 {
            lanes.push(Lane::Normal, item("a", &n.to_string(), Some("k")));
        }
        assert_eq!(lanes.pick(|_| true, |_| 4).len(), 4);
        let mut big = item("a", "big", Some("k"));
        big.3 = MAX_REQUEST_BYTES;
        lanes.push(Lane::High, big);
        assert_eq!(ids(&lanes.pick(|_| true, |_| 20)), ["big"]);
    }

    #[test]
    fn a_paused_account_is_passed_over() {
        let mut lanes = lanes();
        lanes.push(Lane::High, item("a", "1", None));
        lanes.push(Lane::Low, item("b", "2", None));
        assert_eq!(ids(&lanes.pick(|account| account.as_str() == "b", |_| 1)), ["2"]);
        assert!(lanes.pick(|account| account.as_str() == "b", |_| 1).is_empty());
    }

    #[test]
    fn prefetch_and_permits_follow_the_rate() {
        let minute = |requests| [Window { requests, length: Duration::from_secs(60) }];
        for (requests, per_request, prefetch, ahead) in
            [(600, 1, 24, 2), (600, 20, 480, 2), (10_000, 1, 338, 4), (2, 1, 8, 2), (u32::MAX, 20, 2_000, 4)]
        {
            assert_eq!(lane_prefetch(&minute(requests), per_request), prefetch, "{requests}");
            assert_eq!(permits_ahead(&minute(requests)), ahead, "{requests}");
        }
    }
}
