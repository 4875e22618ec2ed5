//! Counts of letters, and pages of them, newest first. Memory does not grow with their number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::sweep::Sweep;
use super::{Facts, Filter, Sight};
use crate::ports::{DeadLetters, Intent, Letter, LettersError};

/// The most groups that are told apart; letters of all others count as one more.
const MOST_GROUPS: usize = 1_000;

/// A place in the order of letters: when it died, and its id. Later ones are greater; those of which
/// that time is not known are the least.
type Rank = (Option<Timestamp>, Reverse<String>);

fn rank(facts: &Facts) -> Rank {
    (facts.dead_at, Reverse(facts.dead_id.clone()))
}

/// Where a page ends, so that the next one begins behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    at: Option<Timestamp>,
    id: String,
}

impl Cursor {
    /// Behind this letter.
    pub fn behind(facts: &Facts) -> Self {
        Self { at: facts.dead_at, id: facts.dead_id.clone() }
    }

    fn rank(&self) -> Rank {
        (self.at, Reverse(self.id.clone()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{}@{}", self.id, at.as_nanosecond()),
            None => write!(f, "{}@", self.id),
        }
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, at) = text.split_once('@').ok_or("has no @")?;
        let at = match at {
            "" => None,
            nanos => {
                let nanos: i128 = nanos.parse().map_err(|_| "has no number behind the @")?;
                Some(Timestamp::from_nanosecond(nanos).map_err(|error| error.to_string())?)
            }
        };
        Ok(Self { at, id: id.to_owned() })
    }
}

/// Which part of the letters is wanted.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// At most so many.
    pub limit: usize,
    /// Only those behind it.
    pub after: Option<Cursor>,
}

/// Letters that have account, operation and reason in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Their account.
    pub account: String,
    /// Their operation.
    pub operation: String,
    /// Their reason.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// When the first one died.
    pub oldest: Option<Timestamp>,
    /// When the last one died.
    pub newest: Option<Timestamp>,
}

/// Counts by group.
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<[String; 3], (u64, Option<Timestamp>, Option<Timestamp>)>);

impl Groups {
    pub(super) fn add(&mut self, facts: &Facts) {
        let mut key = [&facts.account, &facts.operation, &facts.reason].map(Clone::clone);
        if self.0.len() >= MOST_GROUPS && !self.0.contains_key(&key) {
            key = ["(others)", "", ""].map(str::to_owned);
        }
        let (count, oldest, newest) = self.0.entry(key).or_default();
        *count += 1;
        *oldest = [*oldest, facts.dead_at].into_iter().flatten().min();
        *newest = (*newest).max(facts.dead_at);
    }

    /// The largest first.
    pub(super) fn into_list(self) -> Vec<Group> {
        let groups = self.0.into_iter().map(|([account, operation, reason], (count, oldest, newest))| {
            Group { account, operation, reason, count, oldest, newest }
        });
        let mut list: Vec<Group> = groups.collect();
        list.sort_by_key(|group| Reverse(group.count));
        list
    }
}

/// A page of letters, and counts of all that are meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Letters that are there.
    pub total: u64,
    /// Of these, how many are meant.
    pub matched: u64,
    /// Counts of those that are meant.
    pub groups: Vec<Group>,
    /// The page, newest first.
    pub letters: Vec<Facts>,
    /// Where the next page begins; `None` where this is the last.
    pub next: Option<Cursor>,
    /// Whether it was stopped before all were looked at.
    pub stopped: bool,
}

/// Reads all letters once.
///
/// # Errors
/// When they can't be read to the end.
pub async fn list(
    letters: &dyn DeadLetters,
    filter: &Filter,
    page: &Page,
    sight: &mut dyn Sight,
    stop: &CancellationToken,
) -> Result<Listing, LettersError> {
    let mut sweep = Sweep::begin(letters, Intent::Look, sight, stop).await?;
    let mut taking = Taking::new(page);
    let (mut groups, mut matched) = (Groups::default(), 0);
    while !stop.is_cancelled()
        && let Some(letter) = sweep.next().await?
    {
        let facts = Facts::of(&letter);
        if filter.means(&facts) {
            matched += 1;
            groups.add(&facts);
            taking.take(facts);
        }
        sight.seen(sweep.seen(matched, matched));
    }
    let total = sweep.seen(0, 0).total;
    sweep.end().await;
    let (letters, next) = taking.into_page();
    Ok(Listing { total, matched, groups: groups.into_list(), letters, next, stopped: stop.is_cancelled() })
}

/// The letters of a page so far.
struct Taking {
    limit: usize,
    below: Option<Rank>,
    kept: BTreeMap<Rank, Facts>,
    /// Whether there are more behind it.
    more: bool,
}

impl Taking {
    fn new(page: &Page) -> Self {
        let below = page.after.as_ref().map(Cursor::rank);
        Self { limit: page.limit, below, kept: BTreeMap::new(), more: false }
    }

    fn take(&mut self, facts: Facts) {
        let rank = rank(&facts);
        if self.below.as_ref().is_some_and(|below| rank >= *below) {
            return;
        }
        self.kept.insert(rank, facts);
        if self.kept.len() > self.limit {
            self.kept.pop_first();
            self.more = true;
        }
    }

    fn into_page(self) -> (Vec<Facts>, Option<Cursor>) {
        let page: Vec<Facts> = self.kept.into_values().rev().collect();
        let next = page.last().filter(|_| self.more).map(Cursor::behind);
        (page, next)
    }
}

/// The letter of an id, and where it lies in the order of letters.
///
/// # Errors
/// When the letters can't be read so far.
pub async fn find(
    letters: &dyn DeadLetters,
    id: &str,
    sight: &mut dyn Sight,
    stop: &CancellationToken,
) -> Result<Option<Letter>, LettersError> {
    let mut sweep = Sweep::begin(letters, Intent::Look, sight, stop).await?;
    let mut found = None;
    while found.is_none()
        && !stop.is_cancelled()
        && let Some(letter) = sweep.next().await?
    {
        sight.seen(sweep.seen(0, 0));
        found = Some(letter).filter(|letter| Facts::of(letter).dead_id == id);
    }
    sweep.end().await;
    Ok(found)
}

/// The ids that were asked for and not found.
pub(super) fn missing(filter: &Filter, found: &BTreeSet<String>) -> Vec<String> {
    filter.ids.difference(found).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::filter::testing::letter;

    fn facts(number: u32, at: Option<i64>) -> Facts {
        let facts = Facts::of(&letter("{}", &[]));
        let dead_at = at.map(|at| Timestamp::from_second(at).unwrap());
        Facts { dead_id: format!("{number:032x}"), dead_at, ..facts }
    }

    fn numbers(page: &[Facts]) -> Vec<u32> {
        page.iter().map(|facts| u32::from_str_radix(&facts.dead_id, 16).unwrap()).collect()
    }

    #[test]
    fn pages_follow_one_another_newest_first_in_whatever_order_letters_come() {
        let all =
            [(1, Some(5)), (2, Some(9)), (3, None), (4, Some(5)), (5, Some(7)), (6, None), (2, Some(9))];
        let expected = [2, 5, 1, 4, 3, 6];
        for limit in 1..=7 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let mut taking = Taking::new(&Page { limit, after });
                for (number, at) in all {
                    taking.take(facts(number, at));
                }
                let (page, next) = taking.into_page();
                assert!(page.len() <= limit);
                seen.extend(numbers(&page));
                let Some(next) = next else { break };
                after = Some(next.to_string().parse().unwrap());
            }
            assert_eq!(seen, expected, "pages of {limit}");
        }
    }

    #[test]
    fn a_cursor_that_is_none_is_refused() {
        for text in ["", "abc", "abc@x", "abc@99999999999999999999999999999999"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn groups_are_counted_with_their_times_and_bounded() {
        let mut groups = Groups::default();
        for (number, at) in [(1, Some(5)), (2, None), (3, Some(3))] {
            groups.add(&facts(number, at));
        }
        for number in 0..MOST_GROUPS + 50 {
            groups.add(&Facts { account: format!("a{number}"), ..facts(9, None) });
        }
        let list = groups.into_list();
        assert_eq!(list.len(), MOST_GROUPS + 1);
        assert_eq!((list[0].account.as_str(), list[0].count), ("(others)", 51));
        let second = |at: Option<Timestamp>| at.map(Timestamp::as_second);
        assert_eq!((list[1].count, second(list[1].oldest), second(list[1].newest)), (3, Some(3), Some(5)));
    }
}
