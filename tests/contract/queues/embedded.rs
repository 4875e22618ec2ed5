//! One file.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use paceline::adapters::system::SystemClock;
use paceline::ports::{Place, Queue};
use tempfile::TempDir;

use super::Bench;
use crate::contract::queue;
use crate::contract::stores::Terms;

pub struct File {
    folder: TempDir,
    /// One process uses it at a time.
    process: Mutex<Option<Arc<Embedded>>>,
}

impl Bench for File {
    type Port = Embedded;

    async fn start() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), process: Mutex::default() }
    }

    async fn connect(&self) -> Arc<Embedded> {
        let standing = self.process.lock().unwrap().take();
        if let Some(process) = standing {
            let closed = process.depths(&[Place::Due]).await == [None];
            assert!(closed, "one file is for one process at a time");
        }
        let Terms { dedupe_ttl, lease, request_timeout, max_age, limiter, circuit, pools } = Terms::default();
        let settings = EmbeddedSettings {
            file: self.folder.path().join("jobs.db"),
            places: queue::places(),
            pools,
            publish_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            dedupe_ttl,
            lease,
            request_timeout,
            max_age,
            limiter,
            circuit,
        };
        let process = Arc::new(Embedded::open(settings, Role::Worker, Arc::new(SystemClock)).unwrap());
        *self.process.lock().unwrap() = Some(process.clone());
        process
    }
}
