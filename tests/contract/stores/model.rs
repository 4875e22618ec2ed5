//! The simulation's model of the store, with nothing going wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Bench, Terms};
use crate::contract::simulated::chance::Dice;
use crate::contract::simulated::life::{Chaos, Life, Odds};
use crate::contract::simulated::store::{self, Store, StoreLink};

pub struct Model {
    chaos: Arc<Chaos>,
    store: Arc<Store>,
}

impl Bench for Model {
    type Store = StoreLink;

    async fn start(terms: Terms) -> Self {
        let chaos = Chaos::new(Arc::new(Dice::new(1)), Odds::default());
        // It forgets nothing, however long it is used.
        let Terms { lease, request_timeout, limiter, circuit, pools, dedupe_ttl: _, max_age: _ } = terms;
        let terms = store::Terms { lease, request_timeout, limiter, circuit, pools };
        Self { store: Store::new(chaos.clone(), terms), chaos }
    }

    async fn connect(&self) -> Arc<StoreLink> {
        let (life, _) = Life::new(self.chaos.clone());
        Arc::new(self.store.connect(life))
    }

    async fn forget(&self) {
        self.store.lose(true);
    }

    async fn step_back(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        self.chaos.store_ahead_ms.fetch_sub(by, Ordering::Relaxed);
    }
}
