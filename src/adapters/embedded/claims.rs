//! Claims and health in the file. What is decided is in `record` and `health`; here it is read,
//! written, and answered.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};
use tokio::sync::watch;
use tokio::time::Instant;

use super::engine::{Engine, Failure, Moment};
use super::front::Embedded;
use super::health::{Admission, Health, Lengths, millis, persons_pause};
use super::record::{self, Decision, Left, Now, Record};
use crate::job::{AccountName, Line};
use crate::ports::{Answer, Claim, ClaimRequest, Claims, Fenced, Pause, Release, StoreError, Suspicion};
use crate::verdict::{Outcome, Signal};

/// A claim that has not ended is kept this much longer than its delivery can be retried.
const SLACK: Duration = Duration::from_secs(3600);

/// Between the last moment at which a request may be written, plus its longest duration, and the
/// end of the lease.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// How long a count of a suspected message is kept.
const SUSPECT_KEPT: i64 = 86_400_000;

/// Ends of claims are rounded up to this, so that most changes of a claim leave its entry in the
/// index of ends as it is.
const EXPIRY_STEP: i64 = 600_000;

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

impl Engine {
    fn lengths(&self) -> Lengths {
        Lengths::from(&self.settings.circuit)
    }

    fn record(&self, account: &str, id: &str, wall: i64) -> rusqlite::Result<Option<(Record, i64)>> {
        let mut select =
            self.db.prepare_cached("SELECT record, expires FROM claim WHERE account = ? AND id = ?")?;
        let found: Option<(String, i64)> =
            select.query_row([account, id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((text, expires)) = found.filter(|(_, expires)| *expires > wall) else { return Ok(None) };
        // Nothing of ours writes one that can't be read. It would hide whether its delivery was sent, so
        // that it must not count as none.
        let unreadable = |error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
        };
        Ok(Some((serde_json::from_str(&text).map_err(unreadable)?, expires)))
    }

    fn write_record(
        &self,
        account: &str,
        id: &str,
        record: &Record,
        expires: i64,
        before: Option<i64>,
    ) -> rusqlite::Result<()> {
        let text = json(record)?;
        if before == Some(expires) {
            let mut update = self
                .db
                .prepare_cached("UPDATE claim SET state = ?, record = ? WHERE account = ? AND id = ?")?;
            update.execute([record.state(), &text, account, id])?;
        } else {
            let mut replace = self.db.prepare_cached(
                "INSERT INTO claim (account, id, state, expires, record) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT DO UPDATE SET state = excluded.state, expires = excluded.expires, \
                 record = excluded.record",
            )?;
            replace.execute(params![account, id, record.state(), expires, text])?;
        }
        Ok(())
    }

    /// How long a claim is kept that has not ended.
    fn live_ttl(&self) -> Duration {
        self.settings.dedupe_ttl.max(self.settings.max_age + SLACK)
    }

    fn health(&mut self, account: &str, line: &str) -> rusqlite::Result<Health> {
        let key = (account.to_owned(), line.to_owned());
        if let Some(health) = self.health.get(&key) {
            return Ok(health.clone());
        }
        let mut select =
            self.db.prepare_cached("SELECT record FROM health WHERE account = ? AND line = ?")?;
        let found: Option<String> = select.query_row([account, line], |row| row.get(0)).optional()?;
        drop(select);
        let health: Health = found.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        self.health.insert(key, health.clone());
        Ok(health)
    }

    fn write_health(&mut self, account: &str, line: &str, health: Health) -> rusqlite::Result<()> {
        let key = (account.to_owned(), line.to_owned());
        if self.health.get(&key) == Some(&health) {
            return Ok(());
        }
        let mut replace = self
            .db
            .prepare_cached("INSERT OR REPLACE INTO health (account, line, record) VALUES (?, ?, ?)")?;
        replace.execute([account, line, &json(&health)?])?;
        drop(replace);
        self.health.insert(key, health);
        Ok(())
    }

    fn claim(&mut self, wish: &ClaimRequest, moment: &Moment) -> rusqlite::Result<Decision> {
        let (account, id, line) = (wish.account.as_str(), wish.id.as_str(), wish.line.suffix());
        let mut health = self.health(account, &line)?;
        let by_person = self.health(account, "")?.paused_by_person;
        let lengths = self.lengths();
        let found = self.record(account, id, moment.wall)?;
        let before = found.as_ref().map(|(_, expires)| *expires);
        let lease = millis(self.settings.lease);
        let now = Now { wall: moment.wall, steady: moment.steady, lease };
        let (decision, written) = record::claim(found.map(|(record, _)| record), wish, now, || {
            if by_person {
                return Admission::Closed(persons_pause());
            }
            health.admit(&wish.token, id, moment.steady, &lengths)
        });
        if let Some(record) = written {
            let expires = match (&decision, before) {
                // A duplicate keeps no end for longer.
                (Decision::Ended { .. }, Some(expires)) => expires,
                (Decision::Ended { .. }, None)
                | (Decision::Acquired { .. } | Decision::Held(_) | Decision::Paused(_), _) => {
                    expiry(moment.wall, self.live_ttl())
                }
            };
            self.write_record(account, id, &record, expires, before)?;
        }
        if let Decision::Acquired { probe: true, .. } = decision {
            health.probe(&wish.token, moment.steady + lease);
            self.write_health(account, &line, health)?;
        }
        Ok(decision)
    }

    fn settle(
        &mut self,
        (account, line, id): (&str, &str, &str),
        token: &str,
        left: Left,
        signal: Signal,
        moment: &Moment,
    ) -> rusqlite::Result<Fenced> {
        let ttl = match left {
            Left::End { .. } => self.settings.dedupe_ttl,
            Left::Release(_) => self.live_ttl(),
        };
        let found = self.record(account, id, moment.wall)?;
        let before = found.as_ref().map(|(_, expires)| *expires);
        let (fenced, written) = record::settle(found.map(|(record, _)| record), token, left);
        if let Some(record) = written {
            self.write_record(account, id, &record, expiry(moment.wall, ttl), before)?;
            let mut health = self.health(account, line)?;
            health.apply(signal, token, moment.steady, &self.lengths());
            self.write_health(account, line, health)?;
        }
        Ok(fenced)
    }

    fn suspect(
        &mut self,
        (account, line, id): (&str, &str, &str),
        token: &str,
        moment: &Moment,
    ) -> rusqlite::Result<Suspicion> {
        let ours = self.record(account, id, moment.wall)?.is_none_or(|(record, _)| record.is_of(token));
        let mut health = self.health(account, line)?;
        if !ours {
            return Ok(health.suspect_in_vain(moment.steady, &self.lengths()));
        }
        let suspicion = health.suspect(token, id, moment.steady, &self.lengths());
        self.write_health(account, line, health)?;
        Ok(suspicion)
    }

    fn pause_of(&mut self, account: &str, line: &str, moment: &Moment) -> rusqlite::Result<Option<Pause>> {
        if self.health(account, "")?.paused_by_person {
            return Ok(Some(persons_pause()));
        }
        Ok(self.health(account, line)?.pause(moment.steady, &self.lengths()))
    }

    fn set_persons_pause(&mut self, account: &str, paused: bool) -> rusqlite::Result<()> {
        let mut main = self.health(account, "")?;
        main.paused_by_person = paused;
        self.write_health(account, "", main)
    }

    fn count_suspect(&self, fingerprint: &str, handling: &str, moment: &Moment) -> rusqlite::Result<u32> {
        let expires = moment.wall + SUSPECT_KEPT;
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO suspected (fingerprint, handling, expires) VALUES (?, ?, ?)",
            )?
            .execute(params![fingerprint, handling, expires])?;
        // Each handling keeps all of them.
        self.db
            .prepare_cached("UPDATE suspected SET expires = ? WHERE fingerprint = ?")?
            .execute(params![expires, fingerprint])?;
        self.db
            .prepare_cached("SELECT count(*) FROM suspected WHERE fingerprint = ?")?
            .query_row([fingerprint], |row| row.get(0))
    }
}

/// When a record is forgotten that is kept for `ttl` from now.
fn expiry(wall: i64, ttl: Duration) -> i64 {
    let end = wall.saturating_add(millis(ttl));
    end.saturating_add(EXPIRY_STEP - 1) / EXPIRY_STEP * EXPIRY_STEP
}

/// What is written into the file is texts and numbers; were it ever not, the request fails.
fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn answer(decision: Decision, wish: &ClaimRequest, claimed_ms: i64, write_by: Instant) -> Answer {
    match decision {
        Decision::Acquired { history, probe } => Answer::Acquired(Claim {
            account: wish.account.clone(),
            line: wish.line.clone(),
            id: wish.id.clone(),
            instance: wish.instance.clone(),
            token: wish.token.clone(),
            history,
            claimed_ms,
            probe,
            write_by,
        }),
        Decision::Held(rest) => Answer::Held(record::wait(rest)),
        Decision::Ended { outcome, same } => Answer::Ended { outcome, same },
        Decision::Paused(pause) => Answer::Paused(pause),
    }
}

impl Embedded {
    async fn settle(
        &self,
        claim: &Claim,
        left: impl Fn() -> Left + Send + 'static,
        signal: Signal,
    ) -> Result<Fenced, StoreError> {
        let (account, id, token) = (claim.account.clone(), claim.id.clone(), claim.token.clone());
        let line = claim.line.suffix();
        let work = move |engine: &mut Engine, moment: &Moment| {
            engine.settle((account.as_str(), &line, id.as_str()), &token, left(), signal, moment)
        };
        Ok(self.store(work).await?)
    }
}

#[async_trait]
impl Claims for Embedded {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Answer>, StoreError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let settings = self.settings();
        // Counted from before the call: the lease can't have begun earlier.
        let write_by =
            Instant::now() + settings.lease.saturating_sub(settings.request_timeout + LEASE_MARGIN);
        let wishes = requests.to_vec();
        let work = move |engine: &mut Engine, moment: &Moment| {
            let decided = wishes.iter().map(|wish| engine.claim(wish, moment));
            Ok((decided.collect::<rusqlite::Result<Vec<_>>>()?, moment.wall))
        };
        let (decisions, claimed_ms) = self.store(work).await?;
        let answers = decisions.into_iter().zip(requests);
        Ok(answers.map(|(decision, wish)| answer(decision, wish, claimed_ms, write_by)).collect())
    }

    async fn end(&self, claim: &Claim, outcome: &Outcome, signal: Signal) -> Result<Fenced, StoreError> {
        let (instance, outcome) = (claim.instance.as_str().to_owned(), outcome.clone());
        let left = move || Left::End { instance: instance.clone(), outcome: outcome.clone() };
        self.settle(claim, left, signal).await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<Fenced, StoreError> {
        let Release { history, signal } = release;
        self.settle(claim, move || Left::Release(history), signal).await
    }

    async fn suspect(&self, claim: &Claim) -> Result<Suspicion, StoreError> {
        let (account, id, token) = (claim.account.clone(), claim.id.clone(), claim.token.clone());
        let line = claim.line.suffix();
        let work = move |engine: &mut Engine, moment: &Moment| {
            engine.suspect((account.as_str(), &line, id.as_str()), &token, moment)
        };
        Ok(self.store(work).await?)
    }

    async fn throttle(&self, account: &AccountName, line: &Line, wait: Duration) -> Result<(), StoreError> {
        let (account, line) = (account.clone(), line.suffix());
        let work = move |engine: &mut Engine, moment: &Moment| {
            let mut health = engine.health(account.as_str(), &line)?;
            health.throttle(wait, moment.steady);
            engine.write_health(account.as_str(), &line, health)
        };
        Ok(self.store(work).await?)
    }

    async fn pause_of(&self, account: &AccountName, line: &Line) -> Result<Option<Pause>, StoreError> {
        let (account, line) = (account.clone(), line.suffix());
        let work =
            move |engine: &mut Engine, moment: &Moment| engine.pause_of(account.as_str(), &line, moment);
        Ok(self.look(work).await?)
    }

    async fn pause(&self, account: &AccountName) -> Result<(), StoreError> {
        let account = account.clone();
        let work = move |engine: &mut Engine, _: &Moment| engine.set_persons_pause(account.as_str(), true);
        Ok(self.store(work).await?)
    }

    async fn resume(&self, account: &AccountName, line: &Line) -> Result<(), StoreError> {
        let (account, line) = (account.clone(), line.suffix());
        let work = move |engine: &mut Engine, _: &Moment| {
            let by_person = engine.health(account.as_str(), "")?.paused_by_person;
            engine.write_health(account.as_str(), &line, Health::default())?;
            if by_person { engine.set_persons_pause(account.as_str(), false) } else { Ok(()) }
        };
        Ok(self.store(work).await?)
    }

    async fn count_suspect(&self, fingerprint: &str, handling: &str) -> Result<u32, StoreError> {
        let (fingerprint, handling) = (fingerprint.to_owned(), handling.to_owned());
        let work =
            move |engine: &mut Engine, moment: &Moment| engine.count_suspect(&fingerprint, &handling, moment);
        Ok(self.store(work).await?)
    }

    async fn uncount_suspect(&self, fingerprint: &str, handling: &str) -> Result<(), StoreError> {
        let (fingerprint, handling) = (fingerprint.to_owned(), handling.to_owned());
        let work = move |engine: &mut Engine, _: &Moment| {
            let mut delete =
                engine.db.prepare_cached("DELETE FROM suspected WHERE fingerprint = ? AND handling = ?")?;
            delete.execute([&fingerprint, &handling]).map(|_| ())
        };
        Ok(self.store(work).await?)
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.watch_up()
    }

    async fn ping(&self) -> bool {
        self.probe().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_at_least_as_long_as_asked_for() {
        for wall in [0, 1, 599_999, 600_000, 1_763_758_326_123] {
            let end = expiry(wall, Duration::from_secs(60));
            assert!(end >= wall + 60_000 && end < wall + 60_000 + EXPIRY_STEP, "{wall}: {end}");
            assert_eq!(end % EXPIRY_STEP, 0);
        }
    }
}
