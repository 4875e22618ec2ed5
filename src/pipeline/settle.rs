//! What becomes of a delivery after an attempt, and what is written about it.
//!
//! The order of effects is the promise: an end is written to its claim first, then its dead
//! letter, then its receipt, then the message is acked. Whatever fails in between leaves the
//! message with the broker, and the claim answers for it when it comes again.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::backoff;
use crate::config::RetryConfig;
use crate::job::{AccountName, DeliveryId, Object, TransactionId, json_of};
use crate::pipeline::claim::WINDOW_MARGIN;
use crate::pipeline::envelope::{Envelope, HISTORY};
use crate::pipeline::trace;
use crate::ports::{Destination, History, LADDER_SECONDS, Outgoing, Place};
use crate::providers::Repeat;
use crate::verdict::{Acceptance, DeadReason, Fate, Json, Outcome, Status};

/// The longest wait that a provider in trouble can ask for one delivery; a larger number would kill
/// what an hour may mend.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The longest `detail`, in characters.
const MAX_DETAIL: usize = 1_000;

/// What the decision about a delivery's future rests on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// Its attempts before this one.
    pub before: History,
    /// When this attempt was claimed, by the store's clock.
    pub claimed_ms: i64,
    /// Whether it may be sent again when its outcome is not known.
    pub repeat: Repeat,
    /// Whether it was the one that found out whether a paused account works again: then a failure
    /// is the provider's, and uses up no retry.
    pub probe: bool,
    /// Time since it was published, or since it was first allowed to be sent.
    pub age: Duration,
    /// The retry policy.
    pub policy: &'a RetryConfig,
    /// Chance, in [0, 1).
    pub unit: f64,
}

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// One of the four ends.
    pub status: Status,
    /// Why, when it is dead.
    pub reason: Option<DeadReason>,
    /// What a person needs to know.
    pub detail: Option<String>,
    /// Requests made for it.
    pub attempts: u32,
    /// What the provider gave back.
    pub acceptance: Acceptance,
}

impl Ending {
    /// A delivered one.
    pub fn delivered(attempts: u32, acceptance: Acceptance) -> Self {
        Self { status: Status::Delivered, reason: None, detail: None, attempts, acceptance }
    }

    /// A dead one.
    pub fn dead(reason: DeadReason, detail: &str, attempts: u32) -> Self {
        Self {
            status: Status::Dead,
            reason: Some(reason),
            detail: Some(clean(detail)),
            attempts,
            acceptance: Acceptance::default(),
        }
    }

    /// One that ended without a request of this message.
    pub fn unsent(status: Status, attempts: u32) -> Self {
        Self { status, reason: None, detail: None, attempts, acceptance: Acceptance::default() }
    }

    /// The record of this end.
    pub fn at(self, now: Timestamp) -> Outcome {
        Outcome {
            status: self.status,
            reason: self.reason,
            detail: self.detail,
            attempts: self.attempts,
            acceptance: self.acceptance,
            settled_at_ms: now.as_millisecond(),
        }
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Settlement {
    /// It ends.
    End(Ending),
    /// It is tried again.
    Later {
        /// Not earlier than this from now; zero puts it back at once.
        delay: Duration,
        /// What is known of its attempts.
        history: History,
        /// Whether it must not share a request.
        alone: bool,
        /// Whether it must go through the lanes although it is exempt by itself.
        counted: bool,
        /// Why, for metrics and logs.
        cause: &'static str,
    },
}

/// Decides what becomes of a delivery.
///
/// Throttling, pauses and a provider that stopped before it use up no retry. A delivery whose
/// outcome is not known ends only as `delivered` or `uncertain`.
pub fn decide(fate: Fate, situation: &Situation<'_>) -> Settlement {
    let before = situation.before;
    let made = History {
        requests: before.requests.saturating_add(1),
        first_attempt_ms: before.first_attempt_ms.or(Some(situation.claimed_ms)),
        ..before
    };
    match fate {
        Fate::Accepted(acceptance) | Fate::AcceptedBefore(acceptance) => {
            Settlement::End(Ending::delivered(made.requests, acceptance))
        }
        Fate::Refused { reason } => Settlement::End(refused(&reason, &made, situation.repeat)),
        Fate::NotReached => back(before, "partial", false, false),
        Fate::Unblamed => back(made, "unblamed", true, false),
        Fate::Misconfigured { cause: _ } => back(made, "misconfigured", true, false),
        Fate::Throttled { retry_after: _ } => back(made, "throttled", false, true),
        Fate::NotSent { cause } => retry(before, &cause, "not_sent", None, situation),
        Fate::Failed { cause, retry_after } => retry(made, &cause, "failed", retry_after, situation),
        Fate::Unknown { cause } => unknown(made, &cause, situation),
    }
}

fn refused(reason: &str, made: &History, repeat: Repeat) -> Ending {
    if may_push_twice(made, repeat) {
        let detail = format!("an earlier request may have been accepted; the last one was refused: {reason}");
        return Ending::dead(DeadReason::Uncertain, &detail, made.requests);
    }
    Ending::dead(DeadReason::Rejected, reason, made.requests)
}

/// Whether an earlier attempt may have pushed something, so that the delivery must not be sent anew by
/// somebody who thinks it was not.
pub const fn may_push_twice(history: &History, repeat: Repeat) -> bool {
    match repeat {
        Repeat::Harmless => false,
        Repeat::Always | Repeat::Within(_) | Repeat::Never => history.unresolved_ms.is_some(),
    }
}

/// The end of what brought workers down again and again: one of them may have died right after its
/// request was taken.
pub fn poison(history: &History, repeat: Repeat) -> Ending {
    let reason = if may_push_twice(history, repeat) { DeadReason::Uncertain } else { DeadReason::Poison };
    Ending::dead(reason, "handling this message brought a worker down again and again", history.requests)
}

/// The end of a duplicate of a delivery that ended so.
pub fn duplicate_of(outcome: &Outcome) -> Ending {
    let mut duplicate = Ending::unsent(Status::Duplicate, 0);
    duplicate.acceptance.message_code.clone_from(&outcome.acceptance.message_code);
    duplicate
}

/// An end that was known before its message came, given what its claim says. That a delivery is poison
/// was found without asking its claim; any other end was an answer to its last request.
pub fn known(outcome: &Outcome, history: &History, repeat: Repeat) -> Outcome {
    let mut known = outcome.clone();
    if known.reason == Some(DeadReason::Poison) {
        known.attempts = history.requests;
        if may_push_twice(history, repeat) {
            known.reason = Some(DeadReason::Uncertain);
        }
    }
    known
}

/// Back to its queue at once, without using up a retry.
fn back(history: History, cause: &'static str, alone: bool, counted: bool) -> Settlement {
    Settlement::Later { delay: Duration::ZERO, history, alone, counted, cause }
}

fn retry(
    history: History,
    cause: &str,
    label: &'static str,
    at_least: Option<Duration>,
    situation: &Situation<'_>,
) -> Settlement {
    let history = History { retries: history.retries.saturating_add(u32::from(!situation.probe)), ..history };
    let delay = backoff::wait(situation.policy, history.retries, situation.unit)
        .max(at_least.unwrap_or_default().min(LONGEST_RETRY_AFTER))
        .max(Duration::from_secs(LADDER_SECONDS[0]));
    let out_of_retries = history.retries > situation.policy.attempts;
    if out_of_retries || situation.age.saturating_add(delay) > situation.policy.max_age {
        return Settlement::End(gave_up(cause, &history, situation.repeat, out_of_retries));
    }
    Settlement::Later { delay, history, alone: history.unresolved_ms.is_some(), counted: false, cause: label }
}

fn gave_up(cause: &str, history: &History, repeat: Repeat, out_of_retries: bool) -> Ending {
    let why = if out_of_retries { "no retries are left" } else { "it is too old to be tried again" };
    let reason = if may_push_twice(history, repeat) { DeadReason::Uncertain } else { DeadReason::Exhausted };
    Ending::dead(reason, &format!("{why}; last cause: {cause}"), history.requests)
}

fn unknown(made: History, cause: &str, situation: &Situation<'_>) -> Settlement {
    let since = made.unresolved_ms.map_or(situation.claimed_ms, |ms| ms.min(situation.claimed_ms));
    let history = History { unresolved_ms: Some(since), ..made };
    let uncertain = |why: &str| {
        let detail = format!("the request may have been accepted ({cause}), and {why}");
        Settlement::End(Ending::dead(DeadReason::Uncertain, &detail, history.requests))
    };
    match situation.repeat {
        Repeat::Never => uncertain("the provider has no means to recognise a second one"),
        Repeat::Harmless | Repeat::Always => retry(history, cause, "unknown", None, situation),
        Repeat::Within(window) => {
            // The attempt itself took part of the window; how much is known when it is claimed
            // again, and `claim::step` decides then. Here only the wait must not waste the rest.
            let spent = Duration::from_millis(situation.claimed_ms.saturating_sub(since).unsigned_abs());
            let rest = window.saturating_sub(spent.saturating_add(WINDOW_MARGIN));
            match retry(history, cause, "unknown", None, situation) {
                Settlement::Later { delay, history, alone, counted, cause } if !rest.is_zero() => {
                    Settlement::Later { delay: delay.min(rest / 4), history, alone, counted, cause }
                }
                Settlement::Later { .. } => {
                    uncertain("the time in which the provider recognises a second one is over")
                }
                end @ Settlement::End(_) => end,
            }
        }
    }
}

/// The rung of the delay ladder for a wait: the longest that does not overshoot, else the
/// shortest; `None` when there is nothing left to wait for.
pub fn rung(remaining: Duration) -> Option<usize> {
    if remaining < Duration::from_millis(20) {
        return None;
    }
    let fits = LADDER_SECONDS.iter().rposition(|seconds| Duration::from_secs(*seconds) <= remaining);
    Some(fits.unwrap_or(0))
}

/// What receipts and dead letters say of a delivery beside how it ended.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The account to whose queue it came.
    pub account: &'a AccountName,
    /// The operation, where the provider has it; anything else is not repeated to others.
    pub operation: Option<&'a str>,
    /// The delivery's identity, where it can be told.
    pub id: Option<&'a DeliveryId>,
    /// The job's identity, where it can be told.
    pub job_id: Option<&'a TransactionId>,
    /// What travels with it.
    pub envelope: &'a Envelope,
    /// Echoed.
    pub meta: Option<&'a Object>,
}

impl Subject<'_> {
    /// The operation for metrics and routing keys.
    pub fn operation_label(&self) -> &str {
        self.operation.unwrap_or("unknown")
    }
}

/// The receipts of a delivery: for the exchange, and for the producer's own queue if it named one. They
/// go on from its last attempt, where that was traced.
pub fn receipts(subject: &Subject<'_>, outcome: &Outcome) -> Vec<Outgoing> {
    let body = Bytes::from(receipt_body(subject, outcome));
    let mut properties = subject.envelope.write_outside();
    properties.message_id = Some(format!("{}:receipt", dead_id(subject, outcome)));
    properties.reply_to = None;
    if let Some(span) = subject.envelope.attempted {
        properties.set_header(trace::PARENT, span.to_string());
    }
    properties.timestamp = Timestamp::from_millisecond(outcome.settled_at_ms).ok();
    let routing_key =
        format!("{}.{}.{}", subject.account, subject.operation_label(), outcome.status.as_str());
    let exchange = Outgoing {
        destination: Destination::Receipts { routing_key },
        body: body.clone(),
        properties: properties.clone(),
    };
    let reply = subject.envelope.reply.as_ref().map(|reply| Outgoing {
        destination: Destination::Reply { queue: reply.queue.clone() },
        body,
        properties,
    });
    std::iter::once(exchange).chain(reply).collect()
}

/// A receipt's body; borrowed, because an answer in it may be megabytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptBody<'a> {
    transaction_id: Option<&'a str>,
    job_id: Option<&'a str>,
    account: &'a str,
    operation: &'a str,
    status: &'static str,
    reason: Option<&'static str>,
    detail: Option<&'a str>,
    attempts: u32,
    message_code: Option<&'a str>,
    unknown_devices: &'a [String],
    response: Option<&'a Json>,
    published_at: String,
    settled_at: Option<String>,
    meta: Option<&'a Object>,
}

fn receipt_body(subject: &Subject<'_>, outcome: &Outcome) -> Vec<u8> {
    let acceptance = &outcome.acceptance;
    let body = ReceiptBody {
        transaction_id: subject.id.map(DeliveryId::as_str),
        job_id: subject.job_id.map(TransactionId::as_str),
        account: subject.account.as_str(),
        operation: subject.operation_label(),
        status: outcome.status.as_str(),
        reason: outcome.reason.map(DeadReason::as_str),
        detail: outcome.detail.as_deref(),
        attempts: outcome.attempts,
        message_code: acceptance.message_code.as_deref(),
        unknown_devices: &acceptance.unknown_devices,
        response: acceptance.response.as_ref(),
        published_at: subject.envelope.published_at.to_string(),
        settled_at: Timestamp::from_millisecond(outcome.settled_at_ms).ok().map(|at| at.to_string()),
        meta: subject.meta,
    };
    json_of(&body)
}

/// The dead letter of a delivery with the given body.
pub fn dead_letter(subject: &Subject<'_>, outcome: &Outcome, body: Bytes) -> Outgoing {
    let mut properties = subject.envelope.write_outside();
    // A name of its own: published again as it is, it is a new message, not a redelivery of the old.
    properties.message_id = Some(dead_id(subject, outcome));
    let dead_at =
        Timestamp::from_millisecond(outcome.settled_at_ms).map(|at| at.to_string()).unwrap_or_default();
    for (name, value) in [
        ("paceline-dead-id", dead_id(subject, outcome)),
        ("paceline-reason", outcome.reason.map_or("", DeadReason::as_str).to_owned()),
        ("paceline-detail", outcome.detail.clone().unwrap_or_default()),
        ("paceline-attempts", outcome.attempts.to_string()),
        ("paceline-account", subject.account.to_string()),
        ("paceline-dead-at", dead_at),
    ] {
        properties.set_header(name, value);
    }
    let first = subject.envelope.remembered.first_attempt_ms;
    if let Some(at) = first.and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        properties.set_header("paceline-first-attempt-at", at.to_string());
    }
    if let Some(trail) = subject.envelope.trail.written() {
        properties.set_header(HISTORY, trail);
    }
    Outgoing { destination: Destination::Place(Place::Dead), body, properties }
}

/// Names a dead letter: the same again when its effects are done again after a crash, another for
/// another end of the same message (a replayed letter that dies again).
fn dead_id(subject: &Subject<'_>, outcome: &Outcome) -> String {
    let mut hash = Sha256::new();
    let replay = subject.envelope.replay.as_deref().unwrap_or_default();
    for part in [
        subject.account.as_str(),
        subject.id.map(DeliveryId::as_str).unwrap_or_default(),
        subject.envelope.instance.as_str(),
        replay,
        outcome.status.as_str(),
    ] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..16])
}

/// A text of a provider or of findings, fit for a header and a log line.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests;
