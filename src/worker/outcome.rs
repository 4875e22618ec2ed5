//! What follows from an answer: for the account, for all workers, and for each delivery.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::config::LimiterConfig;
use crate::job::Line;
use crate::metrics::{self, RequestClass};
use crate::pipeline::classify;
use crate::pipeline::envelope::Envelope;
use crate::pipeline::send::{Cargo, Claimed, until};
use crate::pipeline::settle::{self, Ending, Settlement, Situation};
use crate::ports::{Claim, Fenced, History, Pause, PauseCause, Release, Suspicion, WireAnswer};
use crate::providers::operation_named;
use crate::telemetry::Ended;
use crate::verdict::{DeadReason, Fate, Outcome, Signal, Status, Verdict};
use crate::worker::account::{AccountState, Pass};
use crate::worker::parcel::Parcel;
use crate::worker::{Errand, Worker};

/// The longest pause that a provider can impose; a larger number in an answer is a mistake.
const LONGEST_THROTTLE: Duration = Duration::from_secs(24 * 3_600);

impl Worker {
    /// Judges an answer. Settling the deliveries of the request is an errand: whoever waits for the
    /// connection or for a place among the requests need not wait for the broker and the store.
    pub(super) async fn follow_answer(
        self: &Arc<Self>,
        account: &Arc<AccountState>,
        cargo: Cargo<Parcel>,
        answer: &WireAnswer,
        took: Duration,
        pass: Pass,
    ) -> Errand {
        let verdict = account.gateway().verdict(&cargo.deliveries(), answer, cargo.after_unknown());
        let (operation, class) = (operation_of(&cargo), class_of(account, &cargo));
        let line = cargo.first().map_or(Line::MAIN, classify::line);
        account.meters.provider_request(operation, class, verdict.label(), took);
        tell_answer(account.name().as_str(), operation, class, &verdict, answer, took);
        if class == RequestClass::Counted && matches!(answer, WireAnswer::Response { .. }) {
            self.note_round_trip(account, &line, took);
        }
        if let Some(wait) = verdict.throttled() {
            self.throttle(account, &cargo, wait).await;
        }
        let signal = verdict.signal();
        let claimed = cargo.into_claimed();
        let fates = verdict.apportion(claimed.len());
        let tickets = claimed.iter().map(|claimed| claimed.parcel.hand.ticket.clone()).collect();
        let (worker, account) = (self.clone(), account.clone());
        let work = async move {
            worker.settle_all(claimed, fates, signal).await;
            // Answers to requests that were under way when the pause began prove nothing.
            if signal == Signal::Healthy && pass.is_probe() {
                worker.open_gate(&account, &line);
            }
            drop(pass);
        };
        Errand { tickets, work: work.boxed() }
    }

    /// The limiter's bound assumes that requests are counted with little spread.
    fn note_round_trip(&self, account: &AccountState, line: &Line, took: Duration) {
        let LimiterConfig { slot_width, jitter, .. } = self.manner.limiter;
        let Some((spread, tell)) = account.note_round_trip(line, took, jitter, Instant::now()) else {
            return;
        };
        metrics::round_trip_spread(account.name(), spread);
        if tell {
            let minute = Duration::from_secs(60);
            let cost = 1.0 - (minute + slot_width + jitter).div_duration_f64(minute + slot_width + spread);
            tracing::warn!(
                account = %account.name(), limit = line.name(), spread_seconds = spread.as_secs_f64(),
                jitter_seconds = jitter.as_secs_f64(), cost_percent = cost * 100.0,
                "round trips to the provider spread by more than limiter.jitter: if it is the way there that varies, and not how long the provider takes to answer, the limit can be exceeded; a limiter.jitter of this spread keeps it, at this cost of the rate"
            );
        }
    }

    async fn settle_all(self: &Arc<Self>, claimed: Vec<Claimed<Parcel>>, fates: Vec<Fate>, signal: Signal) {
        let shared = claimed.len() > 1;
        // One request is one sign of the provider's health, however many deliveries it carried.
        let signals = std::iter::once(signal).chain(std::iter::repeat(Signal::Neutral));
        let settling = claimed
            .into_iter()
            .zip(fates)
            .zip(signals)
            .map(|((claimed, fate), signal)| self.settle(claimed, fate, signal, shared));
        join_all(settling).await;
    }

    /// The provider's limit: counted requests of the pool wait, for all workers. Where there is no
    /// limit all requests are alike, and the whole account waits.
    async fn throttle(&self, account: &AccountState, cargo: &Cargo<Parcel>, wait: Option<Duration>) {
        let wait = wait.unwrap_or(self.manner.circuit.throttle_pause).min(LONGEST_THROTTLE);
        tracing::warn!(
            account = %account.name(), seconds = wait.as_secs_f64(),
            "the provider throttles; counted requests of the account wait"
        );
        let Some(room) = cargo.first().and_then(|delivery| account.room_of(delivery)) else {
            return;
        };
        if let Err(error) = self.ports.permits.pause_pool(&room.key, wait).await {
            tracing::warn!(%error, "the pause did not reach the store; other workers will be throttled too");
        }
        let now = Instant::now();
        room.pause(now + wait);
        if room.windows.is_empty() {
            if let Err(error) = self.ports.claims.throttle(account.name(), &room.line, wait).await {
                tracing::warn!(%error, "the pause did not reach the store; other workers will be throttled too");
            }
            account.close(&room.line, Pause { wait, cause: PauseCause::Throttled }, now);
        }
        self.tell_gate(account);
    }

    /// Settles one delivery, which did or did not share its request with others.
    pub(super) async fn settle(
        self: &Arc<Self>,
        claimed: Claimed<Parcel>,
        fate: Fate,
        signal: Signal,
        shared: bool,
    ) {
        let fate = match fate {
            Fate::Misconfigured { cause } => self.follow_suspicion(&claimed, cause, shared).await,
            fate @ (Fate::Accepted(_)
            | Fate::AcceptedBefore(_)
            | Fate::Refused { .. }
            | Fate::NotReached
            | Fate::Unblamed
            | Fate::Throttled { .. }
            | Fate::NotSent { .. }
            | Fate::Failed { .. }
            | Fate::Unknown { .. }) => fate,
        };
        let parcel = &claimed.parcel;
        let situation = Situation {
            before: claimed.claim.history,
            claimed_ms: claimed.claim.claimed_ms,
            repeat: parcel.account.gateway().repeat(&parcel.delivery),
            probe: claimed.claim.probe,
            age: self.age_of(parcel),
            policy: &self.manner.retry,
            unit: self.ports.chance.unit(),
        };
        let settlement = settle::decide(fate, &situation);
        self.apply(claimed, settlement, signal).await;
    }

    /// The provider found the account at fault: pause it for all, or, where others were accepted
    /// since this same delivery was suspected, blame the delivery. Of several in one request none is
    /// blamed: each goes alone next time.
    async fn follow_suspicion(&self, claimed: &Claimed<Parcel>, cause: String, shared: bool) -> Fate {
        let parcel = &claimed.parcel;
        match self.store_surely(&parcel.hand, || self.ports.claims.suspect(&claimed.claim)).await {
            Some(Suspicion::Delivery) if shared => Fate::Unblamed,
            Some(Suspicion::Delivery) => Fate::Refused { reason: cause },
            Some(Suspicion::Paused(pause)) => {
                self.learn_pause(&parcel.account, &parcel.line(), pause);
                tracing::error!(
                    account = %parcel.account.name(), cause,
                    "the provider refuses the account: check its credentials and address in the configuration; nothing is lost, the account waits"
                );
                Fate::Misconfigured { cause }
            }
            None => Fate::Misconfigured { cause },
        }
    }

    /// Time since a delivery was published, or first allowed to be sent.
    fn age_of(&self, parcel: &Parcel) -> Duration {
        let published = parcel.envelope.published_at;
        let start = parcel.delivery.job.not_before.map_or(published, |at| at.max(published));
        until(start, self.ports.clock.now())
    }

    /// Writes a settlement: its claim first, then what others see, then the ack.
    pub(super) async fn apply(&self, claimed: Claimed<Parcel>, settlement: Settlement, signal: Signal) {
        let ended = told_of(&settlement);
        match settlement {
            Settlement::End(ending) => self.apply_end(&claimed, ending, signal).await,
            Settlement::Later { delay, history, alone, counted, cause } => {
                let release = Release { history, signal };
                // Rare, and large: most deliveries end.
                Box::pin(self.apply_later(&claimed, release, delay, Marks { alone, counted }, cause)).await;
            }
        }
        claimed.parcel.attempt.end(ended);
    }

    async fn apply_end(&self, claimed: &Claimed<Parcel>, ending: Ending, signal: Signal) {
        let outcome = ending.at(self.ports.clock.now());
        if outcome.status == Status::Delivered && claimed.parcel.reads() {
            return Box::pin(self.finish_reading(&claimed.parcel, &claimed.claim, &outcome, signal)).await;
        }
        self.write_outcome(&claimed.parcel, &claimed.claim, outcome, signal).await;
    }

    /// Writes an end to its claim, then does its effects.
    pub(super) async fn write_outcome(
        &self,
        parcel: &Parcel,
        claim: &Claim,
        outcome: Outcome,
        signal: Signal,
    ) {
        match self.store_surely(&parcel.hand, || self.ports.claims.end(claim, &outcome, signal)).await {
            Some(Fenced(false)) => self.finish(parcel, &outcome).await,
            Some(Fenced(true)) => self.yield_to_new_holder(parcel).await,
            None => Box::pin(self.carry_outcome(parcel, outcome)).await,
        }
    }

    async fn yield_to_new_holder(&self, parcel: &Parcel) {
        tracing::warn!(
            delivery = %parcel.delivery.id,
            "the lease ran out and another worker took over; its result counts"
        );
        parcel.hand.ticket.requeue().await;
    }

    /// The store did not answer for so long that the message must go back; what is known of its end
    /// goes with it. Lost (the worker stops), the claim stays `sending`, and whoever finds it treats
    /// it as unknown.
    async fn carry_outcome(&self, parcel: &Parcel, outcome: Outcome) {
        if self.is_stopped() {
            return;
        }
        tracing::warn!(
            delivery = %parcel.delivery.id,
            "the store was away for too long; the end that is known goes back with its message"
        );
        let envelope = Envelope { outcome: Some(outcome), ..parcel.envelope.clone() };
        self.wait_on_ladder(parcel, envelope, Duration::ZERO).await;
    }

    /// Released first: a crash after it costs nothing, because the message is still with the
    /// broker, while a claim left `sending` would make a request that was never processed look as
    /// if it might have been.
    async fn apply_later(
        &self,
        claimed: &Claimed<Parcel>,
        release: Release,
        delay: Duration,
        marks: Marks,
        cause: &'static str,
    ) {
        let (parcel, claim) = (&claimed.parcel, &claimed.claim);
        match self.store_surely(&parcel.hand, || self.ports.claims.release(claim, release)).await {
            Some(Fenced(false)) => {}
            Some(Fenced(true)) => return self.yield_to_new_holder(parcel).await,
            None if self.is_stopped() => return,
            // The claim stays `sending` until its lease ends, and the attempt counts as one of
            // unknown outcome; the message goes on all the same, with its history.
            None => {}
        }
        let job = &parcel.delivery.job;
        metrics::delivery_retried(&job.account, &job.operation, cause);
        let mut envelope = marks.on(&parcel.envelope, release.history);
        envelope.trail = envelope.trail.with(claim.claimed_ms, cause);
        let to = classify::home_of_retry(&parcel.delivery, &envelope);
        let outgoing = self.waiting(parcel, envelope, to, self.ports.clock.now() + delay);
        let safe = self.publish_surely(&parcel.hand, outgoing).await;
        self.ack_if(safe, &parcel.hand).await;
    }

    /// Puts a delivery back to the queue it came from, after a wait.
    pub(super) async fn wait_on_ladder(&self, parcel: &Parcel, envelope: Envelope, delay: Duration) {
        let to = parcel.hand.place.clone();
        let outgoing = self.waiting(parcel, envelope, to, self.ports.clock.now() + delay);
        let safe = self.publish_surely(&parcel.hand, outgoing).await;
        self.ack_if(safe, &parcel.hand).await;
    }

    /// Closes the gate of one of an account's limits in this worker.
    pub(super) fn learn_pause(&self, account: &AccountState, line: &Line, pause: Pause) {
        if account.close(line, pause, Instant::now()) {
            tracing::warn!(
                account = %account.name(), limit = line.name(), cause = pause.cause.as_str(), seconds = pause.wait.as_secs_f64(),
                "the account is paused"
            );
        }
        self.tell_gate(account);
    }

    /// Opens the gate of one of an account's limits in this worker.
    pub(super) fn open_gate(&self, account: &AccountState, line: &Line) {
        if account.pause_cause(line).is_some() && account.open(line) {
            tracing::info!(account = %account.name(), limit = line.name(), "the account is open again");
            self.tell_gate(account);
        }
    }
}

/// What the trace of an attempt says of its end.
fn told_of(settlement: &Settlement) -> Ended {
    match settlement {
        Settlement::End(ending) => {
            Ended { outcome: ending.status.as_str(), error: ending.reason.map(DeadReason::as_str) }
        }
        Settlement::Later { cause, .. } => Ended { outcome: "retried", error: Some(cause) },
    }
}

/// What a delivery's message is marked with for its next try.
#[derive(Clone, Copy)]
struct Marks {
    alone: bool,
    counted: bool,
}

impl Marks {
    fn on(self, envelope: &Envelope, history: History) -> Envelope {
        Envelope {
            internal: true,
            remembered: history,
            alone: envelope.alone || self.alone,
            counted: envelope.counted || self.counted,
            crashes: 0,
            outcome: None,
            due: None,
            ..envelope.clone()
        }
    }
}

/// A pool without windows is no limit.
fn class_of(account: &AccountState, cargo: &Cargo<Parcel>) -> RequestClass {
    let room = cargo.first().and_then(|delivery| account.room_of(delivery));
    let limited = room.is_some_and(|room| !room.windows.is_empty());
    if cargo.is_counted() && limited { RequestClass::Counted } else { RequestClass::Exempt }
}

/// All deliveries of a request are of one operation.
fn operation_of(cargo: &Cargo<Parcel>) -> &'static str {
    let first = cargo.first();
    first.and_then(|delivery| operation_named(&delivery.job.operation)).unwrap_or("unknown")
}

fn tell_answer(
    account: &str,
    operation: &str,
    class: RequestClass,
    verdict: &Verdict,
    answer: &WireAnswer,
    took: Duration,
) {
    let status = match answer {
        WireAnswer::Response { status, .. } => Some(*status),
        WireAnswer::NotSent(_) | WireAnswer::Lost(_) => None,
    };
    let (class, result, milliseconds) = (class.as_str(), verdict.label(), took.as_secs_f64() * 1_000.0);
    match verdict {
        // Told again when its deliveries are settled.
        Verdict::Accepted(_) | Verdict::AcceptedBefore(_) => {
            tracing::debug!(account, operation, class, result, status, milliseconds, "answered");
        }
        Verdict::Refused { .. } | Verdict::Partial { .. } => {
            tracing::info!(account, operation, class, result, status, milliseconds, "answered");
        }
        Verdict::Throttled { .. } => {
            tracing::warn!(account, operation, class, result, status, milliseconds, "answered");
        }
        Verdict::NotSent { cause }
        | Verdict::Misconfigured { cause }
        | Verdict::Failed { cause, .. }
        | Verdict::Unknown { cause, .. } => {
            tracing::warn!(account, operation, class, result, status, milliseconds, cause, "answered");
        }
    }
}
