//! A claim's record and what becomes of it. Pure: as the store that workers share has it in
//! `redis/claim.lua`, `settle.lua` and `record.lua`.

use serde::{Deserialize, Serialize};

use super::health::{Admission, PROBE_WAIT, from_millis};
use crate::ports::{ClaimRequest, Fenced, History, Pause, Purpose};
use crate::verdict::Outcome;

/// Ends of earlier publishings that are kept: their messages may still come again.
const MOST_EARLIER: usize = 8;

/// Duplicates that were told and are kept: their messages may still come again, after a replay.
const MOST_DUPLICATES: usize = 8;

/// Replays seen that are kept.
const MOST_REPLAYS: usize = 16;

/// What the holder of a claim that has not ended is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Nobody holds it.
    Idle,
    /// Its holder sends; since when, on the wall clock.
    Sending {
        /// The start of the attempt.
        since: i64,
    },
    /// Its holder ends it without a request.
    Ending,
}

/// A lease, on the steady clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    ends: i64,
    length: i64,
}

/// A claim that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Live {
    phase: Phase,
    /// Of the last holder; empty when its wish counts as never made.
    token: String,
    lease: Lease,
    requests: u32,
    retries: u32,
    first: Option<i64>,
    unresolved: Option<i64>,
}

/// A claim that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Over {
    /// Which claim ended it.
    token: String,
    instance: String,
    outcome: Outcome,
}

/// What is known of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Whether it has ended.
    #[serde(flatten)]
    stage: StageOf,
    /// Replays seen, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replays: Vec<String>,
    /// Ends of earlier publishings, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<(String, Outcome)>,
    /// Publishings that were told to be duplicates, each with the end that they are duplicates of,
    /// newest first: a replay may override that end, and they must not end a second time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    duplicates: Vec<(String, Outcome)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StageOf {
    Live(Live),
    Over(Over),
}

/// What a wish for a claim came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// It is the caller's, with this history.
    Acquired { history: History, probe: bool },
    /// Somebody holds it, for this long at most, in milliseconds.
    Held(i64),
    /// It has ended.
    Ended { outcome: Outcome, same: bool },
    /// The account is paused.
    Paused(Pause),
}

/// The moment of a wish and the length of a lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Wall clock, ms.
    pub(super) wall: i64,
    /// Steady clock, ms.
    pub(super) steady: i64,
    /// How long a lease lasts, ms.
    pub(super) lease: i64,
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}

/// Decides on a wish: what to answer, and what to write, if anything. `admission` says whether the
/// account's health lets a claim to send through; it is asked only where that matters.
pub(super) fn claim(
    record: Option<Record>,
    wish: &ClaimRequest,
    now: Now,
    admission: impl FnOnce() -> Admission,
) -> (Decision, Option<Record>) {
    let replay = wish.replay.as_deref().unwrap_or("");
    let fresh = record.is_none();
    let mut record = record.unwrap_or_else(|| Record {
        stage: StageOf::Live(Live::fresh()),
        replays: Vec::new(),
        earlier: Vec::new(),
        duplicates: Vec::new(),
    });
    let seen = replay.is_empty() || record.replays.iter().any(|known| known == replay);
    if seen && let Some((outcome, same)) = record.end_for(wish.instance.as_str()) {
        let noted = !same && record.note_duplicate(wish.instance.as_str(), &outcome);
        return (Decision::Ended { outcome, same }, noted.then_some(record));
    }
    record.reopen();
    let mut changed = false;
    if let StageOf::Live(live) = &mut record.stage
        && !fresh
    {
        match live.meet(&wish.token, now) {
            Met::Free => {}
            Met::Ours => changed = true,
            Met::Held { rest, corrected } => {
                return (Decision::Held(rest), corrected.then_some(record));
            }
        }
    }
    let probe = match wish.purpose {
        Purpose::End => false,
        Purpose::Send => match admission() {
            Admission::Open { probe } => probe,
            Admission::Closed(pause) => return (Decision::Paused(pause), changed.then_some(record)),
        },
    };
    let StageOf::Live(live) = &mut record.stage else {
        // `reopen` has just made it one.
        return (Decision::Held(PROBE_WAIT), None);
    };
    let history = live.acquire(wish, now);
    if !seen {
        record.replays.insert(0, replay.to_owned());
        record.replays.truncate(MOST_REPLAYS);
    }
    (Decision::Acquired { history, probe }, Some(record))
}

/// Who a wish meets at a claim that has not ended.
enum Met {
    /// Nobody.
    Free,
    /// Itself: the answer to this very wish was lost, and nothing is sent before one is read.
    Ours,
    /// A holder, or a trace of itself that it must not take up again.
    Held { rest: i64, corrected: bool },
}

impl Live {
    const fn fresh() -> Self {
        Self {
            phase: Phase::Idle,
            token: String::new(),
            lease: Lease { ends: 0, length: 0 },
            requests: 0,
            retries: 0,
            first: None,
            unresolved: None,
        }
    }

    fn meet(&mut self, token: &str, now: Now) -> Met {
        let since = match self.phase {
            // A wish that was repeated, granted and released meanwhile, and only now runs first.
            Phase::Idle if self.token == token => return Met::Held { rest: PROBE_WAIT, corrected: false },
            Phase::Idle => return Met::Free,
            Phase::Sending { since } => Some(since),
            Phase::Ending => None,
        };
        // A clock that went back must not make a lease last for the length of the step.
        let corrected = self.lease.ends - now.steady > self.lease.length;
        if corrected {
            self.lease.ends = now.steady + self.lease.length;
        }
        if self.token == token {
            if since.is_some() {
                self.requests = self.requests.saturating_sub(1);
                if self.first == since {
                    self.first = None;
                }
            }
            self.phase = Phase::Idle;
            self.token.clear();
            return Met::Ours;
        }
        if now.steady < self.lease.ends {
            return Met::Held { rest: self.lease.ends - now.steady, corrected };
        }
        // The holder died while sending: nobody knows what became of its request.
        self.unresolved = earliest(self.unresolved, since);
        Met::Free
    }

    /// Makes it the caller's; what was known before is its history.
    fn acquire(&mut self, wish: &ClaimRequest, now: Now) -> History {
        let remembered = wish.remembered;
        let before = History {
            requests: self.requests.max(remembered.requests),
            retries: self.retries.max(remembered.retries),
            first_attempt_ms: earliest(self.first, remembered.first_attempt_ms),
            unresolved_ms: earliest(self.unresolved, remembered.unresolved_ms),
        };
        let (phase, requests, first) = match wish.purpose {
            Purpose::Send => {
                let first = earliest(before.first_attempt_ms, Some(now.wall));
                (Phase::Sending { since: now.wall }, before.requests + 1, first)
            }
            Purpose::End => (Phase::Ending, before.requests, before.first_attempt_ms),
        };
        *self = Self {
            phase,
            token: wish.token.clone(),
            lease: Lease { ends: now.steady + now.lease, length: now.lease },
            requests,
            retries: before.retries,
            first,
            unresolved: before.unresolved_ms,
        };
        before
    }

    fn is_of(&self, token: &str) -> bool {
        match self.phase {
            Phase::Idle => false,
            Phase::Sending { .. } | Phase::Ending => self.token == token,
        }
    }
}

impl Record {
    /// How this publishing ended, or how another one did that blocks it.
    fn end_for(&self, instance: &str) -> Option<(Outcome, bool)> {
        let over = match &self.stage {
            StageOf::Over(over) => Some(over),
            StageOf::Live(_) => None,
        };
        if let Some(own) = over.filter(|over| over.instance == instance) {
            return Some((own.outcome.clone(), true));
        }
        if let Some((_, outcome)) = self.earlier.iter().find(|(known, _)| known == instance) {
            return Some((outcome.clone(), true));
        }
        if let Some((_, outcome)) = self.duplicates.iter().find(|(known, _)| known == instance) {
            return Some((outcome.clone(), false));
        }
        over.filter(|over| over.outcome.blocks()).map(|over| (over.outcome.clone(), false))
    }

    /// Remembers that a publishing is the duplicate of an end, unless that is known.
    fn note_duplicate(&mut self, instance: &str, of: &Outcome) -> bool {
        if self.duplicates.iter().any(|(known, _)| known == instance) {
            return false;
        }
        self.duplicates.insert(0, (instance.to_owned(), of.clone()));
        self.duplicates.truncate(MOST_DUPLICATES);
        true
    }

    /// An end that keeps nobody from sending becomes one of the earlier ones.
    fn reopen(&mut self) {
        let StageOf::Over(over) = &self.stage else { return };
        let last = (over.instance.clone(), over.outcome.clone());
        self.earlier.retain(|(known, _)| *known != last.0);
        self.earlier.insert(0, last);
        self.earlier.truncate(MOST_EARLIER);
        self.stage = StageOf::Live(Live::fresh());
    }

    /// Whether the claim `token` still holds it.
    pub(super) fn is_of(&self, token: &str) -> bool {
        match &self.stage {
            StageOf::Live(live) => live.token == token,
            StageOf::Over(_) => false,
        }
    }

    /// A word for people who look into the file, and for tests.
    pub(super) const fn state(&self) -> &'static str {
        match &self.stage {
            StageOf::Live(Live { phase: Phase::Idle, .. }) => "idle",
            StageOf::Live(Live { phase: Phase::Sending { .. }, .. }) => "sending",
            StageOf::Live(Live { phase: Phase::Ending, .. }) => "ending",
            StageOf::Over(_) => "ended",
        }
    }
}

/// What a holder leaves behind.
pub(super) enum Left {
    /// The delivery's end, by this publishing of it.
    End { instance: String, outcome: Outcome },
    /// Its history, and nobody who holds it.
    Release(History),
}

/// Ends or releases a claim, if it is still the caller's. `Some` is to be written; then, and only
/// then, what the attempt said of the provider's health counts.
pub(super) fn settle(record: Option<Record>, token: &str, left: Left) -> (Fenced, Option<Record>) {
    let (mut replays, mut earlier, mut duplicates) = (Vec::new(), Vec::new(), Vec::new());
    // A record that is gone altogether was lost: nobody else holds it, and what is known is kept.
    if let Some(record) = record {
        match (&record.stage, &left) {
            (StageOf::Over(over), Left::End { .. }) => return (Fenced(over.token != token), None),
            (StageOf::Over(_), Left::Release(_)) => return (Fenced(true), None),
            (StageOf::Live(live), Left::Release(_)) if live.phase == Phase::Idle && live.token == token => {
                return (Fenced(false), None);
            }
            (StageOf::Live(live), _) if !live.is_of(token) => return (Fenced(true), None),
            (StageOf::Live(_), _) => {}
        }
        (replays, earlier, duplicates) = (record.replays, record.earlier, record.duplicates);
    }
    let token = token.to_owned();
    let stage = match left {
        Left::End { instance, outcome } => StageOf::Over(Over { token, instance, outcome }),
        Left::Release(history) => StageOf::Live(Live {
            token,
            requests: history.requests,
            retries: history.retries,
            first: history.first_attempt_ms,
            unresolved: history.unresolved_ms,
            ..Live::fresh()
        }),
    };
    (Fenced(false), Some(Record { stage, replays, earlier, duplicates }))
}

/// The longest that a wish is told to wait.
pub(super) fn wait(ms: i64) -> std::time::Duration {
    from_millis(ms)
}

#[cfg(test)]
mod tests;
