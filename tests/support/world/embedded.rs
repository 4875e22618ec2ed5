//! A world without servers: broker and store are one file.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use paceline::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use paceline::adapters::system::SystemClock;
use paceline::config::{Environment, load};
use paceline::providers;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::{CAMPAIGN_KEY, PUSH_KEY, TOKEN};

thread_local! {
    /// Whether worlds that this thread makes are without servers.
    static WITHOUT_SERVERS: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose worlds are to be without servers. A test's body runs in the thread that calls it.
#[allow(dead_code, reason = "a measurement says so in its options")]
pub fn without_servers(test: impl FnOnce()) {
    WITHOUT_SERVERS.set(true);
    test();
    WITHOUT_SERVERS.set(false);
}

/// Tests of these functions of modules beside the caller's, once more without servers.
#[allow(unused_macros, reason = "a measurement says so in its options")]
macro_rules! on_a_file {
    ($($module:ident::$name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                crate::support::world::embedded::without_servers(super::$module::$name);
            }
        )*
    };
}

#[allow(unused_imports, reason = "a measurement says so in its options")]
pub(crate) use on_a_file;

/// Whether this thread makes worlds without servers.
pub fn is_without_servers() -> bool {
    WITHOUT_SERVERS.get()
}

/// The file, as somebody else sees it who reads it.
pub struct File {
    path: PathBuf,
    last_receipt: i64,
}

impl File {
    /// The file of a world's folder; the worker or the producer makes it.
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join(NAME), last_receipt: 0 }
    }

    /// Its path.
    #[allow(dead_code, reason = "a measurement uses it")]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags).expect("the file");
        db.busy_timeout(std::time::Duration::from_secs(30)).expect("a time-out");
        db
    }

    /// The receipts since the last time, with their names, as a producer would read them.
    pub fn receipts(&mut self) -> Vec<(String, Value)> {
        let db = self.open();
        let mut select =
            db.prepare("SELECT id, message_id, body FROM receipt WHERE id > ? ORDER BY id").unwrap();
        let rows = select.query_map([self.last_receipt], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        });
        let mut receipts = Vec::new();
        for row in rows.unwrap() {
            let (id, name, body) = row.expect("a receipt");
            self.last_receipt = id;
            receipts.push((name, serde_json::from_str(&body).expect("a receipt is JSON")));
        }
        receipts
    }

    /// All dead letters, as (headers, body).
    pub fn dead_letters(&self) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
        let db = self.open();
        let mut select = db
            .prepare(
                "SELECT properties, body FROM message WHERE key >> 44 = \
                 (SELECT id FROM place WHERE name = 'dead')",
            )
            .unwrap();
        let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)));
        let letter = |row: rusqlite::Result<(String, Vec<u8>)>| {
            let (properties, body) = row.expect("a letter");
            let properties: Value = serde_json::from_str(&properties).expect("properties");
            let headers = serde_json::from_value::<Vec<(String, String)>>(properties["h"].clone());
            (headers.expect("headers").into_iter().collect(), body)
        };
        rows.unwrap().map(letter).collect()
    }

    /// How many messages each place holds that must be empty at the end; counted one by one.
    pub fn depths(&self) -> Vec<(String, u64)> {
        let db = self.open();
        let mut select = db
            .prepare(
                "SELECT name, depth, (SELECT count(*) FROM message WHERE key >> 44 = place.id) \
                 FROM place WHERE name != 'dead'",
            )
            .unwrap();
        let rows = select.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        let depth = |row: rusqlite::Result<(String, i64, i64)>| {
            let (name, told, counted) = row.expect("a place");
            assert_eq!(told, counted, "the depth of {name} is kept right");
            (name, u64::try_from(told).expect("a depth"))
        };
        rows.unwrap().map(depth).collect()
    }

    /// The claims that did not end.
    pub fn open_claims(&self) -> Vec<String> {
        let db = self.open();
        let mut select = db
            .prepare("SELECT account || ' ' || id || ' ' || state FROM claim WHERE state != 'ended'")
            .unwrap();
        let rows = select.query_map([], |row| row.get(0)).unwrap();
        rows.map(|row| row.expect("a claim")).collect()
    }
}

/// What it is called, beside the configuration.
const NAME: &str = "jobs.db";

/// What stands in the configuration in the place of a server's address.
pub fn address() -> String {
    format!("embedded:{NAME}")
}

/// A producer on the file of a configuration.
pub fn producer(configuration: &Path) -> Arc<Embedded> {
    let environment = Environment::of([
        ("PUSHWOOSH_TOKEN", TOKEN),
        ("MOENGAGE_PUSH_KEY", PUSH_KEY),
        ("MOENGAGE_CAMPAIGN_KEY", CAMPAIGN_KEY),
    ]);
    let config = load(Some(configuration), &environment, &providers::ALL).expect("a configuration").config;
    let file = config.embedded.clone().expect("a configuration without servers");
    let settings = EmbeddedSettings::of(&config, file);
    Arc::new(Embedded::open(settings, Role::Producer, Arc::new(SystemClock)).expect("the file is made"))
}
