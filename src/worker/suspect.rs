//! Messages that may have brought a worker down are handled alone; see [`crate::pipeline::suspect`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::classify::Route;
use crate::pipeline::decode;
use crate::pipeline::envelope::Envelope;
use crate::pipeline::send::Cargo;
use crate::pipeline::settle::{Ending, Subject};
use crate::pipeline::suspect::{Treatment, fingerprint, treatment};
use crate::ports::Permit;
use crate::verdict::DeadReason;
use crate::worker::intake::Unpacked;
use crate::worker::parcel::{Hand, Parcel};
use crate::worker::{Worker, attempt};

/// How long a suspect may wait for a permit while everything else stands still.
const LONGEST_WAIT_FOR_PERMIT: Duration = Duration::from_secs(10);

impl Worker {
    /// Handles a suspected message with nothing else under way.
    pub(super) async fn handle_suspect(self: Arc<Self>, hand: Hand) {
        let fingerprint = fingerprint(hand.account(), hand.properties.message_id.as_deref(), &hand.body);
        let _alone = self.quiet.write().await;
        let claims = &self.ports.claims;
        let Some(times) = self.store_surely(&hand, || claims.count_suspect(&fingerprint)).await else {
            return self.give_back_unless_stopped(&hand).await;
        };
        tracing::warn!(redeliveries = hand.redeliveries, times, place = ?hand.place, "a suspected message is handled alone");
        match treatment(times) {
            Treatment::BuryUnread => return self.bury_unread(&hand).await,
            Treatment::Bury => {
                let unpacked = self.unpack(&hand);
                self.bury_poison(&hand, unpacked).await;
            }
            Treatment::Alone => {
                let unpacked = self.unpack(&hand);
                self.clone().lead_alone(hand.clone(), unpacked).await;
            }
        }
        // It did no harm this time (or waits for its claim, to be buried then). Should this not reach the store, the count ends by itself.
        let _ = self.ports.claims.uncount_suspect(&fingerprint).await;
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
        if let Some(outcome) = parcel.envelope.outcome.clone() {
            return self.end_without_request(&parcel, |_| outcome.clone()).await;
        }
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
                if self.send_on(&parcel, 1).await {
                    parcel.hand.ticket.ack().await;
                }
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
        let now = self.ports.clock.now();
        self.end_without_request(&parcel, |claim| {
            // It may have died right after its request was taken.
            let unresolved = claim.history.unresolved_ms.is_some();
            let reason = if unresolved { DeadReason::Uncertain } else { DeadReason::Poison };
            Ending::dead(reason, POISON, claim.history.requests).at(now)
        })
        .await;
    }

    async fn bury_unread(&self, hand: &Hand) {
        let now = self.ports.clock.now();
        let envelope = Envelope::read(&hand.properties, now, self.ports.chance.as_ref());
        let name = hand.account().or_else(|| self.accounts.keys().next());
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
