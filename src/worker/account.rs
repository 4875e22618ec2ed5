//! One account, as the worker uses it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use reqwest::Url;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::{Account, WorkerConfig};
use crate::job::{AccountName, Class, Delivery, Line, Pool};
use crate::metrics::Meters;
use crate::ports::{Pause, PauseCause, Place, PoolKey};
use crate::providers::Gateway;
use crate::worker::dispatch::Dispatcher;
use crate::worker::gate::{Gate, GateState};
use crate::worker::spread::RoundTrips;

/// A provider's connection is thought cold when nothing was sent for this long.
const COLD_AFTER: Duration = Duration::from_secs(25);

/// One account: its gateway, and a gate and a waiting room for each of its limits.
pub struct AccountState {
    account: Arc<Account>,
    main_gate: Gate,
    /// One for each further limit.
    gates_beside: BTreeMap<Line, Gate>,
    /// Not open while the broker refuses the account's receipts. What this worker found out, and no
    /// other knows.
    receipts_gate: Gate,
    /// Bounds the exempt requests under way.
    exempt_in_flight: Semaphore,
    /// Bounds the exempt requests a second.
    exempt_ceiling: Option<DefaultDirectRateLimiter>,
    rooms: BTreeMap<Pool, Arc<Dispatcher>>,
    /// When a request was last made to each of the provider's hosts, by the address that opens a
    /// connection to it.
    last_requests: Mutex<BTreeMap<Url, Instant>>,
    round_trips: Mutex<BTreeMap<Line, RoundTrips>>,
    pub(super) meters: Meters,
}

impl AccountState {
    pub(super) fn new(
        account: Arc<Account>,
        config: &WorkerConfig,
        dispatchers: &BTreeMap<PoolKey, Arc<Dispatcher>>,
    ) -> Self {
        let pools = account.gateway.pools();
        let lines = pools.iter().map(|(pool, _, _)| pool.line()).filter(|line| *line != Line::MAIN);
        let gates_beside = lines.map(|line| (line, Gate::default())).collect();
        let rooms = pools
            .into_iter()
            .filter_map(|(pool, key, _)| Some((pool, dispatchers.get(&key)?.clone())))
            .collect();
        Self {
            meters: Meters::new(account.name.clone()),
            account,
            main_gate: Gate::default(),
            gates_beside,
            receipts_gate: Gate::default(),
            exempt_in_flight: Semaphore::new(config.requests_in_flight),
            exempt_ceiling: config.exempt_per_second.and_then(NonZeroU32::new).map(|most| {
                // One at a time: the quota's burst would be a second's worth.
                RateLimiter::direct(Quota::per_second(most).allow_burst(NonZeroU32::MIN))
            }),
            rooms,
            last_requests: Mutex::default(),
            round_trips: Mutex::default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &AccountName {
        &self.account.name
    }

    /// Its provider's name.
    pub(super) fn provider(&self) -> &'static str {
        self.account.provider
    }

    pub(super) fn gateway(&self) -> &dyn Gateway {
        self.account.gateway.as_ref()
    }

    /// Its limits, each with a gate of its own.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        std::iter::once(&Line::MAIN).chain(self.gates_beside.keys())
    }

    fn gate(&self, line: &Line) -> &Gate {
        self.gates_beside.get(line).unwrap_or(&self.main_gate)
    }

    pub(super) fn gate_state(&self, line: &Line, now: Instant) -> GateState {
        self.gate(line).state(now)
    }

    /// What is let through for one of its limits: its gate and that of the receipts must let it pass.
    pub(super) fn admission(&self, line: &Line, now: Instant) -> GateState {
        self.gate(line).state(now).and(self.receipts_gate.state(now))
    }

    pub(super) fn are_receipts_refused(&self) -> bool {
        self.receipts_gate.cause().is_some()
    }

    /// A receipt was refused: nothing new is sent for `wait`, then one at a time, until one is taken.
    /// Returns whether that is news.
    pub(super) fn receipts_refused(&self, wait: Duration, now: Instant) -> bool {
        let news = self.receipts_gate.learn(Pause { wait, cause: PauseCause::Receipts }, now);
        self.wake_rooms();
        news
    }

    /// A receipt was taken. Returns whether that is news.
    pub(super) fn receipts_taken(&self) -> bool {
        let news = self.are_receipts_refused() && self.receipts_gate.open();
        if news {
            self.wake_rooms();
        }
        news
    }

    pub(super) fn pause_cause(&self, line: &Line) -> Option<PauseCause> {
        self.gate(line).cause()
    }

    /// The waiting room in which a delivery gets its permit, or would if the provider throttled it.
    pub(super) fn room_of(&self, delivery: &Delivery) -> Option<&Arc<Dispatcher>> {
        let pool = match delivery.class {
            Class::Counted(pool) => Some(pool),
            Class::Exempt => self.gateway().fallback_pool(delivery),
        };
        self.rooms.get(&pool?)
    }

    /// The waiting room of those who wait in these queues.
    pub(super) fn room_at(&self, line: &Line) -> Option<&Arc<Dispatcher>> {
        self.rooms.iter().find(|(pool, _)| pool.line() == *line).map(|(_, room)| room)
    }

    /// Whether a line is for work beside the main limit that has no limit.
    pub(super) fn is_unlimited_beside(&self, line: &Line) -> bool {
        *line != Line::MAIN && self.room_at(line).is_some_and(|room| room.windows.is_empty())
    }

    /// Its queues.
    pub(super) fn places(&self) -> Vec<Place> {
        self.account.places()
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = &Arc<Dispatcher>> {
        self.rooms.values()
    }

    /// Waits for a place among the exempt requests, for the gates, and for the ceiling.
    pub(super) async fn ready_for_exempt(
        self: &Arc<Self>,
        line: &Line,
    ) -> Option<(SemaphorePermit<'_>, Pass)> {
        // The semaphore is never closed.
        let place = self.exempt_in_flight.acquire().await.ok()?;
        let receipts = Turn::new(self, None, self.receipts_gate.pass().await);
        let line = Turn::new(self, Some(line), self.gate(line).pass().await);
        let pass = Pass { line, _receipts: receipts };
        if let Some(ceiling) = &self.exempt_ceiling {
            ceiling.until_ready().await;
        }
        Some((place, pass))
    }

    /// Goes through the gates, if they let through now.
    pub(super) fn enter(self: &Arc<Self>, line: &Line, now: Instant) -> Option<Pass> {
        let receipts = Turn::new(self, None, self.receipts_gate.enter(now)?);
        let line = Turn::new(self, Some(line), self.gate(line).enter(now)?);
        Some(Pass { line, _receipts: receipts })
    }

    /// Closes the gate in this worker. Returns whether it was open.
    pub(super) fn close(&self, line: &Line, pause: Pause, now: Instant) -> bool {
        let was_open = self.gate(line).learn(pause, now);
        self.wake_rooms();
        was_open
    }

    /// Opens the gate in this worker. Returns whether it was not open.
    pub(super) fn open(&self, line: &Line) -> bool {
        let was_closed = self.gate(line).open();
        self.wake_rooms();
        was_closed
    }

    fn wake_rooms(&self) {
        for room in self.rooms.values() {
            room.wake();
        }
    }

    /// Notes how long the answer to a counted request took. At times: how far the round trips of the
    /// account's limits spread at most, and whether a person must be told.
    pub(super) fn note_round_trip(
        &self,
        line: &Line,
        took: Duration,
        jitter: Duration,
        now: Instant,
    ) -> Option<(Duration, bool)> {
        // No code panics while it holds the lock, so a poisoned map is still whole.
        let mut round_trips = self.round_trips.lock().unwrap_or_else(PoisonError::into_inner);
        let of_line = round_trips.entry(line.clone()).or_default();
        of_line.add(took, now)?;
        let tell = of_line.must_tell(jitter, now);
        Some((round_trips.values().map(RoundTrips::last).max().unwrap_or_default(), tell))
    }

    /// Notes a use of the connection that this address opens; returns whether it was likely cold.
    pub(super) fn touch(&self, host: &Url, now: Instant) -> bool {
        // No code panics while it holds the lock, so a poisoned map is still whole.
        let mut last = self.last_requests.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(host) {
            Some(before) => now.saturating_duration_since(std::mem::replace(before, now)) > COLD_AFTER,
            None => last.insert(host.clone(), now).is_none(),
        }
    }
}

/// The right to send through an account's gates. While one is half open there is one at a time;
/// dropping it lets the next one through, whatever happened to this one.
pub(super) struct Pass {
    line: Turn,
    _receipts: Turn,
}

impl Pass {
    /// Whether its result tells if the account works again.
    pub(super) fn is_probe(&self) -> bool {
        self.line.probing
    }
}

/// The right to send through one gate: that of a limit, or that of the receipts.
struct Turn {
    account: Arc<AccountState>,
    line: Option<Line>,
    probing: bool,
}

impl Turn {
    fn new(account: &Arc<AccountState>, line: Option<&Line>, probing: bool) -> Self {
        Self { account: account.clone(), line: line.cloned(), probing }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.probing {
            let account = &self.account;
            self.line.as_ref().map_or(&account.receipts_gate, |line| account.gate(line)).leave();
            account.wake_rooms();
        }
    }
}
