//! Time that passes for the store's records.

use super::World;
use crate::support::redis::{ATTEMPT, FIRST_ATTEMPT, LEASE_END, UNRESOLVED, move_claim};

impl World {
    /// Makes the store's records of a delivery of the account `shop` or `news` older, as if so many
    /// seconds had passed since its holder died.
    #[allow(dead_code, reason = "a measurement needs it not")]
    pub async fn let_pass(&self, account: &str, id: &str, seconds: i64) {
        let key = format!("{{{}:{account}}}:c:{id}", self.prefix());
        let mut connection = self.redis.connection().await;
        let moments = [FIRST_ATTEMPT, UNRESOLVED, ATTEMPT, LEASE_END];
        move_claim(&mut connection, &key, &moments, -seconds * 1_000).await;
    }
}
