//! The worker's report of what waits in its hands: a row for each worker.

use async_trait::async_trait;
use rusqlite::params;

use super::engine::{Engine, Moment};
use super::front::Embedded;
use super::health::from_millis;
use super::upkeep::SIGHTING_KEPT;
use crate::adapters::told;
use crate::ports::{Sighted, Sighting, Sightings, StoreError};

#[async_trait]
impl Sightings for Embedded {
    async fn report(&self, worker: &str, sighting: &Sighting) -> Result<(), StoreError> {
        let (worker, text) = (worker.to_owned(), told::written(sighting)?);
        let work = move |engine: &mut Engine, moment: &Moment| {
            if text.is_empty() {
                engine.db.prepare_cached("DELETE FROM sighting WHERE worker = ?")?.execute([&worker])?;
                return Ok(());
            }
            engine
                .db
                .prepare_cached("INSERT OR REPLACE INTO sighting (worker, at, told) VALUES (?, ?, ?)")?
                .execute(params![worker, moment.wall, text])?;
            Ok(())
        };
        Ok(self.store(work).await?)
    }

    async fn sightings(&self) -> Result<Vec<Sighted>, StoreError> {
        let work = |engine: &mut Engine, moment: &Moment| {
            let mut select = engine.db.prepare_cached("SELECT at, told FROM sighting WHERE at >= ?")?;
            let oldest = moment.wall - SIGHTING_KEPT;
            let rows =
                select.query_map([oldest], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let read = |(at, text): (i64, String)| {
                let sighting = told::read(text.as_bytes())?;
                Some(Sighted { age: from_millis(moment.wall - at), sighting })
            };
            Ok(rows.into_iter().filter_map(read).collect())
        };
        Ok(self.look(work).await?)
    }
}
