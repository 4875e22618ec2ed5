//! The end of what must not be read: reading it is what brought workers down.

use std::time::Duration;

use crate::job::AccountName;
use crate::pipeline::decode;
use crate::pipeline::envelope::{Due, Envelope, Label};
use crate::pipeline::settle::{self, Ending, Subject};
use crate::ports::{Answer, Claim, ClaimRequest, Destination, Fenced, History, Outgoing, Purpose};
use crate::providers::Repeat;
use crate::verdict::{Outcome, Signal, Status};
use crate::worker::Worker;
use crate::worker::parcel::Hand;

/// How long a message whose delivery somebody else holds waits before it asks again, at most.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Worker {
    /// Reads no more of it than its properties, and masks credentials in its body.
    pub(super) async fn bury_unread(&self, hand: &Hand) {
        let envelope = Envelope::read(&hand.properties, self.ports.clock.now(), self.ports.chance.as_ref());
        match (hand.account(), envelope.label.clone()) {
            (Some(account), Some(label)) => self.bury_labelled(hand, account, &envelope, &label).await,
            // A producer's message, which names nothing outside its body. What no worker can read has
            // no copy that got to a claim.
            (Some(_) | None, Some(_) | None) => self.bury_nameless_poison(hand, envelope).await,
        }
    }

    async fn bury_nameless_poison(&self, hand: &Hand, envelope: Envelope) {
        let Some(account) = hand.account().or_else(|| self.accounts.keys().next()) else { return };
        let ending = unread(&envelope.remembered);
        let body = decode::mask_credentials(&hand.body).into();
        self.bury_nameless(hand, account, envelope, ending, body).await;
    }

    /// Ends a delivery that its message names, through its claim: copies of the message may have come
    /// to another end where the body can be read.
    async fn bury_labelled(&self, hand: &Hand, account: &AccountName, envelope: &Envelope, label: &Label) {
        let wish = [ClaimRequest {
            account: account.clone(),
            line: hand.place.line(),
            id: label.id.clone(),
            instance: envelope.instance.clone(),
            purpose: Purpose::End,
            remembered: envelope.remembered,
            replay: envelope.replay.clone(),
            token: self.ports.chance.unique(),
        }];
        let Some(answers) = self.store_surely(hand, || self.ports.claims.claim(&wish)).await else {
            return self.give_back_unless_stopped(hand).await;
        };
        let subject = Subject {
            account,
            operation: Some(&label.operation),
            id: Some(&label.id),
            job_id: Some(&label.job),
            envelope,
            meta: None,
        };
        for answer in answers {
            match answer {
                Answer::Acquired(claim) => self.end_unread(hand, &subject, &claim).await,
                Answer::Held(rest) => self.wait_unread(hand, envelope, rest).await,
                Answer::Ended { outcome, same: true }
                    if outcome.status == Status::Delivered && label.reads =>
                {
                    // What was read was told before this end was written.
                    hand.ticket.ack().await;
                }
                Answer::Ended { outcome, same } => {
                    let now = self.ports.clock.now();
                    let outcome = if same { outcome } else { settle::duplicate_of(&outcome).at(now) };
                    self.finish_unread(hand, &subject, &outcome).await;
                }
                // Not an answer to a wish to end; should a store give it, the message comes again.
                Answer::Paused(_) => self.give_back_unless_stopped(hand).await,
            }
        }
    }

    async fn end_unread(&self, hand: &Hand, subject: &Subject<'_>, claim: &Claim) {
        let outcome = unread(&claim.history).at(self.ports.clock.now());
        let end = || self.ports.claims.end(claim, &outcome, Signal::Neutral);
        match self.store_surely(hand, end).await {
            Some(Fenced(false)) => self.finish_unread(hand, subject, &outcome).await,
            Some(Fenced(true)) => hand.ticket.requeue().await,
            None => self.give_back_unless_stopped(hand).await,
        }
    }

    async fn finish_unread(&self, hand: &Hand, subject: &Subject<'_>, outcome: &Outcome) {
        let body = decode::mask_credentials(&hand.body).into();
        let safe = self.write_end(hand, subject, outcome, || body, None).await;
        self.ack_if(safe, hand).await;
    }

    /// Puts the message back as it is, by the delay ladder. It stays a suspect.
    async fn wait_unread(&self, hand: &Hand, envelope: &Envelope, rest: Duration) {
        let wait = rest.clamp(Duration::from_secs(1), LONGEST_WAIT);
        let Some(rung) = settle::rung(wait) else { return };
        let due = Due { at: self.ports.clock.now() + wait, to: hand.place.clone() };
        let crashes = envelope.crashes.saturating_add(hand.redeliveries);
        let envelope = Envelope { crashes, due: Some(due), ..envelope.clone() };
        let outgoing = Outgoing {
            destination: Destination::Delay(rung),
            body: hand.body.clone(),
            properties: envelope.write(),
        };
        let safe = self.publish_surely(hand, outgoing).await;
        self.ack_if(safe, hand).await;
    }
}

/// Whether its operation may be repeated stands in its body: what may have been taken is uncertain.
fn unread(history: &History) -> Ending {
    settle::poison(history, Repeat::Never)
}
