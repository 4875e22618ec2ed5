//! One attempt: claim, send, settle.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::job::{Class, Delivery};
use crate::metrics::{self, RequestClass};
use crate::pipeline::claim::{self, Step};
use crate::pipeline::classify;
use crate::pipeline::envelope::Envelope;
use crate::pipeline::send::{Cargo, Claimed};
use crate::pipeline::settle::{self, Ending, Settlement, Situation};
use crate::ports::{Answer, Claim, Fenced, History, Pause, Purpose, Release, Sent, Suspicion};
use crate::providers::WireAnswer;
use crate::verdict::{Fate, Outcome, Signal, Status, Verdict};
use crate::worker::gate::GateState;
use crate::worker::parcel::Parcel;
use crate::worker::{AccountState, Worker};

/// How long a message whose delivery somebody else holds waits before it asks again, at most: most
/// holders end within a second.
const LONGEST_WAIT_FOR_HOLDER: Duration = Duration::from_secs(5);

/// The longest pause that a provider can impose; a larger number in an answer is a mistake.
const LONGEST_THROTTLE: Duration = Duration::from_secs(24 * 3_600);

/// What became of a wish for claims.
#[derive(Default)]
pub(super) struct Claims {
    /// Ours, to be sent.
    pub(super) ready: Vec<Claimed<Parcel>>,
    /// To be put back where they waited.
    pub(super) back: Vec<Parcel>,
    /// The store did not answer.
    pub(super) store_down: bool,
}

impl Worker {
    /// Claims deliveries that are to share a request. What ends or waits without one is led on its
    /// way; the rest is returned.
    pub(super) async fn claim_group(self: &Arc<Self>, parcels: Vec<Parcel>) -> Claims {
        let wishes: Vec<_> =
            parcels.iter().map(|p| claim::request(&p.delivery, &p.envelope, Purpose::Send)).collect();
        let answers = match self.ports.claims.claim(&wishes).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::warn!(%error, "no claims");
                return Claims { back: parcels, store_down: true, ..Claims::default() };
            }
        };
        let shared = parcels.len() > 1;
        let mut claims = Claims::default();
        for (parcel, answer) in parcels.into_iter().zip(answers) {
            match answer {
                Answer::Acquired(claim) => self.follow_claim(parcel, claim, shared, &mut claims),
                Answer::Paused(pause) => {
                    self.learn_pause(&parcel.account, pause);
                    claims.back.push(parcel);
                }
                Answer::Held(rest) => self.spawn_on(parcel, move |worker, parcel| async move {
                    worker.wait_for_holder(&parcel, rest).await;
                }),
                Answer::Ended { outcome, same } => self.spawn_on(parcel, move |worker, parcel| async move {
                    worker.follow_end(&parcel, outcome, same).await;
                }),
            }
        }
        claims
    }

    fn follow_claim(self: &Arc<Self>, parcel: Parcel, claim: Claim, shared: bool, claims: &mut Claims) {
        let repeat = parcel.account.account.gateway.repeat(&parcel.delivery);
        let attempts = claim.history.requests;
        match claim::step(&claim, &parcel.delivery, repeat, self.ports.clock.now()) {
            // Its positions in a shared answer could shift: it goes alone, next.
            Step::Send { .. } if shared && claim.history.unresolved_ms.is_some() => {
                self.spawn_on(parcel, move |worker, parcel| async move {
                    let back = Settlement::Later {
                        delay: Duration::ZERO,
                        history: claim.history,
                        alone: true,
                        counted: false,
                        cause: "alone",
                    };
                    worker.apply(Claimed { parcel, claim, within: None }, back, Signal::Neutral).await;
                });
            }
            Step::Send { within } => claims.ready.push(Claimed { parcel, claim, within }),
            Step::Expire => self.end_unsent(parcel, claim, Ending::unsent(Status::Expired, attempts)),
            Step::Bury(reason, detail) => {
                self.end_unsent(parcel, claim, Ending::dead(reason, &detail, attempts));
            }
        }
    }

    fn end_unsent(self: &Arc<Self>, parcel: Parcel, claim: Claim, ending: Ending) {
        self.spawn_on(parcel, move |worker, parcel| async move {
            let claimed = Claimed { parcel, claim, within: None };
            worker.apply(claimed, Settlement::End(ending), Signal::Neutral).await;
        });
    }

    fn spawn_on<F>(self: &Arc<Self>, parcel: Parcel, work: impl FnOnce(Arc<Self>, Parcel) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let tickets = vec![parcel.hand.ticket.clone()];
        let work = work(self.clone(), parcel);
        self.spawn(tickets, work);
    }

    /// Somebody else holds the delivery: ask again when it may be over. Uses up no retry.
    async fn wait_for_holder(&self, parcel: &Parcel, rest: Duration) {
        let delay = rest.clamp(Duration::from_millis(200), LONGEST_WAIT_FOR_HOLDER);
        let at = self.ports.clock.now() + delay;
        let crashes = parcel.envelope.crashes.saturating_add(parcel.hand.redeliveries);
        let envelope = Envelope { crashes, ..parcel.envelope.clone() };
        let outgoing = self.waiting(parcel, envelope, parcel.hand.place.clone(), at);
        if self.publish_surely(&parcel.hand, outgoing).await {
            parcel.hand.ticket.ack().await;
        }
    }

    /// The delivery has ended before: by this same message, whose effects are done again (a crash
    /// may have come between), or by another one, whose duplicate this is.
    async fn follow_end(&self, parcel: &Parcel, outcome: Outcome, same: bool) {
        let outcome = if same {
            outcome
        } else {
            let mut duplicate = Ending::unsent(Status::Duplicate, 0).at(self.ports.clock.now());
            duplicate.acceptance.message_code = outcome.acceptance.message_code;
            duplicate
        };
        self.finish(parcel, &outcome).await;
    }

    /// Ends a delivery whose time has passed.
    pub(super) async fn expire(self: &Arc<Self>, parcel: Parcel) {
        let repeat = parcel.account.account.gateway.repeat(&parcel.delivery);
        let now = self.ports.clock.now();
        self.end_without_request(&parcel, |claim| {
            let attempts = claim.history.requests;
            match claim::step(claim, &parcel.delivery, repeat, now) {
                Step::Bury(reason, detail) => Ending::dead(reason, &detail, attempts).at(now),
                // It was expired when this way was chosen; a clock that went back since does not
                // make it young again.
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
        let wish = [claim::request(&parcel.delivery, &parcel.envelope, Purpose::End)];
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

    pub(super) async fn give_back_unless_stopped(&self, hand: &crate::worker::parcel::Hand) {
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
        loop {
            tokio::select! {
                ready = self.ready_for_exempt(&account) => {
                    let Some(_slot) = ready else { return };
                    if hand.ticket.is_stale() {
                        account.gate.leave();
                        return;
                    }
                    let _working = self.quiet.read().await;
                    match self.attempt_exempt(parcel).await {
                        None => return,
                        Some(again) => parcel = again,
                    }
                }
                () = tokio::time::sleep_until(self.held_until(&hand)) => {
                    return self.give_back_unless_stopped(&hand).await;
                }
                () = self.stopping() => return,
            }
        }
    }

    /// Waits for the store, a place among the requests under way, and the account's gate.
    async fn ready_for_exempt<'a>(
        &self,
        account: &'a AccountState,
    ) -> Option<tokio::sync::SemaphorePermit<'a>> {
        // The sender lives in the store's adapter, which this worker holds.
        self.ports.claims.up().wait_for(|up| *up).await.ok()?;
        let slot = account.exempt_in_flight.acquire().await.ok()?;
        account.gate.pass().await;
        Some(slot)
    }

    async fn stopping(&self) {
        let mut stage = self.stage.clone();
        let _ = stage.wait_for(|stage| *stage != crate::worker::Stage::Running).await;
    }

    /// One attempt at an exempt delivery; gives it back when it was not sent and should be tried
    /// again soon.
    pub(super) async fn attempt_exempt(self: &Arc<Self>, parcel: Parcel) -> Option<Parcel> {
        let account = parcel.account.clone();
        let mut claims = self.claim_group(vec![parcel]).await;
        let Some(claimed) = claims.ready.pop() else {
            if claims.back.is_empty() || claims.store_down {
                account.gate.leave();
            }
            if claims.store_down {
                self.pause_briefly().await;
            }
            return claims.back.pop();
        };
        match Cargo::exempt(claimed) {
            Ok(cargo) => self.send_group(&account, cargo).await.pop(),
            Err(claimed) => {
                // Only exempt deliveries are routed here; were one counted, its lane is the way.
                account.gate.leave();
                let history = claimed.claim.history;
                let later = Settlement::Later {
                    delay: Duration::ZERO,
                    history,
                    alone: false,
                    counted: true,
                    cause: "counted",
                };
                self.apply(*claimed, later, Signal::Neutral).await;
                None
            }
        }
    }

    pub(super) async fn pause_briefly(&self) {
        tokio::time::sleep(Duration::from_millis(100).mul_f64(1.0 + self.ports.chance.unit())).await;
    }

    /// Sends what is claimed and settles it. Gives back what could not be written in time.
    pub(super) async fn send_group(
        self: &Arc<Self>,
        account: &AccountState,
        cargo: Cargo<Parcel>,
    ) -> Vec<Parcel> {
        let gateway = account.account.gateway.as_ref();
        let name = account.name();
        let (answer, took) = {
            let deliveries = cargo.deliveries();
            let request = gateway.request(&deliveries);
            let started = Instant::now();
            let write_by = cargo.write_by(started, self.ports.clock.now());
            if let Some(slot) = cargo.slot() {
                metrics::slot_write_delay(name, started.saturating_duration_since(slot));
            }
            account.touch(started);
            metrics::request_started(name);
            let sent = self.ports.wire.send(request, write_by).await;
            metrics::request_ended(name);
            (sent, started.elapsed())
        };
        match answer {
            Sent::TooLate => self.take_back(account, cargo).await,
            Sent::Answer(answer) => {
                self.follow_answer(account, cargo, &answer, took).await;
                Vec::new()
            }
        }
    }

    /// Nothing was written: the claims go back as they were. Most likely the connection was not
    /// open yet, so one is opened before the next try.
    async fn take_back(&self, account: &AccountState, cargo: Cargo<Parcel>) -> Vec<Parcel> {
        metrics::write_too_late(account.name());
        let mut back = Vec::new();
        for claimed in cargo.into_claimed() {
            let release = Release { history: claimed.claim.history, signal: Signal::Neutral };
            // Without an answer the lease runs out by itself, and the attempt counts as unknown.
            let _ = self
                .store_surely(&claimed.parcel.hand, || self.ports.claims.release(&claimed.claim, release))
                .await;
            back.push(claimed.parcel);
        }
        account.gate.leave();
        self.ports.wire.warm_up(&account.account.gateway.warm_up_url()).await;
        back
    }

    async fn follow_answer(
        self: &Arc<Self>,
        account: &AccountState,
        cargo: Cargo<Parcel>,
        answer: &WireAnswer,
        took: Duration,
    ) {
        let verdict = account.account.gateway.verdict(&cargo.deliveries(), answer, cargo.after_unknown());
        let (name, operation, class) = (account.name(), operation_of(&cargo), class_of(&cargo));
        metrics::provider_request(name, operation, class, verdict.label(), took);
        tell_answer(name.as_str(), operation, class.as_str(), &verdict, answer, took);
        if let Some(wait) = verdict.throttled() {
            self.throttle(account, &cargo, wait).await;
        }
        let signal = verdict.signal();
        let probe = account.gate.cause().is_some();
        let claimed = cargo.into_claimed();
        let fates = verdict.apportion(claimed.len());
        // One request is one sign of the provider's health, however many deliveries it carried.
        let signals = std::iter::once(signal).chain(std::iter::repeat(Signal::Neutral));
        join_all(claimed.into_iter().zip(fates).zip(signals).map(|((claimed, fate), signal)| {
            let worker = self.clone();
            async move { worker.settle(claimed, fate, signal, probe).await }
        }))
        .await;
        match signal {
            Signal::Healthy => self.open_gate(account),
            Signal::Faulty | Signal::Neutral => account.gate.leave(),
        }
    }

    /// The provider's limit: counted requests of the pool wait, for all workers.
    async fn throttle(&self, account: &AccountState, cargo: &Cargo<Parcel>, wait: Option<Duration>) {
        let wait = wait.unwrap_or(self.manner.circuit.throttle_pause).min(LONGEST_THROTTLE);
        tracing::warn!(account = %account.name(), seconds = wait.as_secs_f64(), "the provider throttles; counted requests of the account wait");
        for key in cargo.deliveries().iter().filter_map(|delivery| pool_of(account, delivery)).take(1) {
            if let Err(error) = self.ports.permits.pause_pool(key, wait).await {
                tracing::warn!(%error, "the pause did not reach the store; other workers will be throttled too");
            }
            if let Some(dispatcher) = self.dispatchers.get(key) {
                dispatcher.pause(Instant::now() + wait);
            }
        }
    }

    async fn settle(self: Arc<Self>, claimed: Claimed<Parcel>, fate: Fate, signal: Signal, probe: bool) {
        let fate = match fate {
            Fate::Misconfigured { cause } => self.follow_suspicion(&claimed, cause).await,
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
            repeat: parcel.account.account.gateway.repeat(&parcel.delivery),
            probe,
            age: self.age_of(parcel),
            policy: &self.manner.retry,
            unit: self.ports.chance.unit(),
        };
        let settlement = settle::decide(fate, &situation);
        self.apply(claimed, settlement, signal).await;
    }

    /// The provider found the account at fault: pause it for all, or, where others were accepted
    /// since this same delivery was suspected, blame the delivery.
    async fn follow_suspicion(&self, claimed: &Claimed<Parcel>, cause: String) -> Fate {
        let parcel = &claimed.parcel;
        match self.store_surely(&parcel.hand, || self.ports.claims.suspect(&claimed.claim)).await {
            Some(Suspicion::Delivery) => Fate::Refused { reason: cause },
            Some(Suspicion::Paused(pause)) => {
                self.learn_pause(&parcel.account, pause);
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
        let start = parcel
            .delivery
            .job
            .not_before
            .map_or(parcel.envelope.published_at, |at| at.max(parcel.envelope.published_at));
        crate::pipeline::send::until(start, self.ports.clock.now())
    }

    /// Writes a settlement: its claim first, then what others see, then the ack.
    pub(super) async fn apply(&self, claimed: Claimed<Parcel>, settlement: Settlement, signal: Signal) {
        match settlement {
            Settlement::End(ending) => self.apply_end(&claimed, ending, signal).await,
            Settlement::Later { delay, history, alone, counted, cause } => {
                let release = Release { history, signal };
                self.apply_later(&claimed, release, delay, Marks { alone, counted }, cause).await;
            }
        }
    }

    async fn apply_end(&self, claimed: &Claimed<Parcel>, ending: Ending, signal: Signal) {
        let outcome = ending.at(self.ports.clock.now());
        self.write_outcome(&claimed.parcel, &claimed.claim, outcome, signal).await;
    }

    async fn write_outcome(&self, parcel: &Parcel, claim: &Claim, outcome: Outcome, signal: Signal) {
        match self.store_surely(&parcel.hand, || self.ports.claims.end(claim, &outcome, signal)).await {
            Some(Fenced(false)) => self.finish(parcel, &outcome).await,
            Some(Fenced(true)) => {
                tracing::warn!(delivery = %claim.id, "the lease ran out and another worker took over; its result counts");
                parcel.hand.ticket.requeue().await;
            }
            None => self.carry_outcome(parcel, outcome).await,
        }
    }

    /// The store did not answer for so long that the message must go back; what is known of its end
    /// goes with it. Lost (the worker stops), the claim stays `sending`, and whoever finds it treats
    /// it as unknown.
    async fn carry_outcome(&self, parcel: &Parcel, outcome: Outcome) {
        if self.is_stopped() {
            return;
        }
        let envelope =
            Envelope { outcome: Some(outcome), due: None, internal: true, ..parcel.envelope.clone() };
        let to = parcel.hand.place.clone();
        let outgoing = self.waiting(parcel, envelope, to, self.ports.clock.now());
        if self.publish_surely(&parcel.hand, outgoing).await {
            parcel.hand.ticket.ack().await;
        }
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
        // Without an answer the claim stays `sending` until its lease ends, and the attempt counts as
        // one of unknown outcome; the message goes on all the same, with its history.
        if self.store_surely(&parcel.hand, || self.ports.claims.release(claim, release)).await.is_none()
            && self.is_stopped()
        {
            return;
        }
        let job = &parcel.delivery.job;
        metrics::delivery_retried(&job.account, &job.operation, cause);
        let envelope = marks.on(&parcel.envelope, release.history);
        let to = classify::home_of_retry(&parcel.delivery, &envelope);
        let outgoing = self.waiting(parcel, envelope, to, self.ports.clock.now() + delay);
        if self.publish_surely(&parcel.hand, outgoing).await {
            parcel.hand.ticket.ack().await;
        }
    }

    /// Closes the account's gate in this worker.
    pub(super) fn learn_pause(&self, account: &AccountState, pause: Pause) {
        if account.gate.learn(pause, Instant::now()) {
            tracing::warn!(account = %account.name(), cause = pause.cause.as_str(), seconds = pause.wait.as_secs_f64(), "the account is paused");
        }
        self.tell_gate(account);
        self.wake_dispatchers(account);
    }

    fn open_gate(&self, account: &AccountState) {
        if account.gate.state(Instant::now()) != GateState::Open && account.gate.open() {
            tracing::info!(account = %account.name(), "the account is open again");
            self.tell_gate(account);
        }
        self.wake_dispatchers(account);
    }

    fn wake_dispatchers(&self, account: &AccountState) {
        for dispatcher in account.pools.values().filter_map(|key| self.dispatchers.get(key)) {
            dispatcher.wake();
        }
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

/// The pool that a delivery takes its permits from.
pub(super) fn pool_of<'a>(
    account: &'a AccountState,
    delivery: &Delivery,
) -> Option<&'a crate::ports::PoolKey> {
    let pool = match delivery.class {
        Class::Counted(pool) => Some(pool),
        Class::Exempt => account.account.gateway.fallback_pool(delivery),
    };
    account.pools.get(&pool?)
}

const fn class_of(cargo: &Cargo<Parcel>) -> RequestClass {
    if cargo.is_counted() { RequestClass::Counted } else { RequestClass::Exempt }
}

/// All deliveries of a request are of one operation.
fn operation_of(cargo: &Cargo<Parcel>) -> &'static str {
    let operation = cargo.deliveries().first().map_or(String::new(), |d| d.job.operation.clone());
    let all = crate::providers::ALL.iter().flat_map(|provider| provider.operations());
    all.copied().find(|known| *known == operation).unwrap_or("unknown")
}

fn tell_answer(
    account: &str,
    operation: &str,
    class: &str,
    verdict: &Verdict,
    answer: &WireAnswer,
    took: Duration,
) {
    let status = match answer {
        WireAnswer::Response { status, .. } => Some(*status),
        WireAnswer::NotSent(_) | WireAnswer::Lost(_) => None,
    };
    let (result, milliseconds) = (verdict.label(), took.as_secs_f64() * 1_000.0);
    match verdict {
        Verdict::Accepted(_)
        | Verdict::AcceptedBefore(_)
        | Verdict::Refused { .. }
        | Verdict::Partial { .. } => {
            tracing::info!(account, operation, class, result, status, milliseconds, "answered");
        }
        Verdict::Throttled { .. } => {
            tracing::warn!(account, operation, class, result, status, milliseconds, "answered")
        }
        Verdict::NotSent { cause } | Verdict::Misconfigured { cause } => {
            tracing::warn!(account, operation, class, result, status, milliseconds, cause, "answered");
        }
        Verdict::Failed { cause, .. } | Verdict::Unknown { cause, .. } => {
            tracing::warn!(account, operation, class, result, status, milliseconds, cause, "answered");
        }
    }
}
