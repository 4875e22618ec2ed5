//! Time that passes for the store's records.

use super::World;

/// What is a moment in a claim that has not ended, by its place in the record (see record.lua): the first
/// attempt, the earliest of unknown outcome, the start of the attempt, the end of the lease.
const EARLIER: &str = "local packed = redis.call('GET', KEYS[1])
    if not packed then return end
    local claim = cmsgpack.unpack(packed)
    if claim[1] == 'e' then return end
    for _, place in ipairs({8, 9, 10, 11}) do
      if claim[place] then claim[place] = claim[place] - ARGV[1] end
    end
    redis.call('SET', KEYS[1], cmsgpack.pack(claim), 'KEEPTTL')";

impl World {
    /// Makes the store's records of a delivery of the account `shop` or `news` older, as if so many
    /// seconds had passed since its holder died.
    #[allow(dead_code, reason = "a measurement needs it not")]
    pub async fn let_pass(&self, account: &str, id: &str, seconds: i64) {
        let key = format!("{{{}:{account}}}:c:{id}", self.prefix());
        let mut connection = self.redis.connection().await;
        let script = ::redis::cmd("EVAL").arg(EARLIER).arg(1).arg(key).arg(seconds * 1_000).to_owned();
        let () = script.query_async(&mut connection).await.expect("EVAL");
    }
}
