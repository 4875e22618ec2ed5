//! The ledger: all that arrived, in order, and what it adds up to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One request that arrived whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number, from 0, without gaps until the ledger is cleared.
    pub seq: u64,
    /// When its last byte was read, in microseconds since the simulator's start.
    pub at_us: u64,
    /// The provider; `None` for a path that is nobody's.
    pub provider: Option<String>,
    /// The operation; the method and path where it is nobody's.
    pub operation: String,
    /// The account, as [`super::fingerprint`] names it; `None` when the request could not be read.
    pub account: Option<Arc<str>>,
    /// Whether it used up the account's limit.
    pub counted: bool,
    /// Whether it was refused for the limit.
    pub throttled: bool,
    /// The answer's status; `None` when none is given.
    pub status: Option<u16>,
    /// The fault applied to it, as in `--fault`.
    pub fault: Option<String>,
    /// Its deliveries, in order.
    pub deliveries: Vec<DeliveryRecord>,
}

impl Entry {
    fn records(&self) -> usize {
        1 + self.deliveries.len()
    }
}

/// One delivery of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// Pushwoosh's `transactionId`, MoEngage's `campaignName`; for the other calls the message or
    /// campaign that they are about, or the `request_id`.
    pub id: Option<String>,
    /// What two accepted deliveries of an account must not share; `None` where a repeat does no
    /// harm or nothing tells one from another.
    pub key: Option<String>,
    /// What became of it.
    pub outcome: DeliveryOutcome,
    /// The provider's code, when accepted or suppressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// Taken: a push goes out.
    Accepted,
    /// Known already: no second push goes out.
    Suppressed,
    /// Done, and no push goes out for it: a read, a change, a cancellation.
    Done,
    /// Looked at and not taken.
    Refused,
    /// Not looked at.
    NotReached,
}

/// A part of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The entries, oldest first.
    pub entries: Vec<Entry>,
    /// The number to ask for next.
    pub next: u64,
    /// How many entries the ledger has dropped to stay within its bound.
    pub dropped: u64,
}

/// Counts of requests and of their deliveries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that arrived whole.
    pub requests: u64,
    /// Those that used up a limit.
    pub counted: u64,
    /// Those refused for the limit.
    pub throttled: u64,
    /// Those that a fault was applied to.
    pub faults: u64,
    /// Deliveries taken.
    pub accepted: u64,
    /// Deliveries known already.
    pub suppressed: u64,
    /// Reads, changes and cancellations that were done.
    #[serde(default)]
    pub done: u64,
    /// Deliveries looked at and not taken.
    pub refused: u64,
    /// Deliveries not looked at.
    pub not_reached: u64,
}

impl Counts {
    fn add(&mut self, entry: &Entry) {
        self.requests += 1;
        self.counted += u64::from(entry.counted);
        self.throttled += u64::from(entry.throttled);
        self.faults += u64::from(entry.fault.is_some());
        for delivery in &entry.deliveries {
            *match delivery.outcome {
                DeliveryOutcome::Accepted => &mut self.accepted,
                DeliveryOutcome::Suppressed => &mut self.suppressed,
                DeliveryOutcome::Done => &mut self.done,
                DeliveryOutcome::Refused => &mut self.refused,
                DeliveryOutcome::NotReached => &mut self.not_reached,
            } += 1;
        }
    }
}

/// What the ledger adds up to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Over all requests.
    #[serde(flatten)]
    pub counts: Counts,
    /// Requests for a path that is nobody's.
    pub unknown_paths: u64,
    /// By account.
    pub accounts: Vec<AccountSummary>,
    /// What was accepted more than once.
    pub accepted_twice: Vec<Twice>,
    /// Entries dropped to stay within the ledger's bound. What was accepted by one of them and
    /// again later is not noticed.
    pub dropped: u64,
}

/// One account's part of the summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// The provider.
    pub provider: String,
    /// The account, as [`super::fingerprint`] names it.
    pub account: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The most requests that used up the provider's main limit in any window, throttled ones
    /// among them.
    pub most_in_window: usize,
    /// The length of the window in seconds.
    pub window_seconds: f64,
    /// The limit; `None` for none.
    pub limit: Option<u32>,
    /// The windows of its further pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolSummary>,
}

/// One window of a pool beside the main one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// The pool's name, as in [`super::Rules::pools`].
    pub pool: String,
    /// The most requests that arrived in any window, throttled ones among them.
    pub most_in_window: usize,
    /// The length of the window in seconds.
    pub window_seconds: f64,
    /// The limit; `None` for none.
    pub limit: Option<u32>,
}

/// A delivery that was accepted more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twice {
    /// The provider.
    pub provider: String,
    /// The account, as [`super::fingerprint`] names it.
    pub account: String,
    /// The key that they share.
    pub key: String,
    /// How often.
    pub times: u32,
}

/// Provider, account, key.
type Identity = (String, Arc<str>, String);

/// All that arrived.
pub struct Ledger {
    entries: VecDeque<Entry>,
    next: u64,
    dropped: u64,
    records: usize,
    capacity: usize,
    counts: Counts,
    unknown_paths: u64,
    accounts: HashMap<Arc<str>, Counts>,
    accepted: HashMap<Identity, u32>,
    twice: BTreeMap<Identity, u32>,
}

impl Ledger {
    /// An empty ledger that keeps at most so many records.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            next: 0,
            dropped: 0,
            records: 0,
            capacity,
            counts: Counts::default(),
            unknown_paths: 0,
            accounts: HashMap::new(),
            accepted: HashMap::new(),
            twice: BTreeMap::new(),
        }
    }

    /// The most records it keeps.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Adds an arrival; its number is given here.
    pub fn add(&mut self, at: Duration, mut entry: Entry) {
        entry.seq = self.next;
        entry.at_us = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        self.next += 1;
        self.count(&entry);
        self.note_accepted(&entry);
        self.records += entry.records();
        self.entries.push_back(entry);
        self.shrink();
    }

    /// At most `limit` entries from number `since` on.
    pub fn page(&self, since: u64, limit: usize) -> Page {
        let skip = usize::try_from(since.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        let entries: Vec<Entry> = self.entries.iter().skip(skip).take(limit).cloned().collect();
        let next = entries.last().map_or(since.max(self.dropped).min(self.next), |last| last.seq + 1);
        Page { entries, next, dropped: self.dropped }
    }

    /// What it adds up to; the caller fills in the accounts.
    pub fn totals(&self) -> Summary {
        let accepted_twice = self.twice.iter().map(|((provider, account, key), &times)| Twice {
            provider: provider.clone(),
            account: account.to_string(),
            key: key.clone(),
            times,
        });
        Summary {
            counts: self.counts,
            unknown_paths: self.unknown_paths,
            accounts: Vec::new(),
            accepted_twice: accepted_twice.collect(),
            dropped: self.dropped,
        }
    }

    /// One account's counts.
    pub fn counts_of(&self, account: &str) -> Counts {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    fn count(&mut self, entry: &Entry) {
        self.counts.add(entry);
        self.unknown_paths += u64::from(entry.provider.is_none());
        if let Some(account) = &entry.account {
            self.accounts.entry(account.clone()).or_default().add(entry);
        }
    }

    fn note_accepted(&mut self, entry: &Entry) {
        for identity in accepted_identities(entry) {
            let times = self.accepted.entry(identity.clone()).or_default();
            *times += 1;
            if *times > 1 {
                self.twice.insert(identity, *times);
            }
        }
    }

    fn shrink(&mut self) {
        while self.records > self.capacity
            && let Some(entry) = self.entries.pop_front()
        {
            self.records -= entry.records();
            self.dropped += 1;
            for identity in accepted_identities(&entry) {
                self.accepted.remove(&identity);
            }
        }
    }
}

fn accepted_identities(entry: &Entry) -> impl Iterator<Item = Identity> {
    let whose = entry.provider.as_ref().zip(entry.account.as_ref());
    let keys = entry
        .deliveries
        .iter()
        .filter(|delivery| delivery.outcome == DeliveryOutcome::Accepted)
        .filter_map(|delivery| delivery.key.clone());
    whose
        .into_iter()
        .flat_map(move |(provider, account)| keys.clone().map(|key| (provider.clone(), account.clone(), key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(ids: &[(&str, DeliveryOutcome)]) -> Entry {
        let deliveries = ids.iter().map(|&(id, outcome)| DeliveryRecord {
            id: Some(id.into()),
            key: Some(id.into()),
            outcome,
            code: None,
        });
        Entry {
            seq: 0,
            at_us: 0,
            provider: Some("pushwoosh".into()),
            operation: "createMessage".into(),
            account: Some("a".into()),
            counted: true,
            throttled: false,
            status: Some(200),
            fault: None,
            deliveries: deliveries.collect(),
        }
    }

    #[test]
    fn accepted_twice_is_noticed_and_suppressed_is_not() {
        let mut ledger = Ledger::new(100);
        let (accepted, suppressed) = (DeliveryOutcome::Accepted, DeliveryOutcome::Suppressed);
        for ids in [
            vec![("one", accepted), ("two", accepted)],
            vec![("one", suppressed), ("two", accepted)],
            vec![("two", accepted), ("three", accepted)],
        ] {
            ledger.add(Duration::ZERO, arrival(&ids));
        }
        let totals = ledger.totals();
        let twice: Vec<(&str, u32)> =
            totals.accepted_twice.iter().map(|twice| (twice.key.as_str(), twice.times)).collect();
        assert_eq!(twice, [("two", 3)]);
        assert_eq!((totals.counts.requests, totals.counts.accepted, totals.counts.suppressed), (3, 5, 1));
        assert_eq!(ledger.counts_of("a"), totals.counts);
        assert_eq!(ledger.counts_of("b"), Counts::default());
    }

    #[test]
    fn the_bound_drops_the_oldest_and_keeps_the_counts() {
        let mut ledger = Ledger::new(7);
        for _ in 0..5 {
            ledger.add(Duration::from_millis(3), arrival(&[("x", DeliveryOutcome::Refused); 2]));
        }
        let page = ledger.page(0, 100);
        assert_eq!((page.entries.len(), page.entries[0].seq, page.next, page.dropped), (2, 3, 5, 3));
        assert_eq!((ledger.totals().counts.refused, page.entries[0].at_us), (10, 3000));
    }

    #[test]
    fn pages_follow_one_another_without_gaps() {
        let mut ledger = Ledger::new(1000);
        for _ in 0..5 {
            ledger.add(Duration::ZERO, arrival(&[]));
        }
        let mut seen = Vec::new();
        let mut since = 0;
        loop {
            let page = ledger.page(since, 2);
            if page.entries.is_empty() {
                break;
            }
            seen.extend(page.entries.iter().map(|entry| entry.seq));
            since = page.next;
        }
        assert_eq!((seen, since), (vec![0, 1, 2, 3, 4], 5));
        assert_eq!(ledger.page(99, 2).next, 5);
    }
}
