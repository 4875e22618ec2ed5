//! A message becomes deliveries, and each takes its way.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use crate::job::{Delivery, Finding, Job};
use crate::pipeline::classify::{self, Route};
use crate::pipeline::decode::{self, Fragments};
use crate::pipeline::envelope::{Due, Envelope, carried_crashes, was_given_back};
use crate::pipeline::settle::{self, Ending, Subject};
use crate::pipeline::suspect::is_suspect;
use crate::ports::{Claim, Destination, Outgoing, Place};
use crate::providers::{Planned, Unfit};
use crate::telemetry::Attempt;
use crate::verdict::DeadReason;
use crate::worker::Worker;
use crate::worker::account::AccountState;
use crate::worker::parcel::{Contents, Hand, Parcel};

/// So many deliveries of one job are published at once.
const PIECES_AT_ONCE: usize = 32;

/// What a message turned out to be.
pub(super) enum Unpacked {
    /// It belongs to no account of this worker: its queue is left over from another configuration.
    Foreign,
    /// Nothing that can be sent; what can be told of it, for its receipt.
    Invalid { account: Arc<AccountState>, envelope: Envelope, findings: Vec<Finding>, fragments: Fragments },
    /// Its deliveries.
    Pieces { account: Arc<AccountState>, envelope: Envelope, planned: Planned },
}

impl Worker {
    /// Takes a message that the broker gave out.
    pub(super) async fn admit(self: Arc<Self>, hand: Hand) {
        if is_suspect(hand.redeliveries, carried_crashes(&hand.properties)) {
            return Box::pin(self.handle_suspect(hand)).await;
        }
        self.take_up(hand).await;
    }

    /// Reads a message and leads it on.
    pub(super) async fn take_up(self: Arc<Self>, hand: Hand) {
        let unpacked = {
            let _working = self.quiet.read().await;
            self.unpack(&hand)
        };
        self.lead(hand, unpacked).await;
    }

    /// Reads a message: decode, then let the provider plan. Pure but for the clock and chance.
    pub(super) fn unpack(&self, hand: &Hand) -> Unpacked {
        let envelope = Envelope::read(&hand.properties, self.ports.clock.now(), self.ports.chance.as_ref());
        let account = hand.account().and_then(|name| self.accounts.get(name));
        let Some(account) = account.cloned() else { return Unpacked::Foreign };
        let first_seen = !envelope.internal && hand.redeliveries == 0 && !was_given_back(&hand.properties);
        if first_seen {
            account.meters.job_received();
        }
        let decoded = if envelope.internal {
            decode::decode_any_size(&hand.body)
        } else {
            decode::decode_body(&hand.body)
        };
        let job = match decoded {
            Ok(job) => job,
            Err(unreadable) => {
                let envelope = without_our_reply(envelope, &self.manner.prefix);
                let decode::Unreadable { findings, fragments } = *unreadable;
                return Unpacked::Invalid { account, envelope, findings, fragments };
            }
        };
        if first_seen {
            tell_warnings(&account, &job);
        }
        match classify::plan(account.gateway(), account.name(), &job, &envelope, &self.manner.prefix) {
            Ok(planned) => Unpacked::Pieces { account, envelope, planned },
            Err(findings) => {
                let envelope = without_our_reply(envelope, &self.manner.prefix);
                Unpacked::Invalid { fragments: fragments_of(&job), account, envelope, findings }
            }
        }
    }

    /// Leads what was unpacked on its way. Which one is decided at once, and only that one takes room: a
    /// future of all of them would be moved, and kept, with room for the largest.
    pub(super) fn lead(self: Arc<Self>, hand: Hand, unpacked: Unpacked) -> BoxFuture<'static, ()> {
        match unpacked {
            Unpacked::Foreign => {
                tracing::error!(place = ?hand.place, "a message of an account that is not configured is left alone");
                ready(()).boxed()
            }
            Unpacked::Invalid { account, envelope, findings, fragments } => async move {
                self.bury_invalid(&hand, &account, &envelope, &findings, &fragments).await;
            }
            .boxed(),
            Unpacked::Pieces { account, envelope, planned } => {
                self.lead_pieces(hand, account, envelope, planned)
            }
        }
    }

    fn lead_pieces(
        self: Arc<Self>,
        hand: Hand,
        account: Arc<AccountState>,
        envelope: Envelope,
        mut planned: Planned,
    ) -> BoxFuture<'static, ()> {
        if planned.len() > 1 {
            return self.split(hand, account, envelope, planned).boxed();
        }
        // `classify::plan` refuses an empty plan.
        match planned.pop() {
            None => ready(()).boxed(),
            Some(Err(unfit)) => async move {
                let body = decode::mask_credentials(&hand.body).into();
                let safe = self.bury_unfit(&hand, &envelope, &unfit, body).await;
                self.ack_if(safe, &hand).await;
            }
            .boxed(),
            Some(Ok(delivery)) => {
                let parcel = self.parcel(hand, envelope, delivery, account);
                self.lead_parcel(parcel)
            }
        }
    }

    pub(super) fn parcel(
        &self,
        hand: Hand,
        envelope: Envelope,
        delivery: Delivery,
        account: Arc<AccountState>,
    ) -> Parcel {
        let token = self.ports.chance.unique();
        Contents { hand, envelope, delivery, account, token, late: 0, attempt: Attempt::none() }.into()
    }

    pub(super) fn lead_parcel(self: Arc<Self>, parcel: Parcel) -> BoxFuture<'static, ()> {
        if let Some(outcome) = parcel.envelope.outcome.clone() {
            // Known before its message came here.
            let repeat = parcel.account.gateway().repeat(&parcel.delivery);
            let known = move |claim: &Claim| settle::known(&outcome, &claim.history, repeat);
            return async move { self.end_without_request(&parcel, known).await }.boxed();
        }
        match self.route(&parcel, 1) {
            Route::Expired => async move { self.expire(parcel).await }.boxed(),
            Route::Wait => self.enqueue(parcel).boxed(),
            Route::Send => self.deliver_exempt(parcel).boxed(),
            Route::Later(..) | Route::Forward(_) => async move {
                let safe = self.send_on(&parcel, 1).await;
                self.ack_if(safe, &parcel.hand).await;
            }
            .boxed(),
        }
    }

    pub(super) fn route(&self, parcel: &Parcel, pieces: usize) -> Route {
        classify::route(
            &parcel.delivery,
            &parcel.envelope,
            &parcel.hand.place,
            pieces,
            self.ports.clock.now(),
        )
    }

    /// Gives each delivery of a job with several a message of its own, then settles the job: from
    /// here on a message and a delivery are one.
    async fn split(
        self: Arc<Self>,
        hand: Hand,
        account: Arc<AccountState>,
        envelope: Envelope,
        planned: Planned,
    ) {
        let pieces = planned.len();
        let publishing = planned.into_iter().enumerate().map(|(index, piece)| {
            let (worker, hand, account, envelope) = (&self, &hand, &account, envelope.nth(index));
            async move {
                match piece {
                    Ok(delivery) => {
                        let parcel = worker.parcel(hand.clone(), envelope, delivery, account.clone());
                        worker.send_on(&parcel, pieces).await
                    }
                    Err(unfit) => {
                        let body = decode::encode(&unfit.job).into();
                        worker.bury_unfit(hand, &envelope, &unfit, body).await
                    }
                }
            }
        });
        // Few at a time: a job of many notifications must not stand in memory many times over.
        let safe = stream::iter(publishing).buffer_unordered(PIECES_AT_ONCE).all(|safe| async move { safe });
        let safe = safe.await;
        self.ack_if(safe, &hand).await;
    }

    /// Publishes a delivery to where it goes next. Returns whether that is safe at the broker.
    pub(super) async fn send_on(&self, parcel: &Parcel, pieces: usize) -> bool {
        let outgoing = match self.route(parcel, pieces) {
            Route::Later(at, to) => self.waiting(parcel, parcel.envelope.clone(), to, at),
            Route::Forward(to) => forwarded(parcel, to),
            // It ends, waits or is sent from a message of its own.
            Route::Expired | Route::Wait | Route::Send => {
                forwarded(parcel, classify::home(&parcel.delivery, &parcel.envelope))
            }
        };
        self.publish_surely(&parcel.hand, outgoing).await
    }

    /// Ends a whole message as `invalid`. Its body is kept byte for byte, but for credentials:
    /// dead letters hold no secrets.
    async fn bury_invalid(
        &self,
        hand: &Hand,
        account: &AccountState,
        envelope: &Envelope,
        findings: &[Finding],
        fragments: &Fragments,
    ) {
        let id = decode::fragment_id(fragments);
        let known = account_operations(account);
        let subject = Subject {
            account: account.name(),
            operation: fragments.operation.as_deref().filter(|operation| known.contains(operation)),
            id: id.as_ref(),
            job_id: fragments.transaction_id.as_ref(),
            envelope,
            meta: fragments.meta.as_ref(),
        };
        let ending = invalid(envelope, findings);
        let body = decode::mask_credentials(&hand.body).into();
        let safe = self.write_end(hand, &subject, &ending.at(self.ports.clock.now()), || body, None).await;
        self.ack_if(safe, hand).await;
    }

    /// Ends one delivery as `invalid`. Returns whether that is safe at the broker.
    ///
    /// No claim is written: the verdict follows from the message alone, so a second try comes to
    /// the same, and an invalid job must not touch the claim of a sound one with its id.
    pub(super) async fn bury_unfit(
        &self,
        hand: &Hand,
        envelope: &Envelope,
        unfit: &Unfit,
        body: Bytes,
    ) -> bool {
        let subject = Subject {
            account: &unfit.job.account,
            operation: Some(&unfit.job.operation),
            id: Some(&unfit.id),
            job_id: Some(&unfit.job.transaction_id),
            envelope,
            meta: unfit.job.meta.as_ref(),
        };
        let ending = invalid(envelope, &unfit.findings);
        let priority = Some(unfit.job.priority);
        self.write_end(hand, &subject, &ending.at(self.ports.clock.now()), || body, priority).await
    }

    /// A delivery's message that comes to `to` at `at`, by the delay ladder.
    pub(super) fn waiting(
        &self,
        parcel: &Parcel,
        envelope: Envelope,
        to: Place,
        at: jiff::Timestamp,
    ) -> Outgoing {
        let remaining = crate::pipeline::send::until(self.ports.clock.now(), at);
        let (destination, due) = match settle::rung(remaining) {
            None => (Destination::Place(to), None),
            Some(rung) => (Destination::Delay(rung), Some(Due { at, to })),
        };
        let properties = Envelope { due, label: Some(parcel.label()), ..envelope }.write();
        Outgoing { destination, body: parcel.body(), properties }
    }
}

/// An invalid job's receipts go to its reply queue too, unless that is one of ours.
pub(super) fn without_our_reply(envelope: Envelope, prefix: &str) -> Envelope {
    if classify::names_our_queue(&envelope, prefix) { Envelope { reply: None, ..envelope } } else { envelope }
}

pub(super) fn forwarded(parcel: &Parcel, to: Place) -> Outgoing {
    let envelope = Envelope { due: None, label: Some(parcel.label()), ..parcel.envelope.clone() };
    let properties = envelope.write();
    Outgoing { destination: Destination::Place(to), body: parcel.body(), properties }
}

fn fragments_of(job: &Job) -> Fragments {
    Fragments {
        transaction_id: Some(job.transaction_id.clone()),
        operation: Some(job.operation.clone()),
        meta: job.meta.clone(),
    }
}

fn account_operations(account: &AccountState) -> &'static [&'static str] {
    crate::providers::by_name(account.provider()).map_or(&[], |provider| provider.operations())
}

/// The end of what breaks the rules. One that was tried before, under rules that have changed since,
/// may have been pushed.
fn invalid(envelope: &Envelope, findings: &[Finding]) -> Ending {
    let unresolved = envelope.remembered.unresolved_ms.is_some();
    let reason = if unresolved { DeadReason::Uncertain } else { DeadReason::Invalid };
    Ending::dead(reason, &listed(findings), envelope.remembered.requests)
}

/// What is worth telling of a job that is sent all the same.
fn tell_warnings(account: &AccountState, job: &Job) {
    let warnings = account.gateway().warnings(job);
    if !warnings.is_empty() {
        tracing::warn!(account = %account.name(), job = %job.transaction_id, warnings = listed(&warnings), "passed through");
    }
}

fn listed(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
