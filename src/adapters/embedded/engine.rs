//! The engine: everything that happens to the file, one request after another, without waiting.
//!
//! Requests come in batches. A batch is one transaction: what was asked is done, subscriptions are
//! given what they have room for, then it is committed once, and only then anybody is answered. So the
//! disk is waited for once for many requests (group commit), and an answer means that it is safe.
//! Where a batch fails, it is as if it had never been, and each of its requests is tried alone, so
//! that one which can't be done (it is too large for the space that is left) spoils no other.
//!
//! Time is read from the clocks once for each batch. There are two: `steady` is not moved by steps of the
//! host's clock while the process runs, for leases and pauses; `wall` never falls behind the host's clock
//! either, which goes on while the host sleeps, for what is compared with what people and providers say.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::desk::Desk;
use super::file::Opened;
use super::front::Core;
use super::health::Health;
use super::limits::Limits;
use super::queues::Handed;
use super::upkeep::Upkeep;
use super::{EmbeddedSettings, Role};
use crate::ports::Clock;

/// Another process that wrote this long ago or less may want to go on.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The file was closed.
    #[error("the file is closed")]
    Closed,
    /// No answer in time; it may be done all the same.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// SQLite's own words.
    #[error("{0}")]
    Other(String),
}

impl From<&rusqlite::Error> for Failure {
    fn from(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(_) | None => Self::Other(error.to_string()),
        }
    }
}

/// The clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Milliseconds since 1970: moves on as fast as time passes, and at once where the host's clock is
    /// ahead, but never back.
    pub(super) wall: i64,
    /// Milliseconds of a clock that doesn't step while the process runs.
    pub(super) steady: i64,
    /// The process's own clock.
    pub(super) at: Instant,
}

/// Both clocks.
pub(super) struct Clocks {
    host: Arc<dyn Clock>,
    begin: i64,
    began: Instant,
    /// How far `wall` is ahead of `steady`.
    ahead: i64,
}

impl Clocks {
    /// `noted`: the latest moment that the file knows of, before which neither clock goes.
    fn new(host: Arc<dyn Clock>, noted: i64) -> Self {
        let begin = host.now().as_millisecond().max(noted);
        Self { host, begin, began: Instant::now(), ahead: 0 }
    }

    fn read(&mut self) -> Moment {
        let at = Instant::now();
        let passed = i64::try_from((at - self.began).as_millis()).unwrap_or(i64::MAX / 2);
        let steady = self.begin.saturating_add(passed);
        self.ahead = self.ahead.max(self.host.now().as_millisecond() - steady);
        Moment { wall: steady + self.ahead, steady, at }
    }
}

/// Something asked of the engine.
pub(super) trait Request: Send {
    /// Whether it may change the file.
    fn writes(&self) -> bool;
    /// Does it. May be called again, when what it did before was taken back.
    fn run(&mut self, engine: &mut Engine, moment: &Moment) -> rusqlite::Result<()>;
    /// Answers who asked.
    fn answer(self: Box<Self>, done: Result<(), Failure>);
}

/// A place as the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlaceRow {
    pub(super) id: i64,
    /// The order of the next message.
    pub(super) next: i64,
    /// How many messages it has, those in hands included.
    pub(super) depth: i64,
    /// Whether it differs from the file.
    pub(super) changed: bool,
}

/// The engine of one process.
pub(super) struct Engine {
    pub(super) db: Connection,
    pub(super) settings: EmbeddedSettings,
    pub(super) role: Role,
    pub(super) desk: Desk,
    /// What the file says of places; empty when another process may have changed it.
    pub(super) places: HashMap<String, PlaceRow>,
    /// What it says of accounts' health; likewise.
    pub(super) health: BTreeMap<(String, String), Health>,
    /// Messages acked that are to be taken off.
    pub(super) acked: Vec<i64>,
    /// Messages that were chosen for a receiver that was gone, and are in nobody's hand.
    pub(super) dropped: Vec<i64>,
    pub(super) upkeep: Upkeep,
    pub(super) limits: Arc<Limits>,
    pub(super) core: Weak<Core>,
    clocks: Clocks,
    version: i64,
    /// When it was last seen that another process had written.
    others_wrote: Option<Instant>,
    up: watch::Sender<bool>,
    _lock: Option<std::fs::File>,
}

impl Engine {
    /// An engine on an open file. A worker's puts back what an earlier one had in hand when it ended.
    pub(super) fn new(
        opened: Opened,
        settings: EmbeddedSettings,
        role: Role,
        clock: Arc<dyn Clock>,
        up: watch::Sender<bool>,
    ) -> rusqlite::Result<Self> {
        let noted = opened.db.query_row(
            "SELECT coalesce(max(value), 0) FROM note WHERE name = 'clock'",
            [],
            |row| row.get(0),
        )?;
        let clocks = Clocks::new(clock, noted);
        let mut engine = Self {
            db: opened.db,
            role,
            desk: Desk::default(),
            places: HashMap::new(),
            health: BTreeMap::new(),
            acked: Vec::new(),
            dropped: Vec::new(),
            limits: Arc::new(Limits::none()),
            upkeep: Upkeep::new(clocks.began),
            core: Weak::new(),
            clocks,
            version: -1,
            others_wrote: None,
            up,
            _lock: opened.lock,
            settings,
        };
        engine.transaction(role != Role::Onlooker, |engine| match engine.role {
            Role::Worker => {
                engine.put_back_all()?;
                engine.declare_places()
            }
            Role::Producer => engine.declare_places(),
            Role::Onlooker => Ok(()),
        })?;
        Ok(engine)
    }

    /// The clocks now.
    pub(super) fn moment(&mut self) -> Moment {
        self.clocks.read()
    }

    /// How long nothing needs to be done, if nobody asks and nobody else writes.
    pub(super) fn idle_for(&mut self) -> Duration {
        let moment = self.moment();
        match self.role {
            Role::Worker if self.acked.is_empty() => self.upkeep.idle_for(&moment),
            Role::Worker => Duration::ZERO,
            Role::Producer | Role::Onlooker => Duration::MAX,
        }
    }

    /// Whether there is something to do that nobody asked for: what other processes published, what
    /// is due, upkeep.
    pub(super) fn has_errand(&mut self) -> bool {
        let moment = self.moment();
        let published = || self.db.pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0));
        !self.acked.is_empty()
            || self.upkeep.is_due(&moment, self.role)
            || (self.desk.wants() && published().is_ok_and(|version| version != self.version))
    }

    /// Does a batch of requests, answers them, and hands out messages.
    pub(super) fn run(&mut self, mut batch: Vec<Box<dyn Request>>) {
        let moment = self.moment();
        match self.attempt(&mut batch, &moment) {
            Ok(handed) => {
                self.tell_up(true);
                for request in batch {
                    request.answer(Ok(()));
                }
                self.hand_over(handed, &moment);
            }
            // Another process keeps the file to itself: each by itself would wait as long again.
            Err(error) if batch.len() > 1 && error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => {
                tracing::debug!(%error, requests = batch.len(), "a batch failed; each request is tried alone");
                for request in batch {
                    self.run(vec![request]);
                }
            }
            Err(error) => {
                self.tell_failure(&error);
                for request in batch {
                    request.answer(Err(Failure::from(&error)));
                }
            }
        }
    }

    fn attempt(&mut self, batch: &mut [Box<dyn Request>], moment: &Moment) -> rusqlite::Result<Vec<Handed>> {
        let errand = !self.acked.is_empty() || self.desk.wants() || self.upkeep.is_due(moment, self.role);
        let writes = errand || batch.iter().any(|request| request.writes());
        let (acked, dropped) = (self.acked.clone(), self.dropped.clone());
        let handed = self.transaction(writes, |engine| {
            engine.take_off(&acked)?;
            engine.let_go(&dropped)?;
            for request in batch.iter_mut() {
                request.run(engine, moment)?;
            }
            engine.do_upkeep(moment)?;
            engine.choose()
        })?;
        self.acked.clear();
        self.dropped.clear();
        Ok(handed)
    }

    /// Runs `work` in one transaction. Whatever was remembered of the file is forgotten where the
    /// transaction fails, or where another process wrote since.
    fn transaction<T>(
        &mut self,
        writes: bool,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let begin = if writes { "BEGIN IMMEDIATE" } else { "BEGIN" };
        let done = self.begin_and_commit(begin, work);
        if done.is_err() {
            self.places.clear();
            self.health.clear();
            if !self.db.is_autocommit() {
                // SQLite rolls back by itself after the worst failures; then there is nothing to do.
                let _ = self.db.execute_batch("ROLLBACK");
            }
        }
        done
    }

    fn begin_and_commit<T>(
        &mut self,
        begin: &str,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.db.prepare_cached(begin)?.execute([])?;
        self.notice_others()?;
        let result = work(self)?;
        self.write_places()?;
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(result)
    }

    /// What is remembered of the file holds as long as nobody else wrote to it.
    fn notice_others(&mut self) -> rusqlite::Result<()> {
        let version = self.db.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if version != self.version {
            self.version = version;
            self.others_wrote = Some(Instant::now());
            self.places.clear();
            self.health.clear();
        }
        Ok(())
    }

    fn tell_up(&self, up: bool) {
        let changed = self.up.send_if_modified(|was| std::mem::replace(was, up) != up);
        if changed && up {
            tracing::info!("the file can be used");
        }
    }

    fn tell_failure(&self, error: &rusqlite::Error) {
        let changed = self.up.send_if_modified(|was| std::mem::replace(was, false));
        if changed {
            tracing::error!(%error, file = %self.settings.file.display(), "the file can't be used");
        } else {
            tracing::debug!(%error, "the file still can't be used");
        }
    }

    /// Whether another process writes at present, and should have its turn.
    pub(super) fn shares_the_file(&self) -> bool {
        self.others_wrote.is_some_and(|at| at.elapsed() < SHARED_FOR)
    }

    /// Whether the last transaction succeeded.
    pub(super) fn is_up(&self) -> bool {
        *self.up.borrow()
    }
}

#[cfg(test)]
mod tests;
