//! One file.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use paceline::adapters::system::SystemClock;
use paceline::ports::Place;
use tempfile::TempDir;

use super::{Bench, Terms};

pub struct File {
    folder: TempDir,
    terms: Terms,
    /// One process uses it: every worker of a test is this one.
    worker: Mutex<Option<Arc<Embedded>>>,
}

/// A file in a folder, with time enough for a busy machine.
pub fn settings(folder: &TempDir, places: Vec<Place>, terms: Terms) -> EmbeddedSettings {
    let Terms { dedupe_ttl, lease, request_timeout, max_age, limiter, circuit, pools } = terms;
    EmbeddedSettings {
        file: folder.path().join("jobs.db"),
        places,
        pools,
        publish_timeout: Duration::from_secs(30),
        timeout: Duration::from_secs(30),
        dedupe_ttl,
        lease,
        request_timeout,
        max_age,
        limiter,
        circuit,
    }
}

impl File {
    fn change(&self, sql: &str) {
        let db = rusqlite::Connection::open(self.folder.path().join("jobs.db")).unwrap();
        db.busy_timeout(Duration::from_secs(30)).unwrap();
        db.execute_batch(sql).unwrap();
    }
}

impl Bench for File {
    type Store = Embedded;

    async fn start(terms: Terms) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), terms, worker: Mutex::default() }
    }

    async fn connect(&self) -> Arc<Embedded> {
        let settings = settings(&self.folder, Vec::new(), self.terms.clone());
        let mut worker = self.worker.lock().unwrap();
        let open = || Arc::new(Embedded::open(settings, Role::Worker, Arc::new(SystemClock)).unwrap());
        worker.get_or_insert_with(open).clone()
    }

    async fn forget(&self) {
        self.change("DELETE FROM claim; DELETE FROM health; DELETE FROM suspected; DELETE FROM sighting;");
    }

    /// The clock is the machine's: instead of it the leases are moved.
    async fn step_back(&self, by: Duration) {
        let by = by.as_millis();
        let ends = "$.live.lease.ends";
        self.change(&format!(
            "UPDATE claim SET record = json_set(record, '{ends}', json_extract(record, '{ends}') + {by}) \
             WHERE state != 'ended'"
        ));
    }
}
