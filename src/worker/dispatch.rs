//! Counted deliveries wait here for a permit. One dispatcher for each pool of limits.
//!
//! The dispatcher asks for permits only while deliveries are in hand, a few ahead; when a slot
//! falls due it picks what goes. It never polls: without work nothing is asked, and when nothing
//! can be granted the limiter says when to ask again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Weights;
use crate::job::{AccountName, Line, Priority};
use crate::metrics::{self, LimitLabel};
use crate::pipeline::classify::Route;
use crate::pipeline::permit::{Lane, Lanes, Waiting, permits_ahead};
use crate::pipeline::send::Cargo;
use crate::ports::{Grant, Permit, Place, PoolKey, StoreError, Window};
use crate::worker::account::{AccountState, Pass};
use crate::worker::gate::GateState;
use crate::worker::parcel::{Hand, Parcel};
use crate::worker::report::{Tally, Waiting as Elsewhere};
use crate::worker::{Stage, Worker};

/// After a failed trip to the store, how long until the next.
const STORE_RETRY: Duration = Duration::from_millis(300);

/// The waiting room of one pool.
pub(super) struct Dispatcher {
    pub(super) key: PoolKey,
    /// The limit's queues, the same for every account that shares it.
    pub(super) line: Line,
    pub(super) windows: Vec<Window>,
    label: LimitLabel,
    room: Mutex<Room>,
    wake: Notify,
    /// Told when something else waits here than before.
    elsewhere: Arc<Elsewhere>,
}

struct Room {
    lanes: Lanes<Parcel>,
    /// Permits whose deliveries turned out to need none.
    returned: Vec<Permit>,
    /// Nothing is sent before: the provider asked for it.
    paused_until: Option<Instant>,
    /// How many deliveries recent requests carried on average.
    carried: Option<f64>,
}

/// What the dispatcher's loop keeps to itself.
struct Desk {
    permits: Vec<Permit>,
    asking: Option<BoxFuture<'static, Result<Grant, StoreError>>>,
    ask_at: Instant,
}

impl Dispatcher {
    pub(super) fn new(
        key: PoolKey,
        line: Line,
        windows: Vec<Window>,
        label: LimitLabel,
        weights: Weights,
        elsewhere: Arc<Elsewhere>,
    ) -> Self {
        let lanes = Lanes::new(weights);
        let room = Room { lanes, returned: Vec::new(), paused_until: None, carried: None };
        Self { key, line, windows, label, room: Mutex::new(room), wake: Notify::new(), elsewhere }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        // Nothing that runs under the lock panics half-way through a change.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sends nothing before `until` (or a later moment that was said before); permits in hand are
    /// thrown away.
    pub(super) fn pause(&self, until: Instant) {
        let mut room = self.room();
        room.paused_until = Some(room.paused_until.map_or(until, |known| known.max(until)));
        drop(room);
        self.wake();
    }

    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.room().paused_until.is_some_and(|until| now < until)
    }

    fn push(&self, lane: Lane, parcel: Parcel) {
        self.room().lanes.push(lane, parcel);
        self.elsewhere.changed();
        self.wake();
    }

    fn put_back(&self, parcels: Vec<Parcel>) {
        let mut room = self.room();
        for parcel in parcels.into_iter().rev() {
            room.lanes.put_back(lane_of(&parcel), parcel);
        }
        drop(room);
        self.elsewhere.changed();
    }

    /// Remembers how many deliveries a request carried.
    fn count_carried(&self, deliveries: usize) {
        /// What the newest request weighs in the average.
        const NEWEST: f64 = 0.1;
        let mut room = self.room();
        let count = deliveries as f64;
        room.carried = Some(room.carried.map_or(count, |mean| mean + (count - mean) * NEWEST));
    }

    /// How many deliveries recent requests carried on average; `None` before the first.
    pub(super) fn carried(&self) -> Option<f64> {
        self.room().carried
    }

    /// Adds what is in hand to a tally.
    pub(super) fn tally(&self, tally: &mut Tally) {
        let room = self.room();
        for parcel in Lane::ALL.into_iter().flat_map(|lane| room.lanes.iter(lane)) {
            tally.add(place_of(parcel), parcel.envelope.published_at);
        }
    }
}

impl Worker {
    /// Puts a counted delivery into its pool's waiting room.
    pub(super) async fn enqueue(self: Arc<Self>, parcel: Parcel) {
        let Some(dispatcher) = parcel.account.room_of(&parcel.delivery).cloned() else {
            // A provider that counts a request names its pool; see the test over all of them.
            tracing::error!(delivery = %parcel.delivery.id, "a counted delivery has no pool");
            return self.wait_on_ladder(&parcel, parcel.envelope.clone(), Duration::from_secs(60)).await;
        };
        let url = parcel.account.gateway().warm_up_url(&parcel.delivery);
        if parcel.account.touch(url, Instant::now()) {
            let (worker, url) = (self.clone(), url.clone());
            self.tasks.spawn(async move { worker.ports.wire.warm_up(&url).await });
        }
        if !self.is_running() {
            return self.give_back_unless_stopped(&parcel.hand).await;
        }
        dispatcher.push(lane_of(&parcel), parcel);
    }

    /// The dispatcher's loop.
    pub(super) async fn dispatch(self: Arc<Self>, dispatcher: Arc<Dispatcher>) {
        let mut stage = self.stage.clone();
        let mut desk = Desk { permits: Vec::new(), asking: None, ask_at: Instant::now() };
        while *stage.borrow_and_update() == Stage::Running {
            let now = Instant::now();
            self.return_old(&dispatcher, now);
            self.spend_due(&dispatcher, &mut desk, now);
            self.ask_if_needed(&dispatcher, &mut desk, now);
            let next = self.next_event(&dispatcher, &desk, now);
            tokio::select! {
                biased;
                grant = answer_of(&mut desk.asking) => {
                    desk.asking = None;
                    self.take_grant(&dispatcher, &mut desk, grant);
                }
                () = dispatcher.wake.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                _ = stage.changed() => {}
            }
        }
        self.return_if(&dispatcher, |_| true);
    }

    /// Gives back what was held too long, and drops what is stale.
    fn return_old(self: &Arc<Self>, dispatcher: &Dispatcher, now: Instant) {
        self.return_if(dispatcher, |hand| hand.ticket.is_stale() || self.held_until(hand) <= now);
    }

    fn return_if(self: &Arc<Self>, dispatcher: &Dispatcher, condition: impl Fn(&Hand) -> bool) {
        let taken = dispatcher.room().lanes.extract(|parcel| condition(&parcel.hand));
        if !taken.is_empty() {
            dispatcher.elsewhere.changed();
        }
        for parcel in taken.into_iter().filter(|parcel| !parcel.hand.ticket.is_stale()) {
            let worker = self.clone();
            let tickets = vec![parcel.hand.ticket.clone()];
            self.spawn(tickets, async move { worker.give_back_unless_stopped(&parcel.hand).await });
        }
    }

    fn spend_due(self: &Arc<Self>, dispatcher: &Arc<Dispatcher>, desk: &mut Desk, now: Instant) {
        desk.permits.append(&mut dispatcher.room().returned);
        if dispatcher.is_paused(now) {
            desk.permits.clear();
        }
        desk.permits.retain(|permit| permit.closes > now);
        desk.permits.sort_by_key(|permit| permit.opens);
        while desk.permits.first().is_some_and(|permit| permit.opens <= now) {
            let Some((group, pass)) = self.pick(dispatcher, now) else { return };
            let permit = desk.permits.remove(0);
            self.spawn_spending(dispatcher, group, pass, permit);
        }
    }

    fn put_back(self: &Arc<Self>, dispatcher: &Dispatcher, parcels: Vec<Parcel>) {
        dispatcher.put_back(parcels);
        if self.is_running() {
            dispatcher.wake();
        } else {
            // The loop that would have led them on has ended.
            self.return_if(dispatcher, |_| true);
        }
    }

    fn spawn_spending(
        self: &Arc<Self>,
        dispatcher: &Arc<Dispatcher>,
        group: Vec<Parcel>,
        pass: Pass,
        permit: Permit,
    ) {
        let tickets = group.iter().map(|parcel| parcel.hand.ticket.clone()).collect();
        let (worker, dispatcher) = (self.clone(), dispatcher.clone());
        self.spawn(tickets, async move { worker.spend(&dispatcher, group, pass, permit).await });
    }

    /// Picks what the next permit carries; what has expired or must wait is led away without one.
    fn pick(self: &Arc<Self>, dispatcher: &Dispatcher, now: Instant) -> Option<(Vec<Parcel>, Pass)> {
        while self.is_running() {
            let group = dispatcher
                .room()
                .lanes
                .pick(|name| self.admits(dispatcher, name, now), |name| self.most(dispatcher, name, now));
            if group.is_empty() {
                return None;
            }
            dispatcher.elsewhere.changed();
            let mut live = Vec::new();
            for (_, parcel) in group {
                match self.route(&parcel, 1) {
                    Route::Wait if parcel.hand.ticket.is_stale() => {}
                    Route::Wait => live.push(parcel),
                    Route::Expired | Route::Later(..) | Route::Forward(_) | Route::Send => {
                        let worker = self.clone();
                        let tickets = vec![parcel.hand.ticket.clone()];
                        self.spawn(tickets, async move { worker.lead_again(parcel).await });
                    }
                }
            }
            let Some(account) = live.first().map(|first| first.account.clone()) else { continue };
            match account.enter(&dispatcher.line, now) {
                Some(pass) => return Some((live, pass)),
                // Somebody else went through the half open gate a moment ago.
                None => dispatcher.put_back(live),
            }
        }
        None
    }

    fn admits(&self, dispatcher: &Dispatcher, name: &AccountName, now: Instant) -> bool {
        self.accounts.get(name).is_some_and(|account| match account.admission(&dispatcher.line, now) {
            GateState::Open | GateState::HalfOpen { free: true } => true,
            GateState::Closed(_) | GateState::HalfOpen { free: false } => false,
        })
    }

    fn most(&self, dispatcher: &Dispatcher, name: &AccountName, now: Instant) -> usize {
        self.accounts.get(name).map_or(1, |account| match account.admission(&dispatcher.line, now) {
            GateState::Open => account.gateway().deliveries_per_request(),
            GateState::Closed(_) | GateState::HalfOpen { .. } => 1,
        })
    }

    /// Uses a permit that has fallen due: for this group, or, where all of it turns out to need
    /// none (duplicates, others' work), for the next.
    async fn spend(
        self: Arc<Self>,
        dispatcher: &Arc<Dispatcher>,
        group: Vec<Parcel>,
        pass: Pass,
        permit: Permit,
    ) {
        let Some(account) = group.first().map(|parcel| parcel.account.clone()) else { return };
        let working = self.quiet.read().await;
        if !dispatcher.windows.is_empty() {
            for parcel in &group {
                metrics::permit_wait(account.name(), parcel.hand.received.elapsed());
            }
        }
        let sorted = self.claim_group(group).await;
        self.spawn_all(sorted.errands);
        self.put_back(dispatcher, sorted.back);
        if !sorted.ready.is_empty() {
            dispatcher.count_carried(sorted.ready.len());
            let attempted = self.send_group(&account, Cargo::counted(sorted.ready, permit), pass).await;
            self.spawn_all(attempted.errands);
            return self.put_back(dispatcher, attempted.back);
        }
        drop((working, pass));
        if sorted.store_down {
            self.pause_briefly().await;
            return dispatcher.wake();
        }
        match self.pick(dispatcher, Instant::now()) {
            Some((next, pass)) => self.spawn_spending(dispatcher, next, pass, permit),
            None => {
                dispatcher.room().returned.push(permit);
                dispatcher.wake();
            }
        }
    }

    fn ask_if_needed(&self, dispatcher: &Dispatcher, desk: &mut Desk, now: Instant) {
        let n = permits_to_ask_for(dispatcher, desk, self.wanted(dispatcher, now));
        if n == 0 || desk.asking.is_some() || now < desk.ask_at {
            return;
        }
        let (permits, key) = (self.ports.permits.clone(), dispatcher.key.clone());
        desk.asking = Some(Box::pin(async move { permits.take(&key, n).await }));
    }

    /// How many requests could be made of what waits; counted no further than is ever asked for.
    fn wanted(&self, dispatcher: &Dispatcher, now: Instant) -> u32 {
        const WHOLE: u32 = 1_000_000;
        let room = dispatcher.room();
        let mut parts: u32 = 0;
        for parcel in Lane::ALL.into_iter().flat_map(|lane| room.lanes.iter(lane)) {
            if self.admits(dispatcher, parcel.account(), now) {
                let shared = if parcel.batch().is_some() {
                    self.most(dispatcher, parcel.account(), now).max(1)
                } else {
                    1
                };
                parts += WHOLE / u32::try_from(shared).unwrap_or(WHOLE);
            }
            if parts > 8 * WHOLE {
                break;
            }
        }
        parts.div_ceil(WHOLE)
    }

    fn take_grant(&self, dispatcher: &Dispatcher, desk: &mut Desk, grant: Result<Grant, StoreError>) {
        let now = Instant::now();
        let granted = grant.as_ref().map_or(0, |grant| grant.permits.len());
        metrics::permits_asked_for(&dispatcher.label, granted);
        match grant {
            Ok(grant) => {
                desk.permits.extend(grant.permits);
                if let Some(at) = grant.retry_at {
                    desk.ask_at = at;
                }
                if let Some(pause) = grant.paused {
                    dispatcher.pause(now + pause.wait);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no permits");
                desk.ask_at = now + STORE_RETRY.mul_f64(1.0 + self.ports.chance.unit());
            }
        }
    }

    /// The next moment at which the loop has something to do by itself.
    fn next_event(&self, dispatcher: &Dispatcher, desk: &Desk, now: Instant) -> Instant {
        let far = now + Duration::from_secs(3_600);
        let wanted = self.wanted(dispatcher, now);
        let slot = desk.permits.first().map(|permit| if wanted > 0 { permit.opens } else { permit.closes });
        let missing = desk.asking.is_none() && permits_to_ask_for(dispatcher, desk, wanted) > 0;
        let ask = missing.then_some(desk.ask_at);
        let room = dispatcher.room();
        let heads = Lane::ALL.into_iter().filter_map(|lane| room.lanes.iter(lane).next());
        let old = heads.map(|parcel| self.held_until(&parcel.hand)).min();
        let closed = |account: &Arc<AccountState>| match account.admission(&dispatcher.line, now) {
            GateState::Closed(until) => Some(until),
            GateState::Open | GateState::HalfOpen { .. } => None,
        };
        let own =
            self.accounts.values().filter(|account| account.rooms().any(|room| room.key == dispatcher.key));
        let gates = own.filter_map(closed).min();
        let pause = room.paused_until.filter(|until| *until > now);
        let soonest = match pause {
            // While paused neither slots nor asking can bring anything on.
            Some(until) => [Some(until), old, gates].into_iter().flatten().min(),
            None => [slot, ask, old, gates].into_iter().flatten().min(),
        };
        soonest.unwrap_or(far).max(now + Duration::from_micros(100))
    }

    /// A delivery that waited for a permit and needs none any more.
    async fn lead_again(self: Arc<Self>, parcel: Parcel) {
        match self.route(&parcel, 1) {
            Route::Expired => self.expire(parcel).await,
            Route::Send => self.deliver_exempt(parcel).await,
            Route::Wait | Route::Later(..) | Route::Forward(_) => self.give_back(&parcel.hand).await,
        }
    }
}

/// How many permits are missing for `wanted` requests. One in reserve bridges the trip to the store;
/// asking only when it is the last brings several at a time.
fn permits_to_ask_for(dispatcher: &Dispatcher, desk: &Desk, wanted: u32) -> u32 {
    let held = u32::try_from(desk.permits.len()).unwrap_or(u32::MAX);
    let ahead = wanted.min(permits_ahead(&dispatcher.windows));
    if held > 1 { 0 } else { ahead.saturating_sub(held) }
}

/// The lane whose queue a delivery came from; one from elsewhere waits like any other.
fn lane_of(parcel: &Parcel) -> Lane {
    Lane::of(&parcel.hand.place).unwrap_or(match parcel.delivery.job.priority {
        Priority::High => Lane::High,
        Priority::Normal => Lane::Normal,
        Priority::Low => Lane::Low,
    })
}

/// The queue that stands for the lane in which a delivery waits.
fn place_of(parcel: &Parcel) -> Place {
    match Lane::of(&parcel.hand.place) {
        Some(_) => parcel.hand.place.clone(),
        None => Place::Lane(parcel.account().clone(), parcel.line(), parcel.delivery.job.priority),
    }
}

async fn answer_of(
    asking: &mut Option<BoxFuture<'static, Result<Grant, StoreError>>>,
) -> Result<Grant, StoreError> {
    match asking {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}
