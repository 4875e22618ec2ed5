//! Worlds that end with work left over.

use super::World;

impl World {
    /// Ends a world of which nothing is asserted, because it was made to measure something else than
    /// what becomes of its jobs.
    #[allow(dead_code, reason = "the suite asserts conservation always; a measurement need not")]
    pub async fn abandon(mut self) {
        while let Some(mut worker) = self.workers.pop() {
            worker.child.kill().await.expect("the worker is killed");
        }
        self.finished = true;
    }
}
