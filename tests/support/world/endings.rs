//! How workers end, and worlds that are not finished.

use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{WorkerProcess, World, eventually, get, signal, tail};

/// The longest time for which a worker that was told to end is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// Kills a worker as a crash would.
    pub async fn kill_worker(&mut self, index: usize) {
        let mut worker = self.workers.remove(index);
        worker.child.kill().await.expect("the worker is killed");
    }

    /// Asks a worker to drain and returns its exit status and how long that took.
    pub async fn drain_worker(&mut self, index: usize) -> (ExitStatus, Duration) {
        let mut worker = self.told_to_drain(index).await;
        let started = Instant::now();
        (worker.ended().await, started.elapsed())
    }

    /// Asks a worker to drain, and when it does so to end at once. Returns its exit status and how long
    /// that took from the second signal on.
    #[allow(dead_code, reason = "a measurement needs it not")]
    pub async fn end_worker_at_once(&mut self, index: usize) -> (ExitStatus, Duration) {
        let mut worker = self.told_to_drain(index).await;
        eventually("it drains", || async {
            std::fs::read_to_string(&worker.log).is_ok_and(|log| log.contains("draining"))
        })
        .await;
        signal(worker.pid(), "-TERM");
        let started = Instant::now();
        (worker.ended().await, started.elapsed())
    }

    async fn told_to_drain(&mut self, index: usize) -> WorkerProcess {
        let worker = self.workers.remove(index);
        // One that has not begun to listen for signals would die of it instead of draining.
        let url = format!("http://{}/healthz", worker.admin);
        eventually("the worker is alive", || async { get(&url).await.is_some() }).await;
        signal(worker.pid(), "-TERM");
        worker
    }

    /// Ends a world of which nothing is asserted, because it was made to measure something else than
    /// what becomes of its jobs.
    #[allow(dead_code, reason = "the suite always asserts conservation; a measurement need not")]
    pub async fn abandon(mut self) {
        while !self.workers.is_empty() {
            self.kill_worker(0).await;
        }
        self.finished = true;
    }
}

impl WorkerProcess {
    async fn ended(&mut self) -> ExitStatus {
        timeout(PATIENCE, self.child.wait())
            .await
            .unwrap_or_else(|_| panic!("the worker did not end: {}", tail(&self.log)))
            .expect("an exit status")
    }
}
