//! A real Redis.

use std::sync::Arc;
use std::time::Duration;

use paceline::adapters::redis::{RedisStore, StoreSettings};

use super::{Bench, Terms};
use crate::support::redis::{LEASE_END, RedisServer, connect, move_claim, settings};

pub struct Redis {
    server: RedisServer,
    terms: Terms,
}

impl Bench for Redis {
    type Store = RedisStore;

    async fn start(terms: Terms) -> Self {
        Self { server: RedisServer::start().await, terms }
    }

    async fn connect(&self) -> Arc<RedisStore> {
        let Terms { dedupe_ttl, lease, request_timeout, max_age, limiter, circuit, pools } =
            self.terms.clone();
        let usual = settings(&self.server.url());
        let settings =
            StoreSettings { dedupe_ttl, lease, request_timeout, max_age, limiter, circuit, ..usual };
        connect(settings, pools).await
    }

    async fn forget(&self) {
        let mut connection = self.server.connection().await;
        let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    }

    /// The server's clock is the machine's: instead of it the leases are moved.
    async fn step_back(&self, by: Duration) {
        let mut connection = self.server.connection().await;
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("{test:*}:c:*").query_async(&mut connection).await.unwrap();
        let by = i64::try_from(by.as_millis()).unwrap();
        for key in keys {
            move_claim(&mut connection, &key, &[LEASE_END], by).await;
        }
    }
}
