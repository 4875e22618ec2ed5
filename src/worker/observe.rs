//! What people see of a worker: health, readiness, gauges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::Readiness;
use crate::config::Account;
use crate::job::AccountName;
use crate::metrics::{self, CircuitState, Dependency};
use crate::pipeline::permit::Lane;
use crate::pipeline::send::until;
use crate::ports::{PauseCause, Place};
use crate::worker::Worker;
use crate::worker::account::AccountState;
use crate::worker::gate::GateState;

impl Worker {
    /// Whether the worker's own loops run. Says nothing of the servers: restarting a worker does
    /// not mend a broker.
    pub fn alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    /// How ready it is.
    pub async fn ready(&self) -> Readiness {
        let broker = *self.ports.queue.up().borrow();
        let store = self.ports.claims.ping().await;
        metrics::dependency_up(Dependency::Broker, broker);
        metrics::dependency_up(Dependency::Store, store);
        Readiness { broker, store, draining: !self.is_running() }
    }

    /// Brings the gauges up to date: asked for when somebody looks, so that an idle worker that
    /// nobody watches costs nothing.
    pub async fn refresh(&self) {
        self.ready().await;
        self.tell_depths().await;
        self.tell_ages();
        for account in self.accounts.values() {
            self.refresh_pause(account).await;
            self.tell_gate(account);
            self.tell_use(account).await;
        }
    }

    async fn tell_depths(&self) {
        let mut places = vec![Place::Dead];
        let mut labels = vec![None];
        for (name, account) in &self.accounts {
            for place in account.places() {
                labels.push(Some((name, place.label())));
                places.push(place);
            }
        }
        let depths = self.ports.queue.depths(&places).await;
        for (label, depth) in labels.into_iter().zip(depths) {
            match (label, depth) {
                (Some((account, queue)), Some(depth)) => metrics::queue_depth(account, &queue, depth),
                (None, Some(depth)) => metrics::dead_letters(depth),
                (_, None) => {}
            }
        }
    }

    fn tell_ages(&self) {
        let now = self.ports.clock.now();
        for name in self.accounts.keys() {
            for lane in Lane::ALL {
                metrics::oldest_age(name, lane.as_str(), Duration::ZERO);
            }
        }
        // An account with several limits has deliveries of one lane in several places.
        let mut oldest: BTreeMap<(AccountName, Lane), jiff::Timestamp> = BTreeMap::new();
        for held in self.held() {
            let (Some(name), Some(lane)) = (held.place.account(), Lane::of(&held.place)) else { continue };
            let at = held.oldest;
            oldest.entry((name.clone(), lane)).and_modify(|known| *known = at.min(*known)).or_insert(at);
        }
        for ((name, lane), published_at) in oldest {
            metrics::oldest_age(&name, lane.as_str(), until(published_at, now));
        }
    }

    /// A pause that another worker or a person caused or ended is seen here too, by whoever looks.
    async fn refresh_pause(&self, account: &AccountState) {
        for line in account.lines() {
            let open = account.gate_state(line, Instant::now()) == GateState::Open;
            match self.ports.claims.pause_of(account.name(), line).await {
                Ok(Some(pause)) if open => self.learn_pause(account, line, pause),
                // Throttling is not the store's to know.
                Ok(None) if account.pause_cause(line) != Some(PauseCause::Throttled) => {
                    self.open_gate(account, line);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    pub(super) fn tell_gate(&self, account: &AccountState) {
        let name = account.name();
        let now = Instant::now();
        let gates: Vec<_> =
            account.lines().map(|line| (account.pause_cause(line), account.gate_state(line, now))).collect();
        for known in [PauseCause::Credentials, PauseCause::Circuit, PauseCause::Operator] {
            let paused =
                gates.iter().any(|(cause, state)| *cause == Some(known) && *state != GateState::Open);
            metrics::account_paused(name, known, paused);
        }
        metrics::account_paused(name, PauseCause::Receipts, account.are_receipts_refused());
        let throttled = account.rooms().any(|room| room.is_paused(now));
        metrics::account_paused(name, PauseCause::Throttled, throttled);
        let worst = gates.into_iter().map(|(cause, state)| circuit(cause, state)).max();
        metrics::circuit_state(name, worst.unwrap_or(CircuitState::Closed));
    }

    /// Sets to nothing what is shown of this worker's accounts that are configured no more: nobody
    /// would bring it up to date.
    pub fn tell_gone(&self, configured: &BTreeMap<AccountName, Arc<Account>>) {
        for (name, account) in self.accounts.iter().filter(|(name, _)| !configured.contains_key(*name)) {
            for place in account.places() {
                metrics::queue_depth(name, &place.label(), 0);
            }
            for lane in Lane::ALL {
                metrics::oldest_age(name, lane.as_str(), Duration::ZERO);
            }
            for cause in PauseCause::ALL {
                metrics::account_paused(name, cause, false);
            }
            metrics::circuit_state(name, CircuitState::Closed);
            metrics::limit_used_ratio(name, 0.0);
        }
    }

    async fn tell_use(&self, account: &AccountState) {
        let mut most: f64 = 0.0;
        for dispatcher in account.rooms() {
            let Ok(usage) = self.ports.permits.usage(&dispatcher.key).await else { continue };
            let minute = Duration::from_secs(60);
            let limit = dispatcher.windows.iter().find(|window| window.length == minute);
            if let Some(limit) = limit {
                most = most.max(f64::from(usage.last_minute) / f64::from(limit.requests));
            }
        }
        metrics::limit_used_ratio(account.name(), most);
    }
}

/// The state of the circuit of which a gate tells.
const fn circuit(cause: Option<PauseCause>, state: GateState) -> CircuitState {
    match (cause, state) {
        (Some(PauseCause::Circuit), GateState::Closed(_)) => CircuitState::Open,
        (Some(PauseCause::Circuit), GateState::HalfOpen { .. }) => CircuitState::HalfOpen,
        (Some(PauseCause::Circuit), GateState::Open)
        | (
            Some(
                PauseCause::Throttled | PauseCause::Credentials | PauseCause::Operator | PauseCause::Receipts,
            )
            | None,
            _,
        ) => CircuitState::Closed,
    }
}
