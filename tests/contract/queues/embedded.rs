//! One file.

use std::sync::{Arc, Mutex};

use paceline::adapters::embedded::{Embedded, Role};
use paceline::adapters::system::SystemClock;
use paceline::ports::{Place, Queue};
use tempfile::TempDir;

use super::Bench;
use crate::contract::queue;
use crate::contract::stores::Terms;
use crate::contract::stores::embedded::settings;

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
        let settings = settings(&self.folder, queue::places(), Terms::default());
        let process = Arc::new(Embedded::open(settings, Role::Worker, Arc::new(SystemClock)).unwrap());
        *self.process.lock().unwrap() = Some(process.clone());
        process
    }
}
