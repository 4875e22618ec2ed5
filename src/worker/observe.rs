//! What people see of a worker: health, readiness, gauges.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::Readiness;
use crate::job::Priority;
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
        for name in self.accounts.keys() {
            let lanes = Priority::ALL.map(|lane| (Place::Lane(name.clone(), lane), lane.as_str()));
            let own = [(Place::Jobs(name.clone()), "jobs"), (Place::Retry(name.clone()), "retry")];
            for (place, label) in own.into_iter().chain(lanes) {
                places.push(place);
                labels.push(Some((name, label)));
            }
        }
        let depths = self.ports.queue.depths(&places).await;
        for (label, depth) in labels.into_iter().zip(depths) {
            match (label, depth) {
                (Some((account, queue)), Some(depth)) => metrics::queue_depth(account, queue, depth),
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
        for (name, lane, published_at) in self.dispatchers.values().flat_map(|dispatcher| dispatcher.oldest())
        {
            metrics::oldest_age(&name, lane.as_str(), until(published_at, now));
        }
    }

    /// A pause that another worker or a person caused or ended is seen here too, by whoever looks.
    async fn refresh_pause(&self, account: &AccountState) {
        let open = account.gate_state(Instant::now()) == GateState::Open;
        match self.ports.claims.pause_of(account.name()).await {
            Ok(Some(pause)) if open => self.learn_pause(account, pause),
            // Throttling is not the store's to know.
            Ok(None) if account.pause_cause() != Some(PauseCause::Throttled) => self.open_gate(account),
            Ok(_) | Err(_) => {}
        }
    }

    pub(super) fn tell_gate(&self, account: &AccountState) {
        let name = account.name();
        let now = Instant::now();
        let state = account.gate_state(now);
        let cause = account.pause_cause();
        for known in [PauseCause::Credentials, PauseCause::Circuit, PauseCause::Operator] {
            metrics::account_paused(name, known, cause == Some(known) && state != GateState::Open);
        }
        let throttled = account.rooms().any(|room| room.is_paused(now));
        metrics::account_paused(name, PauseCause::Throttled, throttled);
        let circuit = match (cause, state) {
            (Some(PauseCause::Circuit), GateState::Closed(_)) => CircuitState::Open,
            (Some(PauseCause::Circuit), GateState::HalfOpen { .. }) => CircuitState::HalfOpen,
            (Some(PauseCause::Circuit), GateState::Open)
            | (Some(PauseCause::Throttled | PauseCause::Credentials | PauseCause::Operator) | None, _) => {
                CircuitState::Closed
            }
        };
        metrics::circuit_state(name, circuit);
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
