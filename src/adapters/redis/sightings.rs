//! The workers' reports of what waits in their hands: one hash, a field for each worker.

use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::link::Script;
use super::{RedisStore, from_millis, millis, unreadable};
use crate::adapters::told;
use crate::ports::{Sighted, Sighting, Sightings, StoreError};

/// A report that was not renewed for this long is forgotten: its worker is gone, for none holds a
/// delivery nearly as long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20 * 60);

/// The script that writes and reads reports.
pub(super) fn script() -> Script {
    Script::new(concat!(include_str!("clock.lua"), include_str!("sightings.lua")))
}

#[async_trait]
impl Sightings for RedisStore {
    async fn report(&self, worker: &str, sighting: &Sighting) -> Result<(), StoreError> {
        let json = told::written(sighting)?;
        self.run_sightings(["report", worker, &json]).await.map(|_| ())
    }

    async fn sightings(&self) -> Result<Vec<Sighted>, StoreError> {
        match self.run_sightings(["read", "", ""]).await? {
            Value::Array(values) => Ok(values.chunks_exact(2).filter_map(read).collect()),
            _ => Err(unreadable("a question for reports")),
        }
    }
}

impl RedisStore {
    async fn run_sightings(&self, args: [&str; 3]) -> Result<Value, StoreError> {
        let key = format!("{{{}:sightings}}", self.settings.prefix);
        let longest = millis(FORGOTTEN_AFTER).to_string();
        let args = args.into_iter().chain([longest.as_str()]).map(str::as_bytes);
        let cmd = self.sightings.run([key.as_bytes()], args);
        self.link.run_one(&self.sightings, cmd).await
    }
}

/// A report from the store; `None` for one that another version of paceline wrote otherwise.
fn read(pair: &[Value]) -> Option<Sighted> {
    let [Value::Int(age), Value::BulkString(json)] = pair else { return None };
    Some(Sighted { age: from_millis(*age), sighting: told::read(json)? })
}
