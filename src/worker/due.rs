//! The end of the delay ladder: each message that comes out goes to its queue, or waits on.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::pipeline::decode;
use crate::pipeline::envelope::Envelope;
use crate::pipeline::send::until;
use crate::pipeline::settle::{self, Ending};
use crate::ports::{Destination, Message, Outgoing, PublishError};
use crate::verdict::DeadReason;
use crate::worker::Worker;
use crate::worker::parcel::Hand;

impl Worker {
    /// Moves what comes out of the ladder, for all accounts.
    pub(super) async fn move_due(self: Arc<Self>, mut messages: mpsc::Receiver<Box<Message>>) {
        while let Some(message) = messages.recv().await {
            let hand = Hand::from(*message);
            let worker = self.clone();
            self.spawn(vec![hand.ticket.clone()], async move { worker.move_on(&hand).await });
        }
    }

    async fn move_on(&self, hand: &Hand) {
        let now = self.ports.clock.now();
        let envelope = Envelope::read(&hand.properties, now, self.ports.chance.as_ref());
        let Some(due) = envelope.due.clone() else {
            return self
                .bury_stray(hand, envelope, "a message in the due queue that names no queue to go to")
                .await;
        };
        let (destination, due) = match settle::rung(until(now, due.at)) {
            Some(rung) => (Destination::Delay(rung), Some(due)),
            None => (Destination::Place(due.to), None),
        };
        let properties = Envelope { due, ..envelope.clone() }.write();
        let outgoing = Outgoing { destination, body: hand.body.clone(), properties };
        match self.ports.publisher.publish(outgoing.clone()).await {
            Ok(()) => {
                hand.ticket.ack().await;
            }
            Err(PublishError::Unroutable) => {
                self.bury_stray(hand, envelope, "the account's queue is gone: it is no longer configured")
                    .await;
            }
            Err(PublishError::Refused | PublishError::Unconfirmed(_)) => {
                let safe = self.publish_surely(hand, outgoing).await;
                self.ack_if(safe, hand).await;
            }
        }
    }

    /// A message that can go nowhere: nothing may vanish, so it is kept for a person.
    async fn bury_stray(&self, hand: &Hand, envelope: Envelope, why: &str) {
        let named = envelope.due.as_ref().and_then(|due| due.to.account()).cloned();
        let Some(account) = named.or_else(|| self.accounts.keys().next().cloned()) else { return };
        let unresolved = envelope.remembered.unresolved_ms.is_some();
        let reason = if unresolved { DeadReason::Uncertain } else { DeadReason::Invalid };
        let ending = Ending::dead(reason, why, envelope.remembered.requests);
        let body = decode::mask_credentials(&hand.body).into();
        self.bury_nameless(hand, &account, envelope, ending, body).await;
    }
}
