//! Messages that may have brought a worker down.
//!
//! The broker counts a crash against everything that was unacked, so its count only *suspects* a
//! message. A suspect is handled with nothing else under way, and the store counts each such
//! handling before it begins: a crash during it is the suspect's own. After too many it ends as
//! `poison`. An innocent message is cleared by its first quiet handling.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::pipeline::claim;
use crate::pipeline::classify::Route;
use crate::pipeline::decode;
use crate::pipeline::envelope::Envelope;
use crate::pipeline::send::{Cargo, Claimed};
use crate::pipeline::settle::{Ending, Settlement, Subject};
use crate::ports::{Answer, Permit, Purpose};
use crate::verdict::{DeadReason, Signal};
use crate::worker::intake::Unpacked;
use crate::worker::parcel::{Hand, Parcel};
use crate::worker::{Worker, attempt};

/// So many deliveries without a settlement make a message suspect.
pub(super) const SUSPECT_AFTER: u32 = 3;

/// So many handlings alone, none of which came to an end, prove it.
const PROVEN_AFTER: u32 = 3;

/// Reading the message may be what kills; beyond this it is buried unread.
const UNREAD_AFTER: u32 = PROVEN_AFTER + 1;

/// How long a suspect may wait for a permit while everything else stands still.
const LONGEST_WAIT_FOR_PERMIT: Duration = Duration::from_secs(10);

impl Worker {
    /// Handles a suspected message with nothing else under way.
    pub(super) async fn handle_suspect(self: Arc<Self>, hand: Hand) {
        let fingerprint = fingerprint(&hand);
        let _alone = self.quiet.write().await;
        let claims = &self.ports.claims;
        let Some(times) = self.store_surely(&hand, || claims.count_suspect(&fingerprint)).await else {
            return;
        };
        tracing::warn!(redeliveries = hand.redeliveries, times, place = ?hand.place, "a suspected message is handled alone");
        if times > UNREAD_AFTER {
            return self.bury_unread(&hand).await;
        }
        let unpacked = self.unpack(&hand);
        if times > PROVEN_AFTER {
            return self.bury_poison(&hand, unpacked).await;
        }
        self.clone().lead_alone(hand.clone(), unpacked).await;
        // It did no harm. Should this not reach the store, the count ends by itself.
        let _ = self.ports.claims.clear_suspect(&fingerprint).await;
    }

    /// As [`Worker::lead`], but whatever is sent is sent before this returns.
    async fn lead_alone(self: Arc<Self>, hand: Hand, unpacked: Unpacked) {
        match unpacked {
            Unpacked::Pieces { account, envelope, planned } if planned.len() == 1 => {
                let planned: Result<Vec<_>, _> = planned.into_iter().collect();
                match planned {
                    Ok(deliveries) => {
                        for delivery in deliveries {
                            let (hand, envelope, account) = (hand.clone(), envelope.clone(), account.clone());
                            self.lead_one_alone(Parcel { hand, envelope, delivery, account }).await;
                        }
                    }
                    Err(unfit) => {
                        self.clone()
                            .lead(hand, Unpacked::Pieces { account, envelope, planned: vec![Err(unfit)] })
                            .await;
                    }
                }
            }
            other @ (Unpacked::Pieces { .. } | Unpacked::Invalid { .. } | Unpacked::Foreign) => {
                self.lead(hand, other).await;
            }
        }
    }

    async fn lead_one_alone(self: &Arc<Self>, parcel: Parcel) {
        match self.route(&parcel, 1) {
            Route::Send => {
                let hand = parcel.hand.clone();
                if self.attempt_exempt(parcel).await.is_some() {
                    self.give_back_unless_stopped(&hand).await;
                }
            }
            Route::Wait => self.attempt_counted_alone(parcel).await,
            Route::Expired => self.expire(parcel).await,
            Route::Later(..) | Route::Forward(_) => {
                let planned = vec![Ok(parcel.delivery.clone())];
                let Parcel { hand, envelope, account, delivery: _ } = parcel;
                self.clone().lead(hand, Unpacked::Pieces { account, envelope, planned }).await;
            }
        }
    }

    async fn attempt_counted_alone(self: &Arc<Self>, parcel: Parcel) {
        let account = parcel.account.clone();
        let hand = parcel.hand.clone();
        let Some(permit) = self.permit_soon(&parcel).await else {
            return self.give_back_unless_stopped(&hand).await;
        };
        let claims = self.claim_group(vec![parcel]).await;
        let mut back = claims.back;
        if !claims.ready.is_empty() {
            back = self.send_group(&account, Cargo::counted(claims.ready, permit)).await;
        }
        if !back.is_empty() {
            self.give_back_unless_stopped(&hand).await;
        }
    }

    async fn permit_soon(&self, parcel: &Parcel) -> Option<Permit> {
        let key = attempt::pool_of(&parcel.account, &parcel.delivery)?;
        let latest = Instant::now() + LONGEST_WAIT_FOR_PERMIT;
        loop {
            let grant = self.ports.permits.take(key, 1).await.ok()?;
            if let Some(permit) = grant.permits.into_iter().next() {
                tokio::time::sleep_until(permit.opens).await;
                return Some(permit);
            }
            let at = grant.retry_at.filter(|at| *at < latest && grant.paused.is_none())?;
            tokio::time::sleep_until(at).await;
        }
    }

    async fn bury_poison(self: &Arc<Self>, hand: &Hand, unpacked: Unpacked) {
        let Unpacked::Pieces { account, envelope, mut planned } = unpacked else {
            return self.bury_unread(hand).await;
        };
        let Some(Ok(delivery)) = (if planned.len() == 1 { planned.pop() } else { None }) else {
            return self.bury_unread(hand).await;
        };
        let parcel = Parcel { hand: hand.clone(), envelope, delivery, account };
        let wish = [claim::request(&parcel.delivery, &parcel.envelope, Purpose::End)];
        let Some(answers) = self.store_surely(hand, || self.ports.claims.claim(&wish)).await else { return };
        for answer in answers {
            match answer {
                Answer::Acquired(claim) => {
                    // It may have died right after its request was taken.
                    let unresolved = claim.history.unresolved_ms.is_some();
                    let reason = if unresolved { DeadReason::Uncertain } else { DeadReason::Poison };
                    let ending = Ending::dead(reason, POISON, claim.history.requests);
                    let claimed = Claimed { parcel: parcel.clone(), claim, within: None };
                    self.apply(claimed, Settlement::End(ending), Signal::Neutral).await;
                }
                Answer::Held(_) | Answer::Paused(_) => hand.ticket.requeue().await,
                Answer::Ended { outcome, same: true } => self.finish(&parcel, &outcome).await,
                Answer::Ended { outcome: _, same: false } => self.bury_unread(hand).await,
            }
        }
    }

    async fn bury_unread(&self, hand: &Hand) {
        let now = self.ports.clock.now();
        let envelope = Envelope::read(&hand.properties, now, self.ports.chance.as_ref());
        let name = match &hand.place {
            crate::ports::Place::Jobs(name)
            | crate::ports::Place::Retry(name)
            | crate::ports::Place::Lane(name, _) => Some(name),
            crate::ports::Place::Due | crate::ports::Place::Dead => self.accounts.keys().next(),
        };
        let Some(account) = name else { return };
        let subject =
            Subject { account, operation: None, id: None, job_id: None, envelope: &envelope, meta: None };
        let outcome = Ending::dead(DeadReason::Poison, POISON, 0).at(now);
        let body = decode::mask_credentials(&hand.body).into();
        if self.write_end(hand, &subject, &outcome, body, None).await {
            hand.ticket.ack().await;
        }
    }
}

const POISON: &str = "handling this message brought a worker down again and again";

/// The same for every redelivery of a message, another for any other message.
fn fingerprint(hand: &Hand) -> String {
    let mut hash = Sha256::new();
    for part in [
        format!("{:?}", hand.place).as_bytes(),
        hand.properties.message_id.as_deref().unwrap_or_default().as_bytes(),
        &hand.body,
    ] {
        hash.update(part);
        hash.update([0]);
    }
    hex::encode(&hash.finalize()[..16])
}
