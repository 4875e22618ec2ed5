//! One file in the place of broker and store, and one process at a time that uses it: the adapter
//! itself, in the time and the thread of the run. A process dies before or after each call; what it
//! asked for may be lost, or done without its hearing of it. The file survives.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use paceline::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use paceline::config::Config;
use paceline::job::{AccountName, Line};
use paceline::ports::{
    Answer, Claim, ClaimRequest, Claims, Clock, Destination, Fenced, Grant, Message, Outgoing, Pause,
    Permits, Place, PoolKey, Properties, PublishError, Publisher, Queue, Release, Sighted, Sighting,
    Sightings, StoreError, Suspicion, Ticket, Usage,
};
use paceline::verdict::{Outcome, Signal};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::broker::{DeadLetter, Receipt, Rest};
use super::life::{Chaos, Life};

/// How long who asks waits for an answer that is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// The clock of the file's host: within seconds of true time.
struct HostClock(Arc<Chaos>);

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let ahead = self.0.store_ahead_ms.load(Ordering::Relaxed);
        Timestamp::from_millisecond(self.0.true_ms() + ahead).expect("a moment of this century")
    }
}

/// The file, and the process that uses it now.
pub struct Disk {
    chaos: Arc<Chaos>,
    folder: TempDir,
    config: Config,
    process: Mutex<Option<Arc<Embedded>>>,
}

fn done<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("the engine is in its caller's place")
}

impl Disk {
    /// An empty one.
    pub fn new(chaos: Arc<Chaos>, config: &Config) -> Arc<Self> {
        // In memory, if there is such a folder: a run is about order, not about the disk.
        let shared = std::path::Path::new("/dev/shm");
        let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        let disk = Arc::new(Self { chaos, folder, config: config.clone(), process: Mutex::default() });
        drop(disk.open(Role::Producer));
        disk
    }

    fn open(&self, role: Role) -> Embedded {
        let settings = EmbeddedSettings::of(&self.config, self.folder.path().join("jobs.db"));
        let clock = Arc::new(HostClock(self.chaos.clone()));
        Embedded::open_here(settings, role, clock).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A process begins to use it; the one before must be gone.
    pub fn connect(self: &Arc<Self>, life: Arc<Life>) -> Arc<Link> {
        let file = Arc::new(self.open(Role::Worker));
        *self.process.lock().expect("nobody panics with it") = Some(file.clone());
        Arc::new(Link { disk: self.clone(), life, file: Mutex::new(Some(file)) })
    }

    /// Whoever publishes beside the worker.
    fn with_process<T>(&self, role: Role, work: impl FnOnce(&Embedded) -> T) -> T {
        let process = self.process.lock().expect("nobody panics with it").clone();
        match process {
            Some(process) => work(&process),
            None => work(&self.open(role)),
        }
    }

    /// What a producer publishes.
    pub fn put(&self, place: &Place, body: Bytes, properties: Properties) {
        let account = place.account().expect("an account's queue").to_string();
        let outgoing = Outgoing { destination: Destination::Jobs(account), body, properties };
        self.with_process(Role::Producer, |file| done(file.publish(outgoing)).expect("it is confirmed"));
    }

    /// A person pauses an account, or resumes it.
    pub fn pause(&self, account: &AccountName, pauses: bool) {
        self.with_process(Role::Onlooker, |file| {
            let asked = if pauses {
                done(file.pause(account))
            } else {
                // Only the person's pause: resuming mends whatever else is wrong with an account.
                let paused = done(file.pause_of(account, &Line::MAIN)).expect("an answer");
                let by_person =
                    paused.is_some_and(|pause| pause.cause == paceline::ports::PauseCause::Operator);
                if by_person { done(file.resume(account, &Line::MAIN)) } else { Ok(()) }
            };
            asked.expect("it is written");
        });
    }

    fn rows<T>(&self, sql: &str, read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>) -> Vec<T> {
        let db = Connection::open(self.folder.path().join("jobs.db")).expect("the file");
        let mut select = db.prepare(sql).expect("a question");
        let rows = select.query_map([], read).expect("an answer");
        rows.collect::<rusqlite::Result<_>>().expect("rows")
    }

    pub fn receipts(&self) -> Vec<Receipt> {
        self.rows("SELECT message_id, body FROM receipt ORDER BY id", |row| {
            let body: String = row.get(1)?;
            Ok(Receipt { name: row.get(0)?, body: serde_json::from_str(&body).expect("a receipt is JSON") })
        })
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let sql = "SELECT properties, body FROM message WHERE key >> 44 = \
                   (SELECT id FROM place WHERE name = 'dead')";
        self.rows(sql, |row| {
            let (text, body): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let kept: serde_json::Value = serde_json::from_str(&text).expect("properties");
            let text = |key: &str| kept[key].as_str().map(str::to_owned);
            let properties = Properties {
                message_id: text("i"),
                correlation_id: text("c"),
                content_type: text("y"),
                headers: serde_json::from_value(kept["h"].clone()).expect("headers"),
                ..Properties::default()
            };
            let header = |name| properties.header(name).expect("a header of its own").to_owned();
            Ok(DeadLetter {
                dead_id: header("paceline-dead-id"),
                reason: header("paceline-reason"),
                body: serde_json::from_slice(&body).unwrap_or_default(),
                bytes: body.into(),
                properties: properties.clone(),
            })
        })
    }

    pub fn rest(&self) -> Rest {
        let number = |row: &rusqlite::Row<'_>| row.get::<_, i64>(0);
        let one = |sql: &str| usize::try_from(self.rows(sql, number)[0]).expect("a number");
        let waiting = self.rows(
            "SELECT name, depth FROM place WHERE depth > 0 AND name != 'dead' AND name NOT LIKE 'delay/%'",
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)),
        );
        let size = |(name, depth): (String, i64)| (name, usize::try_from(depth).expect("a depth"));
        Rest {
            waiting: waiting.into_iter().map(size).collect(),
            unsettled: one("SELECT count(*) FROM taken"),
            delayed: one("SELECT sum(depth) FROM place WHERE name LIKE 'delay/%'"),
        }
    }

    /// Claims that nobody settled.
    pub fn unfinished(&self) -> Vec<(String, String)> {
        let sql = "SELECT account, id FROM claim WHERE state IN ('sending', 'ending')";
        self.rows(sql, |row| Ok((row.get(0)?, row.get(1)?)))
    }
}

/// A process's way to the file.
pub struct Link {
    disk: Arc<Disk>,
    life: Arc<Life>,
    file: Mutex<Option<Arc<Embedded>>>,
}

impl Link {
    /// The process is gone: its handles are dropped as they are.
    pub fn end(&self) {
        drop(self.file.lock().expect("nobody panics with it").take());
        drop(self.disk.process.lock().expect("nobody panics with it").take());
    }

    fn file(&self) -> Option<Arc<Embedded>> {
        self.file.lock().expect("nobody panics with it").clone()
    }

    /// One call, before or after which the process may die. What it asks for may be lost, or done
    /// without its hearing of it.
    async fn call<T>(&self, work: impl AsyncFnOnce(&Embedded) -> T) -> Option<T> {
        let chaos = &self.disk.chaos;
        self.life.moment().await;
        chaos.travel(if chaos.strikes(|odds| odds.store_slow) { 1_500 } else { 3 }).await;
        if chaos.strikes(|odds| odds.ask_lost) {
            sleep(PATIENCE).await;
            self.life.moment().await;
            return None;
        }
        let Some(file) = self.file() else { return std::future::pending().await };
        let answer = work(&file).await;
        drop(file);
        if chaos.strikes(|odds| odds.answer_lost) {
            sleep(PATIENCE).await;
            self.life.moment().await;
            return None;
        }
        chaos.travel(3).await;
        self.life.moment().await;
        Some(answer)
    }

    async fn store<T>(
        &self,
        work: impl AsyncFnOnce(&Embedded) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.call(work).await.unwrap_or_else(|| Err(StoreError("no answer in time".to_owned())))
    }
}

/// The file as the worker sees it.
pub struct Port(pub Arc<Link>);

#[async_trait]
impl Queue for Port {
    fn subscribe(&self, place: Place, prefetch: u16) -> mpsc::Receiver<Box<Message>> {
        let (bounded, receiver) = mpsc::channel(usize::from(prefetch).max(1));
        let Some(file) = self.0.file() else { return receiver };
        let mut given = file.subscribe(place, prefetch);
        let link = self.0.clone();
        tokio::spawn(async move {
            while let Some(message) = given.recv().await {
                if link.life.is_dead() {
                    return std::future::pending().await;
                }
                let ticket = Box::new(Tag { link: link.clone(), inner: message.ticket });
                let message = Box::new(Message { ticket, received: Instant::now(), ..*message });
                if bounded.send(message).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn up(&self) -> watch::Receiver<bool> {
        let gone = || watch::Sender::new(false).subscribe();
        self.0.file().map_or_else(gone, |file| Queue::up(file.as_ref()))
    }

    async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        let asked = self.0.call(async |file| file.depths(places).await).await;
        asked.unwrap_or_else(|| vec![None; places.len()])
    }

    async fn stop(&self) {
        self.0.life.moment().await;
        if let Some(file) = self.0.file() {
            file.stop().await;
        }
    }

    async fn close(&self) {
        self.0.life.moment().await;
        if let Some(file) = self.0.file() {
            file.close().await;
        }
        self.0.end();
    }
}

#[async_trait]
impl Publisher for Port {
    async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        self.0.disk.chaos.note_name(&outgoing.properties);
        let asked = self.0.call(async |file| file.publish(outgoing).await).await;
        asked.unwrap_or_else(|| Err(PublishError::Unconfirmed("no answer in time".to_owned())))
    }
}

/// The right to settle one message.
struct Tag {
    link: Arc<Link>,
    inner: Box<dyn Ticket>,
}

#[async_trait]
impl Ticket for Tag {
    async fn ack(&self) -> bool {
        self.link.life.moment().await;
        let acked = self.inner.ack().await;
        self.link.life.moment().await;
        acked
    }

    async fn requeue(&self) {
        self.link.life.moment().await;
        self.inner.requeue().await;
        self.link.life.moment().await;
    }

    fn is_stale(&self) -> bool {
        self.inner.is_stale()
    }
}

#[async_trait]
impl Claims for Port {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Answer>, StoreError> {
        let begun = Instant::now();
        let answers = self.0.store(async |file| file.claim(requests).await).await?;
        // The lease is counted from before the whole call.
        let late = begun.elapsed();
        Ok(answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Acquired(claim) => {
                    Answer::Acquired(Claim { write_by: claim.write_by - late, ..claim })
                }
                other @ (Answer::Held(_) | Answer::Ended { .. } | Answer::Paused(_)) => other,
            })
            .collect())
    }

    async fn end(&self, claim: &Claim, outcome: &Outcome, signal: Signal) -> Result<Fenced, StoreError> {
        self.0.store(async |file| file.end(claim, outcome, signal).await).await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<Fenced, StoreError> {
        self.0.store(async |file| file.release(claim, release).await).await
    }

    async fn suspect(&self, claim: &Claim) -> Result<Suspicion, StoreError> {
        self.0.store(async |file| file.suspect(claim).await).await
    }

    async fn throttle(&self, account: &AccountName, line: &Line, wait: Duration) -> Result<(), StoreError> {
        self.0.store(async |file| file.throttle(account, line, wait).await).await
    }

    async fn pause_of(&self, account: &AccountName, line: &Line) -> Result<Option<Pause>, StoreError> {
        self.0.store(async |file| file.pause_of(account, line).await).await
    }

    async fn pause(&self, account: &AccountName) -> Result<(), StoreError> {
        self.0.store(async |file| file.pause(account).await).await
    }

    async fn resume(&self, account: &AccountName, line: &Line) -> Result<(), StoreError> {
        self.0.store(async |file| file.resume(account, line).await).await
    }

    async fn count_suspect(&self, fingerprint: &str, handling: &str) -> Result<u32, StoreError> {
        self.0.store(async |file| file.count_suspect(fingerprint, handling).await).await
    }

    async fn uncount_suspect(&self, fingerprint: &str, handling: &str) -> Result<(), StoreError> {
        self.0.store(async |file| file.uncount_suspect(fingerprint, handling).await).await
    }

    fn up(&self) -> watch::Receiver<bool> {
        Queue::up(self)
    }

    async fn ping(&self) -> bool {
        self.0.call(async |file| file.ping().await).await.unwrap_or(false)
    }
}

#[async_trait]
impl Permits for Port {
    /// Within the process: nothing of it is lost, and it takes no time.
    async fn take(&self, pool: &PoolKey, n: u32) -> Result<Grant, StoreError> {
        self.0.life.moment().await;
        let Some(file) = self.0.file() else { return std::future::pending().await };
        file.take(pool, n).await
    }

    async fn pause_pool(&self, pool: &PoolKey, wait: Duration) -> Result<(), StoreError> {
        self.0.store(async |file| file.pause_pool(pool, wait).await).await
    }

    async fn usage(&self, pool: &PoolKey) -> Result<Usage, StoreError> {
        self.0.store(async |file| file.usage(pool).await).await
    }
}

#[async_trait]
impl Sightings for Port {
    async fn report(&self, worker: &str, sighting: &Sighting) -> Result<(), StoreError> {
        self.0.store(async |file| file.report(worker, sighting).await).await
    }

    async fn sightings(&self) -> Result<Vec<Sighted>, StoreError> {
        self.0.store(async |file| file.sightings().await).await
    }
}
