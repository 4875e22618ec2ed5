//! Time that passes for the store's records.

use super::World;

impl World {
    /// Makes the store's records of a delivery of the account `shop` or `news` older, as if so many
    /// seconds had passed since its holder died.
    #[allow(dead_code, reason = "a measurement needs it not")]
    pub async fn let_pass(&self, account: &str, id: &str, seconds: i64) {
        let key = format!("{{{}:{account}}}:c:{id}", self.prefix());
        let mut connection = self.redis.connection().await;
        // What is a moment in claim.lua: the end of the lease, the start of the attempt, the first
        // attempt, the earliest of unknown outcome.
        for field in ["l", "a", "f", "u"] {
            let moment: Option<i64> = ::redis::cmd("HGET")
                .arg(&key)
                .arg(field)
                .query_async::<Option<String>>(&mut connection)
                .await
                .expect("HGET")
                .and_then(|text| text.parse().ok());
            if let Some(moment) = moment {
                let earlier = moment - seconds * 1_000;
                let () = ::redis::cmd("HSET")
                    .arg(&key)
                    .arg(field)
                    .arg(earlier)
                    .query_async(&mut connection)
                    .await
                    .expect("HSET");
            }
        }
    }
}
