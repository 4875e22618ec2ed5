//! What others see of an end, and how a message leaves this worker.
//!
//! Each effect is tried again until the broker has confirmed it, until the message is stale (then it
//! comes again, and its claim answers for it), or until the message must go back to its queue. The
//! store is asked until then too. So nothing here waits without end, and the broker's own consumer
//! timeout is never reached.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::backoff;
use crate::job::{AccountName, Priority};
use crate::metrics::Meters;
use crate::pipeline::envelope::{Envelope, given_back};
use crate::pipeline::settle::{self, Ending, Subject};
use crate::ports::{Claim, Destination, Outgoing, PublishError, StoreError};
use crate::verdict::{Acceptance, Outcome, Signal, Status};
use crate::worker::Worker;
use crate::worker::intake::without_our_reply;
use crate::worker::parcel::{Hand, Parcel};

/// Waits between tries of an effect: the first bound, doubling, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);

/// So often a receipt to a producer's own queue is tried.
const REPLY_TRIES: u32 = 3;

impl Worker {
    /// Publishes until the broker has confirmed it. `false` when it gave up, because the message
    /// in hand is stale or was held too long, or the worker stops.
    pub(super) async fn publish_surely(&self, hand: &Hand, outgoing: Outgoing) -> bool {
        let mut tries = 0;
        loop {
            let error = match self.ports.publisher.publish(outgoing.clone()).await {
                Ok(()) => {
                    self.note_receipt(hand, &outgoing.destination, true);
                    return true;
                }
                Err(error) => error,
            };
            tries += 1;
            if error == PublishError::Refused {
                self.note_receipt(hand, &outgoing.destination, false);
            }
            if is_lost_reply(&outgoing.destination, &error, tries) {
                tracing::warn!(%error, "a reply queue does not take its receipt; it went to the exchange only");
                return true;
            }
            let over = Instant::now() >= self.published_until(hand);
            if over || hand.ticket.is_stale() || self.is_stopped() {
                return false;
            }
            tracing::warn!(%error, destination = describe(&outgoing.destination), tries, "publishing failed; trying again");
            self.wait_before_try(tries).await;
        }
    }

    /// While the broker refuses an account's receipts nothing new of the account is sent: pushes would
    /// go out of which nobody hears. What is told of ends already made finds out when that is over.
    fn note_receipt(&self, hand: &Hand, destination: &Destination, taken: bool) {
        let Destination::Receipts { .. } = destination else { return };
        let Some(account) = hand.account().and_then(|name| self.accounts.get(name)) else { return };
        let name = account.name();
        if taken {
            if account.receipts_taken() {
                tracing::info!(account = %name, "receipts are taken again; the account goes on");
                self.tell_gate(account);
            }
        } else if account.receipts_refused(LAST_WAIT + FIRST_WAIT, Instant::now()) {
            tracing::error!(
                account = %name,
                "the account is paused: a queue bound to the receipts exchange is full and refuses its receipts; consume it, give it room, or unbind it; nothing is lost"
            );
            self.tell_gate(account);
        }
    }

    /// Asks the store until it answers. `None` when it gave up: the worker stops, or the message
    /// would be held too long.
    pub(super) async fn store_surely<T, F>(&self, hand: &Hand, ask: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = 0;
        loop {
            match ask().await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    tries += 1;
                    tracing::warn!(%error, tries, "the store did not answer; trying again");
                }
            }
            if self.is_stopped() || self.is_held_too_long(hand) {
                return None;
            }
            self.wait_before_try(tries).await;
        }
    }

    /// Apart from what waits, in which it would else take room that is seldom used.
    fn wait_before_try(&self, tries: u32) -> BoxFuture<'static, ()> {
        let bound = backoff::bound(FIRST_WAIT, LAST_WAIT, tries);
        tokio::time::sleep(bound.mul_f64(0.5 + self.ports.chance.unit() / 2.0)).boxed()
    }

    /// Whether a message has been in hand for so long that it must go back.
    pub(super) fn is_held_too_long(&self, hand: &Hand) -> bool {
        Instant::now() >= self.held_until(hand)
    }

    /// When a message in hand must go back.
    pub(super) fn held_until(&self, hand: &Hand) -> Instant {
        hand.received + self.manner.worker.hold
    }

    /// Until when something is published for a message in hand. Later than the moment when it must go
    /// back, so that going back has time of its own.
    fn published_until(&self, hand: &Hand) -> Instant {
        self.held_until(hand) + self.manner.worker.hold / 4
    }

    /// Takes a message off its queue if all that follows from it is safe; else puts it back.
    pub(super) async fn ack_if(&self, safe: bool, hand: &Hand) {
        if !safe {
            return Box::pin(self.give_back_unless_stopped(hand)).await;
        }
        if !hand.ticket.ack().await {
            tracing::debug!(place = ?hand.place, "settled, but its connection is gone; it comes again");
        }
    }

    /// Puts a message back to its queue as it is. Published anew rather than rejected: the broker
    /// counts a rejection as it counts a crash, and enough of those make a message suspect. Only where
    /// nothing can be published for too long it is rejected all the same.
    pub(super) async fn give_back(&self, hand: &Hand) {
        if hand.ticket.is_stale() {
            return;
        }
        let intake = self.ports.clock.now() - hand.received.elapsed();
        let outgoing = Outgoing {
            destination: Destination::Place(hand.place.clone()),
            body: hand.body.clone(),
            properties: given_back(&hand.properties, intake, self.ports.chance.as_ref()),
        };
        if self.publish_surely(hand, outgoing).await {
            hand.ticket.ack().await;
        } else if !self.is_stopped() {
            hand.ticket.requeue().await;
        }
    }

    /// The visible effects of an end, in order: dead letter with this body, receipts. Returns whether all
    /// are safe.
    pub(super) async fn write_end(
        &self,
        hand: &Hand,
        subject: &Subject<'_>,
        outcome: &Outcome,
        body: impl FnOnce() -> Bytes + Send,
        priority: Option<Priority>,
    ) -> bool {
        if outcome.status == Status::Dead
            && !self.publish_surely(hand, settle::dead_letter(subject, outcome, body())).await
        {
            return false;
        }
        for receipt in settle::receipts(subject, outcome) {
            if !self.publish_surely(hand, receipt).await {
                return false;
            }
        }
        self.tell_end(subject, outcome, priority);
        true
    }

    /// Ends a message of which nothing more can or may be read, under an account's name.
    pub(super) async fn bury_nameless(
        &self,
        hand: &Hand,
        account: &AccountName,
        envelope: Envelope,
        ending: Ending,
        body: Bytes,
    ) {
        let envelope = without_our_reply(envelope, &self.manner.prefix);
        let subject =
            Subject { account, operation: None, id: None, job_id: None, envelope: &envelope, meta: None };
        let safe = self.write_end(hand, &subject, &ending.at(self.ports.clock.now()), || body, None).await;
        self.ack_if(safe, hand).await;
    }

    /// The effects of an end, then the ack.
    pub(super) async fn finish(&self, parcel: &Parcel, outcome: &Outcome) {
        let priority = Some(parcel.delivery.job.priority);
        if self.write_end(&parcel.hand, &parcel.subject(), outcome, || parcel.body(), priority).await {
            self.ack_if(true, &parcel.hand).await;
        } else {
            Box::pin(self.come_again(parcel)).await;
        }
    }

    /// What others see of an end could not be written in time: it comes again, under the name that its
    /// claim knows.
    async fn come_again(&self, parcel: &Parcel) {
        if !self.is_stopped() && !parcel.hand.ticket.is_stale() {
            self.wait_on_ladder(parcel, parcel.envelope.clone(), Duration::ZERO).await;
        }
    }

    /// The end of a delivery that read something: told first, kept second and without the answer.
    ///
    /// The answer may be megabytes, and the claims of all accounts share one connection to the store.
    /// A crash in between reads again and tells again, which harms nobody; told once, the claim knows
    /// it, and the message that comes again is only acked.
    pub(super) async fn finish_reading(
        &self,
        parcel: &Parcel,
        claim: &Claim,
        outcome: &Outcome,
        signal: Signal,
    ) {
        let priority = Some(parcel.delivery.job.priority);
        if !self.write_end(&parcel.hand, &parcel.subject(), outcome, || parcel.body(), priority).await {
            return self.come_again(parcel).await;
        }
        let told = &outcome.acceptance;
        let acceptance = Acceptance {
            message_code: told.message_code.clone(),
            unknown_devices: told.unknown_devices.clone(),
            response: None,
        };
        let kept = Outcome { acceptance, detail: outcome.detail.clone(), ..*outcome };
        let end = || self.ports.claims.end(claim, &kept, signal);
        if self.store_surely(&parcel.hand, end).await.is_none() && self.is_stopped() {
            return;
        }
        parcel.hand.ticket.ack().await;
    }

    /// Counts for an account, which may be one of another configuration.
    fn count_end(&self, account: &AccountName, count: impl FnOnce(&Meters)) {
        match self.accounts.get(account) {
            Some(account) => count(&account.meters),
            None => count(&Meters::new(account.clone())),
        }
    }

    fn tell_end(&self, subject: &Subject<'_>, outcome: &Outcome, priority: Option<Priority>) {
        let account = subject.account.as_str();
        let operation = subject.operation_label();
        let reason = outcome.reason.map(crate::verdict::DeadReason::as_str);
        let age_ms = outcome.settled_at_ms.saturating_sub(subject.envelope.published_at.as_millisecond());
        let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
        self.count_end(subject.account, |meters| {
            meters.delivery_settled(operation, outcome.status, reason);
            meters.delivery_age(priority.unwrap_or_default(), age);
        });
        let id = subject.id.map(crate::job::DeliveryId::as_str);
        match outcome.status {
            Status::Dead => tracing::warn!(
                account,
                operation,
                delivery = id,
                reason,
                detail = outcome.detail,
                attempts = outcome.attempts,
                "dead letter"
            ),
            Status::Delivered | Status::Duplicate | Status::Expired => tracing::info!(
                account,
                operation,
                delivery = id,
                status = outcome.status.as_str(),
                attempts = outcome.attempts,
                "settled"
            ),
        }
    }
}

/// A receipt to a producer's own queue is a courtesy beside the one to the exchange: a queue that is
/// gone, full or without a majority must not hold up everybody else.
fn is_lost_reply(destination: &Destination, error: &PublishError, tries: u32) -> bool {
    let is_reply = matches!(destination, Destination::Reply { .. });
    is_reply
        && match error {
            PublishError::Unroutable | PublishError::Refused => true,
            PublishError::Unconfirmed(_) => tries >= REPLY_TRIES,
        }
}

/// A destination without a producer's own words.
fn describe(destination: &Destination) -> String {
    match destination {
        Destination::Place(place) => format!("{place:?}"),
        Destination::Delay(rung) => format!("delay rung {rung}"),
        Destination::Receipts { .. } => "receipts".to_owned(),
        Destination::Reply { .. } => "a reply queue".to_owned(),
        Destination::Jobs(_) => "jobs".to_owned(),
    }
}
