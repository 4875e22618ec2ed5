//! What a run with faults came to: each publishing against its ends, each end against what the
//! providers took. Pure, so that what a measurement rests on is itself tested
//! (`cargo test --test figures`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A delivery: its account and its id.
pub type Key = (String, String);

/// An end that a receipt told of, however often it was repeated, at this time of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub status: String,
    pub reason: Option<String>,
    pub at: Duration,
}

/// A push that a provider took, at this time of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub delivery: Key,
    pub at: Duration,
}

/// A time in which the store lost its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    pub begun: Duration,
    pub over: Duration,
}

impl Loss {
    /// Whether it lies between the first of these times and the last.
    fn is_within(&self, times: &[Duration]) -> bool {
        let first = times.iter().min().is_some_and(|first| *first <= self.over);
        first && times.iter().max().is_some_and(|last| *last >= self.begun)
    }
}

/// The counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Publishings of a delivery without an end.
    pub lost: Vec<Key>,
    /// Ends beyond the publishings, or of what nobody published, without an excuse.
    pub invented: Vec<Key>,
    /// Ends beyond the publishings of a delivery that ended before and after the store lost its data:
    /// redelivered, it was handled as if for the first time, and ended otherwise.
    pub ended_across_a_loss: Vec<Key>,
    /// Dead letters of which no receipt tells, without an excuse.
    pub untold_letters: usize,
    /// Those that were written before the store lost its data: redelivered, the delivery ended otherwise.
    pub letters_across_a_loss: usize,
    /// Told as delivered, and never taken.
    pub untaken: Vec<Key>,
    /// Taken, and told as neither delivered nor uncertain.
    pub untold: Vec<Key>,
    /// Taken twice without an excuse.
    pub twice: Vec<Key>,
    /// Taken twice by an account that asks for it.
    pub resent: usize,
    /// Taken before and after the store lost its data.
    pub across_a_loss: usize,
    /// Told as delivered before and after it: also what was published twice, or pushes nothing.
    pub delivered_across_a_loss: usize,
}

/// What the counts are made from.
pub struct Evidence<'a> {
    /// How often each delivery was published.
    pub published: &'a BTreeMap<Key, usize>,
    /// The ends that were told.
    pub ends: &'a BTreeMap<Key, Vec<End>>,
    /// What the providers took, of operations that push.
    pub taken: &'a [Taken],
    /// Deliveries of operations that push nothing.
    pub pushes_nothing: &'a BTreeSet<Key>,
    /// When each dead letter was written of which no receipt tells.
    pub untold_letters: &'a [Duration],
    /// When the store lost its data.
    pub losses: &'a [Loss],
    /// The account that sends again what may have been sent.
    pub resending: &'a str,
}

/// Counts.
pub fn judge(evidence: &Evidence<'_>) -> Counts {
    let mut counts = Counts::default();
    count_ends(evidence, &mut counts);
    let forgotten = |written: &&Duration| evidence.losses.iter().any(|loss| **written <= loss.over);
    counts.letters_across_a_loss = evidence.untold_letters.iter().filter(forgotten).count();
    counts.untold_letters = evidence.untold_letters.len() - counts.letters_across_a_loss;
    let mut times: BTreeMap<&Key, Vec<Duration>> = BTreeMap::new();
    for taken in evidence.taken {
        times.entry(&taken.delivery).or_default().push(taken.at);
    }
    for (delivery, at) in &times {
        count_taken(evidence, delivery, at, &mut counts);
    }
    for (delivery, ends) in evidence.ends {
        let told = ends.iter().any(|end| end.status == "delivered");
        let delivered: Vec<Duration> =
            ends.iter().filter(|end| end.status == "delivered").map(|end| end.at).collect();
        let lost_between = evidence.losses.iter().any(|loss| loss.is_within(&delivered));
        counts.delivered_across_a_loss += usize::from(delivered.len() > 1 && lost_between);
        if told && !times.contains_key(delivery) && !evidence.pushes_nothing.contains(delivery) {
            counts.untaken.push(delivery.clone());
        }
    }
    counts
}

fn count_ends(evidence: &Evidence<'_>, counts: &mut Counts) {
    for (delivery, publishings) in evidence.published {
        let ends = evidence.ends.get(delivery).map_or(&[][..], Vec::as_slice);
        counts.lost.extend((ends.len()..*publishings).map(|_| delivery.clone()));
        let times: Vec<Duration> = ends.iter().map(|end| end.at).collect();
        let excused = evidence.losses.iter().any(|loss| loss.is_within(&times));
        let beyond = if excused { &mut counts.ended_across_a_loss } else { &mut counts.invented };
        beyond.extend((*publishings..ends.len()).map(|_| delivery.clone()));
    }
    let unknown = evidence.ends.iter().filter(|(delivery, _)| !evidence.published.contains_key(*delivery));
    counts.invented.extend(unknown.flat_map(|(delivery, ends)| ends.iter().map(|_| delivery.clone())));
}

fn count_taken(evidence: &Evidence<'_>, delivery: &Key, at: &[Duration], counts: &mut Counts) {
    let lost_between = evidence.losses.iter().any(|loss| loss.is_within(at));
    match (at.len() > 1, delivery.0 == evidence.resending, lost_between) {
        (false, _, _) => {}
        (true, true, _) => counts.resent += 1,
        (true, false, true) => counts.across_a_loss += 1,
        (true, false, false) => counts.twice.push(delivery.clone()),
    }
    let told = |end: &End| end.status == "delivered" || end.reason.as_deref() == Some("uncertain");
    let forgotten = evidence.losses.iter().any(|loss| at.iter().any(|time| *time <= loss.over));
    if !forgotten && !evidence.ends.get(delivery).is_some_and(|ends| ends.iter().any(told)) {
        counts.untold.push(delivery.clone());
    }
}
