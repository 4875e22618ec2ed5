//! Messages that may have brought a worker down are watched, and handled alone where processes died with
//! them; see [`crate::pipeline::suspect`].

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::classify::{self, Route};
use crate::pipeline::decode;
use crate::pipeline::envelope::{Envelope, keep_crashes, message_name};
use crate::pipeline::send::Cargo;
use crate::pipeline::settle;
use crate::pipeline::suspect::{Step, Treatment, fingerprint, treatment};
use crate::ports::Permit;
use crate::providers::Planned;
use crate::worker::Worker;
use crate::worker::account::AccountState;
use crate::worker::attempt::Attempted;
use crate::worker::intake::{Unpacked, forwarded};
use crate::worker::parcel::{Contents, Hand, Parcel};

mod unread;

/// How long a suspect may wait for a permit, while everybody waits with it, before it goes back to
/// wait in its queue.
const LONGEST_WAIT_FOR_PERMIT: Duration = Duration::from_millis(2_500);

/// How long a suspect that can't be sent now waits before it comes again.
const WAIT_BEFORE_RETURN: Duration = Duration::from_secs(5);

/// How often it is asked whether another process still handles a suspect, and how long between.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// How a suspect is to be handled.
enum Watched {
    Together(Arc<Watch>),
    Alone,
}

/// A handling of a suspect that the store counts. Taken back when it is dropped: the handling ended
/// quietly. A process that dies drops nothing, and a panic on its way out takes nothing back.
pub(super) struct Watch {
    worker: Arc<Worker>,
    hand: Hand,
    fingerprint: String,
    handling: String,
}

impl Watch {
    fn new(worker: &Arc<Worker>, hand: &Hand, fingerprint: String) -> Self {
        let handling = worker.ports.chance.unique();
        Self { worker: worker.clone(), hand: hand.clone(), fingerprint, handling }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Without a runtime the process is on its way out, and nothing can be told any more.
        if std::thread::panicking() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (fingerprint, handling) =
            (std::mem::take(&mut self.fingerprint), std::mem::take(&mut self.handling));
        self.worker.take_count_back(&self.hand, fingerprint, handling);
    }
}

fn fingerprint_of(step: Step, hand: &Hand) -> String {
    fingerprint(step, hand.account(), message_name(&hand.properties).as_ref(), &hand.body)
}

/// What of a suspected message is done with nothing else under way.
enum Work {
    /// Reading it.
    Read,
    /// Leading what was read to its end.
    Lead(Box<Unpacked>),
    /// Sending it on a permit, if one can be had soon.
    Spend(Box<Parcel>),
}

impl Work {
    const fn step(&self) -> Step {
        match self {
            Self::Read => Step::Read,
            Self::Lead(_) | Self::Spend(_) => Step::Lead,
        }
    }
}

impl Worker {
    /// Handles a suspected message: together with others, unless processes died with it so.
    pub(super) async fn handle_suspect(self: Arc<Self>, mut hand: Hand) {
        match self.watch_over(&hand).await {
            Some(Watched::Together(watch)) => {
                hand.watch = Some(watch);
                self.take_up(hand).await;
            }
            Some(Watched::Alone) => self.handle_alone(hand).await,
            None => self.give_back_suspect(&hand).await,
        }
    }

    /// Counts a handling together with others. `None` when the store did not answer.
    async fn watch_over(self: &Arc<Self>, hand: &Hand) -> Option<Watched> {
        let fingerprint = fingerprint_of(Step::Together, hand);
        for look in 0..=LOOKS {
            if !self.store_is_up(hand).await {
                return None;
            }
            let watch = Watch::new(self, hand, fingerprint.clone());
            // Whatever comes of it, the count is taken back when the watch is dropped.
            let times = self.ports.claims.count_suspect(&watch.fingerprint, &watch.handling).await.ok()?;
            match treatment(Step::Together, times) {
                Treatment::Together => {
                    tracing::info!(redeliveries = hand.redeliveries, place = ?hand.place, "a suspected message is watched");
                    return Some(Watched::Together(Arc::new(watch)));
                }
                // Another process that lost its connection may be about to let go of it.
                Treatment::Alone | Treatment::Bury | Treatment::BuryUnread if look < LOOKS => {
                    drop(watch);
                    tokio::time::sleep(BETWEEN_LOOKS).await;
                }
                Treatment::Alone | Treatment::Bury | Treatment::BuryUnread => {}
            }
        }
        Some(Watched::Alone)
    }

    /// Reading it and leading it to its end are each done with nothing else under way.
    async fn handle_alone(self: Arc<Self>, hand: Hand) {
        let Some(unpacked) = self.alone(&hand, Work::Read).await else { return };
        let work = match self.permit_needed(&hand, unpacked) {
            Ok(parcel) => Work::Spend(Box::new(parcel)),
            Err(unpacked) => Work::Lead(unpacked),
        };
        self.alone(&hand, work).await;
    }

    /// The one delivery of the message, if it waits for a permit.
    fn permit_needed(&self, hand: &Hand, unpacked: Unpacked) -> Result<Parcel, Box<Unpacked>> {
        let parcel = self.single(hand, unpacked)?;
        if parcel.envelope.outcome.is_none() && self.route(&parcel, 1) == Route::Wait {
            return Ok(parcel);
        }
        let Contents { account, envelope, delivery, .. } = parcel.contents();
        Err(Box::new(Unpacked::Pieces { account, envelope, planned: vec![Ok(delivery)] }))
    }

    /// Does a step with nothing else under way, counted in the store while it lasts. `Some` with
    /// what was read, when that was the step and it ended quietly.
    async fn alone(self: &Arc<Self>, hand: &Hand, work: Work) -> Option<Unpacked> {
        if !self.store_is_up(hand).await {
            self.give_back_suspect(hand).await;
            return None;
        }
        let step = work.step();
        let fingerprint = fingerprint_of(step, hand);
        let handling = self.ports.chance.unique();
        // Of many suspects each waits for all before it.
        let _quiet = tokio::select! {
            biased;
            quiet = self.quiet.write() => quiet,
            () = tokio::time::sleep_until(self.held_until(hand)) => {
                self.give_back_suspect(hand).await;
                return None;
            }
        };
        if hand.ticket.is_stale() {
            return None;
        }
        // Asked once: nobody else works while the store makes up its mind.
        let Ok(times) = self.ports.claims.count_suspect(&fingerprint, &handling).await else {
            // It may have been counted, and it was not handled.
            self.take_count_back(hand, fingerprint, handling);
            self.give_back_suspect(hand).await;
            return None;
        };
        tracing::warn!(redeliveries = hand.redeliveries, times, place = ?hand.place, "a suspected message is handled alone");
        let read = match treatment(step, times) {
            Treatment::Together | Treatment::Alone => self.work_alone(hand, work).await,
            Treatment::Bury => {
                self.bury_poison(hand, work).await;
                None
            }
            Treatment::BuryUnread => {
                self.bury_unread(hand).await;
                None
            }
        };
        // It did no harm this time.
        if self.ports.claims.uncount_suspect(&fingerprint, &handling).await.is_err() {
            self.take_count_back(hand, fingerprint, handling);
        }
        read
    }

    /// As [`Worker::give_back_unless_stopped`]; what the broker counted so far goes with it.
    async fn give_back_suspect(&self, hand: &Hand) {
        let mut hand = hand.clone();
        keep_crashes(Arc::make_mut(&mut hand.properties), hand.redeliveries);
        self.give_back_unless_stopped(&hand).await;
    }

    /// Takes a count back while others work on: an answer of the store that is lost must not, in the
    /// end, make an innocent message poison.
    fn take_count_back(self: &Arc<Self>, hand: &Hand, fingerprint: String, handling: String) {
        let (worker, hand) = (self.clone(), hand.clone());
        self.spawn(Vec::new(), async move {
            let claims = &worker.ports.claims;
            // Given up, the count ends by itself after a day.
            let _ = worker.store_surely(&hand, || claims.uncount_suspect(&fingerprint, &handling)).await;
        });
    }

    async fn work_alone(self: &Arc<Self>, hand: &Hand, work: Work) -> Option<Unpacked> {
        match work {
            Work::Read => return Some(self.unpack(hand)),
            Work::Lead(unpacked) => self.lead_alone(hand, *unpacked).await,
            Work::Spend(parcel) => self.spend_alone(*parcel).await,
        }
        None
    }

    /// As [`Worker::lead`], but what is sent is sent before this returns.
    async fn lead_alone(self: &Arc<Self>, hand: &Hand, unpacked: Unpacked) {
        let parcel = match self.single(hand, unpacked) {
            Ok(parcel) => parcel,
            Err(unpacked) => return self.clone().lead(hand.clone(), *unpacked).await,
        };
        if parcel.envelope.outcome.is_some() {
            return self.clone().lead_parcel(parcel).await;
        }
        match self.route(&parcel, 1) {
            Route::Send => self.send_alone(parcel).await,
            // It became due since it was read; it waits for its permit when it comes again.
            Route::Wait => self.return_later(&parcel).await,
            Route::Expired => self.expire(parcel).await,
            Route::Later(..) | Route::Forward(_) => {
                let safe = self.send_on(&parcel, 1).await;
                self.ack_if(safe, &parcel.hand).await;
            }
        }
    }

    /// The one sound delivery of a message, if it has just that.
    fn single(&self, hand: &Hand, unpacked: Unpacked) -> Result<Parcel, Box<Unpacked>> {
        match unpacked {
            Unpacked::Pieces { account, envelope, mut planned } if planned.len() == 1 => {
                match planned.pop() {
                    Some(Ok(delivery)) => Ok(self.parcel(hand.clone(), envelope, delivery, account)),
                    other => Err(Box::new(Unpacked::Pieces {
                        account,
                        envelope,
                        planned: other.into_iter().collect(),
                    })),
                }
            }
            other @ (Unpacked::Pieces { .. } | Unpacked::Invalid { .. } | Unpacked::Foreign) => {
                Err(Box::new(other))
            }
        }
    }

    async fn send_alone(self: &Arc<Self>, parcel: Parcel) {
        let Some(pass) = parcel.account.enter(&parcel.line(), Instant::now()) else {
            return self.return_later(&parcel).await;
        };
        let attempted = self.attempt_exempt(parcel, pass).await;
        self.follow_alone(attempted).await;
    }

    async fn spend_alone(self: &Arc<Self>, parcel: Parcel) {
        let account = parcel.account.clone();
        let Some(pass) = account.enter(&parcel.line(), Instant::now()) else {
            return self.return_later(&parcel).await;
        };
        let Some(permit) = self.permit_soon(&parcel).await else {
            return self.return_later(&parcel).await;
        };
        let sorted = self.claim_group(vec![parcel]).await;
        self.follow_alone(Attempted { back: sorted.back, errands: sorted.errands }).await;
        if !sorted.ready.is_empty() {
            let attempted = self.send_group(&account, Cargo::counted(sorted.ready, permit), pass).await;
            self.follow_alone(attempted).await;
        }
    }

    async fn follow_alone(&self, attempted: Attempted) {
        Self::see_to(attempted.errands).await;
        for unsent in attempted.back {
            self.return_later(&unsent).await;
        }
    }

    /// It stays a suspect: what the broker counted so far goes with it.
    async fn return_later(&self, parcel: &Parcel) {
        if !self.is_stopped() {
            let crashes = parcel.envelope.crashes.saturating_add(parcel.hand.redeliveries);
            let envelope = Envelope { crashes, ..parcel.envelope.clone() };
            self.wait_on_ladder(parcel, envelope, WAIT_BEFORE_RETURN).await;
        }
    }

    async fn permit_soon(&self, parcel: &Parcel) -> Option<Permit> {
        let room = parcel.account.room_of(&parcel.delivery)?;
        let latest = Instant::now() + LONGEST_WAIT_FOR_PERMIT;
        loop {
            let grant = self.ports.permits.take(&room.key, 1).await.ok()?;
            if let Some(permit) = grant.permits.into_iter().next() {
                tokio::time::sleep_until(permit.opens).await;
                return Some(permit);
            }
            let at = grant.retry_at.filter(|at| *at < latest && grant.paused.is_none())?;
            tokio::time::sleep_until(at).await;
        }
    }

    /// Ends what was read, each delivery through its claim.
    async fn bury_poison(self: &Arc<Self>, hand: &Hand, work: Work) {
        let parcel = match work {
            // Not read, so that nothing is known of it but its properties.
            Work::Read => return self.bury_unread(hand).await,
            Work::Spend(parcel) => *parcel,
            Work::Lead(unpacked) => match self.single(hand, *unpacked) {
                Ok(parcel) => parcel,
                Err(unpacked) => match *unpacked {
                    Unpacked::Pieces { account, envelope, planned } if planned.len() > 1 => {
                        return self.bury_pieces(hand, account, envelope, planned).await;
                    }
                    // It ends by itself, or is left alone.
                    other @ (Unpacked::Pieces { .. } | Unpacked::Invalid { .. } | Unpacked::Foreign) => {
                        return self.clone().lead(hand.clone(), other).await;
                    }
                },
            },
        };
        let now = self.ports.clock.now();
        let repeat = parcel.account.gateway().repeat(&parcel.delivery);
        self.end_without_request(&parcel, |claim| settle::poison(&claim.history, repeat).at(now)).await;
    }

    /// A message is settled once, so each delivery of a job with several gets a message of its own that
    /// says how it ends.
    async fn bury_pieces(
        &self,
        hand: &Hand,
        account: Arc<AccountState>,
        envelope: Envelope,
        planned: Planned,
    ) {
        let now = self.ports.clock.now();
        for (index, piece) in planned.into_iter().enumerate() {
            let envelope = envelope.nth(index);
            let safe = match piece {
                Ok(delivery) => {
                    let repeat = account.gateway().repeat(&delivery);
                    let outcome = settle::poison(&envelope.remembered, repeat).at(now);
                    let to = classify::home(&delivery, &envelope);
                    let envelope = Envelope { outcome: Some(outcome), ..envelope };
                    let parcel = self.parcel(hand.clone(), envelope, delivery, account.clone());
                    self.publish_surely(hand, forwarded(&parcel, to)).await
                }
                Err(unfit) => {
                    let body = decode::encode(&unfit.job).into();
                    self.bury_unfit(hand, &envelope, &unfit, body).await
                }
            };
            if !safe {
                return self.ack_if(false, hand).await;
            }
        }
        self.ack_if(true, hand).await;
    }
}
