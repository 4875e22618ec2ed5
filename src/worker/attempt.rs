//! One attempt: claim, then send.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use crate::job::Line;
use crate::metrics;
use crate::pipeline::claim::{self, Step};
use crate::pipeline::envelope::Envelope;
use crate::pipeline::send::{Cargo, Claimed};
use crate::pipeline::settle::{self, Ending, Settlement, may_push_twice};
use crate::pipeline::trace::Context;
use crate::ports::{Answer, Claim, Place, Purpose, Release, Sent, WireRequest};
use crate::telemetry::{Call, Ended};
use crate::verdict::{DeadReason, Fate, Outcome, Signal, Status};
use crate::worker::account::{AccountState, Pass};
use crate::worker::parcel::{Hand, Parcel};
use crate::worker::{Errand, Stage, Worker};

/// How long a message whose delivery somebody else holds waits before it asks again, at most: most
/// holders end within a second.
const LONGEST_WAIT_FOR_HOLDER: Duration = Duration::from_secs(5);

/// So many times in a row a request may miss its time before that counts as a failure to connect.
const LATE_IN_A_ROW: u32 = 5;

/// Deliveries, sorted by what the store answered.
#[derive(Default)]
pub(super) struct Sorted {
    /// Ours, to be sent.
    pub(super) ready: Vec<Claimed<Parcel>>,
    /// To be put back where they waited.
    pub(super) back: Vec<Parcel>,
    /// The store did not answer.
    pub(super) store_down: bool,
    /// What becomes of the others.
    pub(super) errands: Vec<Errand>,
}

/// What became of an attempt.
#[derive(Default)]
pub(super) struct Attempted {
    /// Not sent, to be tried again.
    pub(super) back: Vec<Parcel>,
    /// What follows for the others.
    pub(super) errands: Vec<Errand>,
}

impl Worker {
    /// Claims deliveries that are to share a request.
    pub(super) async fn claim_group(self: &Arc<Self>, parcels: Vec<Parcel>) -> Sorted {
        let wishes: Vec<_> = parcels.iter().map(|parcel| parcel.wish(Purpose::Send)).collect();
        let answers = match self.ports.claims.claim(&wishes).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(%error, "no claims");
                return Sorted { back: parcels, store_down: true, ..Sorted::default() };
            }
        };
        let shared = parcels.len() > 1;
        let mut sorted = Sorted::default();
        for (mut parcel, answer) in parcels.into_iter().zip(answers) {
            parcel.token = self.ports.chance.unique();
            match answer {
                Answer::Acquired(claim) => self.follow_claim(parcel, claim, shared, &mut sorted),
                Answer::Paused(pause) => {
                    self.learn_pause(&parcel.account, &parcel.line(), pause);
                    sorted.back.push(parcel);
                }
                Answer::Held(rest) => {
                    sorted.errands.push(self.errand(parcel, move |worker, parcel| async move {
                        worker.wait_for_holder(&parcel, rest).await;
                    }));
                }
                Answer::Ended { outcome, same } => {
                    sorted.errands.push(self.errand(parcel, move |worker, parcel| async move {
                        worker.follow_end(&parcel, outcome, same).await;
                    }));
                }
            }
        }
        sorted
    }

    fn follow_claim(self: &Arc<Self>, mut parcel: Parcel, claim: Claim, shared: bool, sorted: &mut Sorted) {
        let repeat = parcel.account.gateway().repeat(&parcel.delivery);
        let attempts = claim.history.requests;
        let settlement = match claim::step(&claim, &parcel.delivery, repeat, self.ports.clock.now()) {
            // Its positions in a shared answer could shift: it goes alone, next.
            Step::Send { .. } if shared && claim.history.unresolved_ms.is_some() => Settlement::Later {
                delay: Duration::ZERO,
                history: claim.history,
                alone: true,
                counted: false,
                cause: "alone",
            },
            Step::Send { within } => {
                parcel.begin_attempt(&self.manner.prefix, attempts);
                return sorted.ready.push(Claimed { parcel, claim, within });
            }
            Step::Expire => Settlement::End(Ending::unsent(Status::Expired, attempts)),
            Step::Bury(reason, detail) => Settlement::End(Ending::dead(reason, &detail, attempts)),
        };
        sorted.errands.push(self.errand(parcel, move |worker, parcel| async move {
            worker.apply(Claimed { parcel, claim, within: None }, settlement, Signal::Neutral).await;
        }));
    }

    fn errand<F>(self: &Arc<Self>, parcel: Parcel, work: impl FnOnce(Arc<Self>, Parcel) -> F) -> Errand
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tickets = vec![parcel.hand.ticket.clone()];
        Errand { tickets, work: work(self.clone(), parcel).boxed() }
    }

    /// Somebody else holds the delivery: ask again when it may be over. Uses up no retry.
    pub(super) async fn wait_for_holder(&self, parcel: &Parcel, rest: Duration) {
        let delay = rest.clamp(Duration::from_millis(200), LONGEST_WAIT_FOR_HOLDER);
        let crashes = parcel.envelope.crashes.saturating_add(parcel.hand.redeliveries);
        let envelope = Envelope { crashes, ..parcel.envelope.clone() };
        self.wait_on_ladder(parcel, envelope, delay).await;
    }

    /// The delivery has ended before: by this same message, whose effects are done again (a crash
    /// may have come between), or by another one, whose duplicate this is.
    async fn follow_end(&self, parcel: &Parcel, outcome: Outcome, same: bool) {
        if same && outcome.status == Status::Delivered && parcel.reads() {
            // What was read was told before this end was written.
            parcel.hand.ticket.ack().await;
            return;
        }
        let now = self.ports.clock.now();
        let outcome = if same { outcome } else { settle::duplicate_of(&outcome).at(now) };
        self.finish(parcel, &outcome).await;
    }

    /// Ends a delivery whose time has passed.
    pub(super) async fn expire(self: &Arc<Self>, parcel: Parcel) {
        let repeat = parcel.account.gateway().repeat(&parcel.delivery);
        let now = self.ports.clock.now();
        self.end_without_request(&parcel, |claim| {
            let attempts = claim.history.requests;
            match claim::step(claim, &parcel.delivery, repeat, now) {
                Step::Bury(reason, detail) => Ending::dead(reason, &detail, attempts).at(now),
                // A clock that went back since this way was chosen makes nothing unknown known.
                Step::Send { .. } if may_push_twice(&claim.history, repeat) => {
                    Ending::dead(DeadReason::Uncertain, "its time to be sent has passed", attempts).at(now)
                }
                Step::Expire | Step::Send { .. } => Ending::unsent(Status::Expired, attempts).at(now),
            }
        })
        .await;
    }

    /// Claims a delivery to end it, without a request, as `outcome` says of its claim.
    pub(super) async fn end_without_request(
        self: &Arc<Self>,
        parcel: &Parcel,
        outcome: impl Fn(&Claim) -> Outcome,
    ) {
        let wish = [parcel.wish(Purpose::End)];
        let Some(answers) = self.store_surely(&parcel.hand, || self.ports.claims.claim(&wish)).await else {
            return self.give_back_unless_stopped(&parcel.hand).await;
        };
        for answer in answers {
            match answer {
                Answer::Acquired(claim) => {
                    self.write_outcome(parcel, &claim, outcome(&claim), Signal::Neutral).await;
                }
                Answer::Held(rest) => self.wait_for_holder(parcel, rest).await,
                Answer::Ended { outcome, same } => self.follow_end(parcel, outcome, same).await,
                // Not an answer to a wish to end; should a store give it, the message comes again.
                Answer::Paused(_) => self.give_back_unless_stopped(&parcel.hand).await,
            }
        }
    }

    pub(super) async fn give_back_unless_stopped(&self, hand: &Hand) {
        if !self.is_stopped() {
            self.give_back(hand).await;
        }
    }

    /// Sends an exempt delivery as soon as its account, the store and the number of requests under
    /// way allow.
    pub(super) async fn deliver_exempt(self: Arc<Self>, parcel: Parcel) {
        let mut parcel = parcel;
        let hand = parcel.hand.clone();
        let account = parcel.account.clone();
        let line = parcel.line();
        let published_at = parcel.envelope.published_at;
        let jobs = Place::Jobs(account.name().clone());
        loop {
            let waiting = self.waiting.enter(jobs.clone(), published_at);
            tokio::select! {
                biased;
                ready = self.ready_for_exempt(&account, &line) => {
                    drop(waiting);
                    let Some((slot, pass)) = ready else { return };
                    if hand.ticket.is_stale() {
                        return;
                    }
                    let working = self.quiet.read().await;
                    let mut attempted = self.attempt_exempt(parcel, pass).await;
                    drop((working, slot));
                    Self::see_to(attempted.errands).await;
                    match attempted.back.pop() {
                        None => return,
                        Some(again) => parcel = again,
                    }
                }
                () = tokio::time::sleep_until(self.held_until(&hand)) => {
                    return Box::pin(self.give_back_unless_stopped(&hand)).await;
                }
                () = self.stopping() => return Box::pin(self.give_back_unless_stopped(&hand)).await,
            }
        }
    }

    /// Waits for the store, a place among the requests under way, and the account's gate.
    async fn ready_for_exempt<'a>(
        &self,
        account: &'a Arc<AccountState>,
        line: &Line,
    ) -> Option<(SemaphorePermit<'a>, Pass)> {
        // The sender lives in the store's adapter, which this worker holds.
        self.ports.claims.up().wait_for(|up| *up).await.ok()?;
        account.ready_for_exempt(line).await
    }

    /// Waits for the store, as long as the message may be held and the worker runs.
    pub(super) async fn store_is_up(&self, hand: &Hand) -> bool {
        let mut up = self.ports.claims.up();
        tokio::select! {
            biased;
            found = up.wait_for(|up| *up) => found.is_ok(),
            () = tokio::time::sleep_until(self.held_until(hand)) => false,
            () = self.stopping() => false,
        }
    }

    async fn stopping(&self) {
        let mut stage = self.stage.clone();
        // A sender that is gone can't stop anybody; the process is ending then.
        let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
    }

    /// One attempt at an exempt delivery.
    pub(super) async fn attempt_exempt(self: &Arc<Self>, parcel: Parcel, pass: Pass) -> Attempted {
        let account = parcel.account.clone();
        let mut sorted = self.claim_group(vec![parcel]).await;
        let Some(claimed) = sorted.ready.pop() else {
            if sorted.store_down {
                self.pause_briefly().await;
            }
            return Attempted { back: sorted.back, errands: sorted.errands };
        };
        match Cargo::exempt(claimed) {
            Ok(cargo) => self.send_group(&account, cargo, pass).await,
            Err(claimed) => {
                // Only exempt deliveries are routed here; were one counted, its lane is the way.
                tracing::error!(delivery = %claimed.claim.id, "a counted delivery was led past its lane");
                let history = claimed.claim.history;
                let delay = Duration::from_secs(1);
                let later =
                    Settlement::Later { delay, history, alone: false, counted: true, cause: "counted" };
                Box::pin(self.apply(*claimed, later, Signal::Neutral)).await;
                Attempted::default()
            }
        }
    }

    pub(super) async fn pause_briefly(&self) {
        tokio::time::sleep(Duration::from_millis(100).mul_f64(1.0 + self.ports.chance.unit())).await;
    }

    /// Sends what is claimed, and judges the answer.
    pub(super) async fn send_group(
        self: &Arc<Self>,
        account: &Arc<AccountState>,
        cargo: Cargo<Parcel>,
        pass: Pass,
    ) -> Attempted {
        let name = account.name();
        let mut request = account.gateway().request(&cargo.deliveries());
        let host = cargo.first().map(|delivery| account.gateway().warm_up_url(delivery));
        let started = Instant::now();
        let write_by = cargo.write_by(started, self.ports.clock.now());
        if let Some(slot) = cargo.slot() {
            metrics::slot_write_delay(name, started.saturating_duration_since(slot));
        }
        if started >= write_by {
            // Most likely on the way to the store, which says nothing of the provider.
            metrics::write_too_late(name);
            let back = Box::pin(self.release_all(cargo.into_claimed())).await;
            return Attempted { back, ..Attempted::default() };
        }
        if let Some(host) = host {
            account.touch(host, started);
        }
        let call = Call::start(cargo.parcels().map(|parcel| &parcel.attempt), &request);
        carry_trace(&mut request, &call, &cargo);
        account.meters.request_started();
        let sent = self.ports.wire.send(request, write_by).await;
        account.meters.request_ended();
        call.end(&sent);
        match sent {
            Sent::TooLate => {
                let back = Box::pin(self.take_back(account, cargo, pass, host)).await;
                Attempted { back, ..Attempted::default() }
            }
            Sent::Answer(answer) => {
                let errand = self.follow_answer(account, cargo, &answer, started.elapsed(), pass).await;
                Attempted { errands: vec![errand], ..Attempted::default() }
            }
        }
    }

    /// Nothing was written: the claims go back as they were. Most likely the connection was not
    /// open yet, so one is opened before the next try. A provider that can't be reached in time
    /// again and again can't be connected to.
    async fn take_back(
        self: &Arc<Self>,
        account: &AccountState,
        cargo: Cargo<Parcel>,
        pass: Pass,
        host: Option<&Url>,
    ) -> Vec<Parcel> {
        metrics::write_too_late(account.name());
        tracing::debug!(account = %account.name(), "a request missed its time and was not written");
        let mut others = Vec::new();
        for mut claimed in cargo.into_claimed() {
            claimed.parcel.late += 1;
            if claimed.parcel.late < LATE_IN_A_ROW {
                others.push(claimed);
                continue;
            }
            let cause = "again and again no connection was open in time to use its slot".to_owned();
            self.settle(claimed, Fate::NotSent { cause }, Signal::Neutral, false).await;
        }
        let back = self.release_all(others).await;
        drop(pass);
        if let Some(host) = host {
            self.ports.wire.warm_up(host).await;
        }
        back
    }

    /// Gives claims back as they were.
    async fn release_all(&self, claimed: Vec<Claimed<Parcel>>) -> Vec<Parcel> {
        let mut back = Vec::new();
        for Claimed { parcel, claim, within: _ } in claimed {
            let release = Release { history: claim.history, signal: Signal::Neutral };
            // Without an answer the lease runs out by itself, and the attempt counts as unknown.
            let _ = self.store_surely(&parcel.hand, || self.ports.claims.release(&claim, release)).await;
            parcel.attempt.end(Ended { outcome: "released", error: Some("too_late") });
            back.push(parcel);
        }
        back
    }
}

/// Has the request say which span it belongs to: its own, or, where it has none and is of one delivery,
/// the one that the delivery came with.
fn carry_trace(request: &mut WireRequest, call: &Call, cargo: &Cargo<Parcel>) {
    let mut parcels = cargo.parcels();
    let lone = parcels.next().filter(|_| parcels.next().is_none());
    let context = call.context().or_else(|| lone.and_then(|parcel| parcel.envelope.context()));
    for (name, value) in context.iter().flat_map(Context::headers) {
        // A context is read and written in letters that every header takes.
        if let Ok(value) = HeaderValue::from_str(&value) {
            request.headers.push((HeaderName::from_static(name), value));
        }
    }
}
