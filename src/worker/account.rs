//! One account, as the worker uses it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::config::{Account, WorkerConfig};
use crate::job::{AccountName, Class, Delivery, Pool};
use crate::ports::{Pause, PauseCause, PoolKey};
use crate::providers::Gateway;
use crate::worker::dispatch::Dispatcher;
use crate::worker::gate::{Gate, GateState};

/// A provider's connection is thought cold when nothing was sent for this long.
const COLD_AFTER: Duration = Duration::from_secs(25);

/// One account: its gateway, its gate, and the waiting rooms of its limits.
pub struct AccountState {
    account: Arc<Account>,
    gate: Gate,
    /// Bounds the exempt requests under way.
    exempt_in_flight: Semaphore,
    /// Bounds the exempt requests a second.
    exempt_ceiling: Option<DefaultDirectRateLimiter>,
    rooms: BTreeMap<Pool, Arc<Dispatcher>>,
    last_request: Mutex<Option<Instant>>,
}

impl AccountState {
    pub(super) fn new(
        account: Arc<Account>,
        config: &WorkerConfig,
        dispatchers: &BTreeMap<PoolKey, Arc<Dispatcher>>,
    ) -> Self {
        let pools = account.gateway.pools().into_iter();
        let rooms = pools.filter_map(|(pool, key, _)| Some((pool, dispatchers.get(&key)?.clone()))).collect();
        Self {
            account,
            gate: Gate::default(),
            exempt_in_flight: Semaphore::new(config.requests_in_flight),
            exempt_ceiling: config.exempt_per_second.and_then(NonZeroU32::new).map(|most| {
                // One at a time: the quota's burst would be a second's worth.
                RateLimiter::direct(Quota::per_second(most).allow_burst(NonZeroU32::MIN))
            }),
            rooms,
            last_request: Mutex::new(None),
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

    pub(super) fn gate_state(&self, now: Instant) -> GateState {
        self.gate.state(now)
    }

    pub(super) fn pause_cause(&self) -> Option<PauseCause> {
        self.gate.cause()
    }

    /// The waiting room in which a delivery gets its permit, or would if the provider throttled it.
    pub(super) fn room_of(&self, delivery: &Delivery) -> Option<&Arc<Dispatcher>> {
        let pool = match delivery.class {
            Class::Counted(pool) => Some(pool),
            Class::Exempt => self.gateway().fallback_pool(delivery),
        };
        self.rooms.get(&pool?)
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = &Arc<Dispatcher>> {
        self.rooms.values()
    }

    /// Waits for a place among the exempt requests, for the gate, and for the ceiling.
    pub(super) async fn ready_for_exempt(self: &Arc<Self>) -> Option<(SemaphorePermit<'_>, Pass)> {
        // The semaphore is never closed.
        let place = self.exempt_in_flight.acquire().await.ok()?;
        let pass = self.pass().await;
        if let Some(ceiling) = &self.exempt_ceiling {
            ceiling.until_ready().await;
        }
        Some((place, pass))
    }

    /// Goes through the gate, if it lets through now.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Option<Pass> {
        self.gate.enter(now).map(|probing| Pass { account: self.clone(), probing })
    }

    /// Waits until the gate lets through.
    async fn pass(self: &Arc<Self>) -> Pass {
        let probing = self.gate.pass().await;
        Pass { account: self.clone(), probing }
    }

    /// Closes the gate in this worker. Returns whether it was open.
    pub(super) fn close(&self, pause: Pause, now: Instant) -> bool {
        let was_open = self.gate.learn(pause, now);
        self.wake_rooms();
        was_open
    }

    /// Opens the gate in this worker. Returns whether it was not open.
    pub(super) fn open(&self) -> bool {
        let was_closed = self.gate.open();
        self.wake_rooms();
        was_closed
    }

    fn wake_rooms(&self) {
        for room in self.rooms.values() {
            room.wake();
        }
    }

    /// Notes a use of the connection now; returns whether it was likely cold.
    pub(super) fn touch(&self, now: Instant) -> bool {
        // Only an Option is swapped under the lock, so a poisoned one is still whole.
        let mut last = self.last_request.lock().unwrap_or_else(PoisonError::into_inner);
        let cold = last.is_none_or(|at| now.saturating_duration_since(at) > COLD_AFTER);
        *last = Some(now);
        cold
    }
}

/// The right to send through an account's gate. While the gate is half open there is one at a time;
/// dropping it lets the next one through, whatever happened to this one.
pub(super) struct Pass {
    account: Arc<AccountState>,
    probing: bool,
}

impl Pass {
    /// Whether its result tells if the account works again.
    pub(super) fn is_probe(&self) -> bool {
        self.probing
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probing {
            self.account.gate.leave();
            self.account.wake_rooms();
        }
    }
}
