//! The file: who may open it, how it is opened, and what is in it.
//!
//! SQLite in WAL mode with `synchronous=FULL`: a commit returns when its log is on the disk, so what
//! was answered survives the process's end and a power cut, as far as the disk keeps what it says it
//! wrote. Readers and the writer of other processes don't stand in each other's way; two writers take
//! turns. All of it needs a local disk: the processes share memory by `FILE-shm`.
//!
//! Space that is freed is used again by what is written next; the file does not shrink by itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::Role;

/// Marks a file as paceline's ("pacl").
const APPLICATION_ID: i32 = 0x7061_636C;

/// The form of the tables; a file of a higher one belongs to a newer paceline.
const VERSION: i32 = 1;

/// How much of the log's file is kept when it is used anew, in bytes: what it grew beyond under load
/// is given back.
const LOG_KEPT: i64 = 64 * 1024 * 1024;

/// How often, and how long, a process waits for another one that writes: briefly, because that one leaves
/// the file alone for a moment only (see [`super::front`]).
const TURN: Duration = Duration::from_micros(300);
const TURNS: i32 = 6_000;

/// Statements kept ready.
const STATEMENTS: usize = 128;

/// The tables. `message.key` holds the place in its upper bits and the order within the place in its
/// lower ones: one tree keeps every queue in its order, and a queue of millions costs no more than a
/// short one.
const TABLES: &str = "
CREATE TABLE place (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
  next INTEGER NOT NULL DEFAULT 1, depth INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE message (
  key INTEGER PRIMARY KEY, due INTEGER NOT NULL, redeliveries INTEGER NOT NULL,
  properties TEXT NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE taken (key INTEGER PRIMARY KEY) STRICT;
CREATE TABLE receipt (
  id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, account TEXT NOT NULL,
  operation TEXT NOT NULL, status TEXT NOT NULL, message_id TEXT, correlation_id TEXT,
  body ANY NOT NULL) STRICT;
CREATE TABLE claim (
  account TEXT NOT NULL, id TEXT NOT NULL, state TEXT NOT NULL, expires INTEGER NOT NULL,
  record TEXT NOT NULL, PRIMARY KEY (account, id)) STRICT, WITHOUT ROWID;
CREATE INDEX claim_expires ON claim (expires);
CREATE TABLE health (
  account TEXT NOT NULL, line TEXT NOT NULL, record TEXT NOT NULL,
  PRIMARY KEY (account, line)) STRICT, WITHOUT ROWID;
CREATE TABLE suspected (
  fingerprint TEXT NOT NULL, handling TEXT NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (fingerprint, handling)) STRICT, WITHOUT ROWID;
CREATE TABLE sighting (
  worker TEXT PRIMARY KEY, at INTEGER NOT NULL, told TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE pool (key TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE note (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Why a file can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another worker uses it.
    #[error(
        "another worker runs on {0}: one file is for one worker; stop that one, or use RabbitMQ and \
         Redis for several"
    )]
    Used(PathBuf),
    /// It is no file of paceline's.
    #[error(
        "{0} is not a file of paceline's: it is left as it is; name another one in queue.url and store.url"
    )]
    Foreign(PathBuf),
    /// A newer paceline wrote it.
    #[error("{0} was written by a newer paceline (form {1}, this one knows {VERSION}): update paceline")]
    Newer(PathBuf, i32),
    /// There is none, and whoever asks makes none.
    #[error("there is no file {0} yet: a worker or `paceline publish` makes it")]
    Missing(PathBuf),
    /// It can't be opened, read or written.
    #[error("{0} can't be used: {1}")]
    Failed(PathBuf, String),
}

/// A file that is open.
pub(super) struct Opened {
    pub(super) db: Connection,
    /// Held by a worker for as long as it uses the file; the system lets go of it when the process
    /// ends, however it ends.
    pub(super) lock: Option<File>,
}

/// Opens the file for a role; makes it where there is none, unless the role only looks.
///
/// # Errors
/// Those of [`OpenError`], which name the file.
pub(super) fn open(path: &Path, role: Role, patience: Duration) -> Result<Opened, OpenError> {
    let failed = |detail: String| OpenError::Failed(path.to_owned(), detail);
    let lock = match role {
        Role::Worker => Some(lock(path)?),
        Role::Producer | Role::Onlooker => None,
    };
    match role {
        Role::Worker | Role::Producer => create(path).map_err(|error| failed(error.to_string()))?,
        Role::Onlooker if !path.exists() => return Err(OpenError::Missing(path.to_owned())),
        Role::Onlooker => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(|error| failed(error.to_string()))?;
    prepare(&mut db, patience).and_then(|()| check(&mut db)).map_err(|error| match error {
        Unfit::Foreign => OpenError::Foreign(path.to_owned()),
        Unfit::Newer(version) => OpenError::Newer(path.to_owned(), version),
        Unfit::Failed(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            OpenError::Foreign(path.to_owned())
        }
        Unfit::Failed(error) => failed(error.to_string()),
    })?;
    db.busy_handler(Some(wait_for_turn)).map_err(|error| failed(error.to_string()))?;
    Ok(Opened { db, lock })
}

fn wait_for_turn(waited: i32) -> bool {
    std::thread::sleep(TURN);
    waited < TURNS
}

/// The worker's own lock, beside the file: SQLite's locks are for the moments of writing.
fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |error: std::io::Error| OpenError::Failed(path.to_owned(), error.to_string());
    lock_beside(path, ".lock").map_err(failed)?.ok_or_else(|| OpenError::Used(path.to_owned()))
}

/// The lock of whoever takes dead letters out; `None` while another one does.
pub(super) fn lock_letters(path: &Path) -> std::io::Result<Option<File>> {
    lock_beside(path, ".dead.lock")
}

/// The system lets go of it when the process ends, however it ends. `None` while somebody else has it.
fn lock_beside(path: &Path, suffix: &str) -> std::io::Result<Option<File>> {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    let file = private().truncate(false).open(&name)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// An empty file that only its owner may read, if there is none: it will hold device tokens and
/// message texts. SQLite gives its two companions the same rights.
fn create(path: &Path) -> std::io::Result<()> {
    match private().create_new(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

enum Unfit {
    Foreign,
    Newer(i32),
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

fn prepare(db: &mut Connection, patience: Duration) -> Result<(), Unfit> {
    db.busy_timeout(patience)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    // Whose file it is comes first: another program's must not be changed, not even its journal.
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let application: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if tables > 0 && application != APPLICATION_ID {
        return Err(Unfit::Foreign);
    }
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(Unfit::Failed(rusqlite::Error::InvalidParameterName(format!(
            "its disk can't keep a shared log (journal mode {mode}); use a local disk"
        ))));
    }
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
    Ok(())
}

/// Makes the tables where there are none yet; two processes may start at once.
fn check(db: &mut Connection) -> Result<(), Unfit> {
    let version = |db: &Connection| db.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0));
    if version(db)? == 0 {
        let making = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if version(&making)? == 0 {
            making.execute_batch(TABLES)?;
            making.pragma_update(None, "application_id", APPLICATION_ID)?;
            making.pragma_update(None, "user_version", VERSION)?;
        }
        making.commit()?;
    }
    match version(db)? {
        VERSION => Ok(()),
        other => Err(Unfit::Newer(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn a_file_is_made_for_its_owner_alone_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.paceline");
        assert!(matches!(open(&path, Role::Onlooker, PATIENCE), Err(OpenError::Missing(_))));
        let opened = open(&path, Role::Worker, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        opened.db.execute("INSERT INTO note VALUES ('x', 1)", []).unwrap();
        for name in ["jobs.paceline", "jobs.paceline-wal", "jobs.paceline-shm", "jobs.paceline.lock"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(open(&path, Role::Producer, PATIENCE).is_ok());
        assert!(open(&path, Role::Onlooker, PATIENCE).is_ok());
    }

    #[test]
    fn a_second_worker_is_refused_until_the_first_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let first = open(&path, Role::Worker, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        let refused = open(&path, Role::Worker, PATIENCE).err().unwrap();
        assert_eq!(refused, OpenError::Used(path.clone()));
        assert!(refused.to_string().contains("another worker runs on"), "{refused}");
        drop(first);
        assert!(open(&path, Role::Worker, PATIENCE).is_ok());
    }

    #[test]
    fn files_of_others_and_of_newer_versions_are_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("text");
        std::fs::write(&text, "these are a thousand words of somebody else's ".repeat(100)).unwrap();
        let before = std::fs::read(&text).unwrap();
        assert_eq!(open(&text, Role::Worker, PATIENCE).err(), Some(OpenError::Foreign(text.clone())));
        assert_eq!(std::fs::read(&text).unwrap(), before);

        let other = folder.path().join("other");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        let before = std::fs::read(&other).unwrap();
        assert_eq!(open(&other, Role::Producer, PATIENCE).err(), Some(OpenError::Foreign(other.clone())));
        assert_eq!(std::fs::read(&other).unwrap(), before);

        let newer = folder.path().join("newer");
        drop(open(&newer, Role::Worker, PATIENCE));
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", 9).unwrap();
        let refused = open(&newer, Role::Onlooker, PATIENCE).err();
        assert_eq!(refused, Some(OpenError::Newer(newer.clone(), 9)));

        let nowhere = folder.path().join("no/such/folder/f");
        let refused = open(&nowhere, Role::Worker, PATIENCE).err().unwrap();
        assert!(refused.to_string().contains("no/such/folder"), "{refused}");
    }
}
