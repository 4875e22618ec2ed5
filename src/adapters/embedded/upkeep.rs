//! What the worker's engine does by itself: it moves what is due on the delay ladder, forgets what is
//! old in small steps, and notes the clock and the use of limits.

use std::time::Duration;

use rusqlite::params;
use tokio::time::Instant;

use super::Role;
use super::engine::{Engine, Moment};

/// How often a waiting engine looks whether another process published.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often the rest is done while there is work, and while there is none.
const STEP_EVERY: Duration = Duration::from_secs(1);
const IDLE_STEP_EVERY: Duration = Duration::from_secs(60);

/// How soon the next step comes when one was not enough.
const STEP_AGAIN: Duration = Duration::from_millis(50);

/// The most rows of a kind that one step removes: steps must not hold up anybody.
const REMOVED_AT_ONCE: i64 = 300;

/// The most receipts that are kept.
const MOST_RECEIPTS: i64 = 1_000_000;

/// A worker's report that was not renewed for this long is forgotten.
pub(super) const SIGHTING_KEPT: i64 = 20 * 60 * 1_000;

/// When what is to be done next.
pub(super) struct Upkeep {
    /// When something on the ladder is due, on the wall clock; at once as long as nobody looked.
    due: Option<i64>,
    step: Instant,
    /// What the connection had changed at the last step.
    changes: u64,
}

impl Upkeep {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: Some(i64::MIN), step: now, changes: 0 }
    }

    /// A message came onto the ladder.
    pub(super) fn expect_due(&mut self, due: i64) {
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    /// Whether there is something to do.
    pub(super) fn is_due(&self, moment: &Moment, role: Role) -> bool {
        role == Role::Worker && (self.due.is_some_and(|due| due <= moment.wall) || moment.at >= self.step)
    }

    /// How long a thread may wait for requests.
    pub(super) fn look_every(role: Role) -> Duration {
        match role {
            Role::Worker => LOOK_EVERY,
            Role::Producer | Role::Onlooker => IDLE_STEP_EVERY,
        }
    }

    /// How long there is nothing to do, if nobody asks and nobody else writes.
    pub(super) fn idle_for(&self, moment: &Moment) -> Duration {
        let due =
            self.due.map_or(Duration::MAX, |due| super::health::from_millis(due.saturating_sub(moment.wall)));
        due.min(self.step.saturating_duration_since(moment.at))
    }
}

impl Engine {
    /// Does what is due.
    pub(super) fn do_upkeep(&mut self, moment: &Moment) -> rusqlite::Result<()> {
        if self.role != Role::Worker {
            return Ok(());
        }
        if self.upkeep.due.is_some_and(|due| due <= moment.wall) {
            self.upkeep.due = self.move_due(moment)?;
        }
        if moment.at >= self.upkeep.step {
            let wait = self.step(moment)?;
            self.upkeep.step = moment.at + wait;
        }
        Ok(())
    }

    /// One step of what is done now and then; says when the next one is wanted.
    fn step(&mut self, moment: &Moment) -> rusqlite::Result<Duration> {
        let more = self.forget_claims(moment)? | self.forget_receipts(moment)?;
        self.db.prepare_cached("DELETE FROM suspected WHERE expires <= ?")?.execute([moment.wall])?;
        self.db
            .prepare_cached("DELETE FROM sighting WHERE at < ?")?
            .execute([moment.wall - SIGHTING_KEPT])?;
        self.note_limits(moment)?;
        let changes = self.db.total_changes();
        if changes == self.upkeep.changes {
            return Ok(IDLE_STEP_EVERY);
        }
        self.note("clock", moment.wall)?;
        self.upkeep.changes = self.db.total_changes();
        Ok(if more { STEP_AGAIN } else { STEP_EVERY })
    }

    fn forget_claims(&self, moment: &Moment) -> rusqlite::Result<bool> {
        let mut delete = self.db.prepare_cached(
            "DELETE FROM claim WHERE (account, id) IN \
             (SELECT account, id FROM claim WHERE expires <= ? ORDER BY expires LIMIT ?)",
        )?;
        Ok(delete.execute([moment.wall, REMOVED_AT_ONCE])? as i64 == REMOVED_AT_ONCE)
    }

    fn forget_receipts(&self, moment: &Moment) -> rusqlite::Result<bool> {
        let oldest = moment.wall - super::health::millis(self.settings.dedupe_ttl);
        // Their order is that of their times, as far as it matters.
        let mut delete = self.db.prepare_cached(
            "DELETE FROM receipt WHERE id IN (SELECT id FROM receipt ORDER BY id LIMIT ?1) \
             AND (at < ?2 OR id <= (SELECT max(id) FROM receipt) - ?3)",
        )?;
        Ok(delete.execute([REMOVED_AT_ONCE, oldest, MOST_RECEIPTS])? as i64 == REMOVED_AT_ONCE)
    }

    fn note_limits(&self, moment: &Moment) -> rusqlite::Result<()> {
        for (key, record) in self.limits.changed(moment) {
            self.write_pool(&key, &record)?;
        }
        Ok(())
    }

    /// Keeps what a restart must know of a limit, and what people want to.
    pub(super) fn write_pool(&self, key: &str, record: &str) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("INSERT OR REPLACE INTO pool (key, record) VALUES (?, ?)")?
            .execute([key, record])
            .map(|_| ())
    }

    /// Keeps a number under a name.
    pub(super) fn note(&self, name: &str, value: i64) -> rusqlite::Result<()> {
        self.db
            .prepare_cached("INSERT OR REPLACE INTO note (name, value) VALUES (?, ?)")?
            .execute(params![name, value])
            .map(|_| ())
    }
}
