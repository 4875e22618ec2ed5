//! Whether anything is lost or sent twice when everything goes wrong: `make chaos`.
//!
//! Four worker processes (release build), RabbitMQ, Redis and the simulated providers, all of them
//! private to the run. 100,000 jobs of all nine operations are published over eight tenths of ten
//! minutes; every few seconds something of the whole list in `chaos/trouble.rs` goes wrong. Then
//! the faults stop, everything must end, and it is counted: what ended never, more often than it
//! was published, or was accepted twice by a provider.
//!
//! Counted apart: the account with `on_unknown = "resend"`, which asks for it, and what was accepted
//! once before and once after Redis lost its data.
//!
//! Exit status 1 when a count is not what it must be. The seed is printed; it chooses jobs and faults,
//! but no run repeats another: real processes keep their own time. `PACELINE_CHAOS_SEED`,
//! `PACELINE_CHAOS_SECONDS` (600), `PACELINE_CHAOS_JOBS` (100000), `PACELINE_CHAOS_WORKERS` (4).

use std::process::ExitCode;
use std::time::Duration;

use figures::{all_hold, table};
use given::given;
use run::Plan;

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/given.rs"]
mod given;

#[path = "support/load.rs"]
mod load;

#[path = "support/verdicts.rs"]
mod verdicts;

#[path = "chaos/jobs.rs"]
mod kinds;

#[path = "chaos/report.rs"]
mod report;

#[path = "chaos/run.rs"]
mod run;

#[path = "chaos/trouble.rs"]
mod trouble;

#[path = "../tests/support"]
#[allow(dead_code, reason = "the suite uses all of it, a measurement only some")]
mod support {
    pub mod jobs;
    pub mod proxy;
    pub mod rabbitmq;
    pub mod redis;
    pub mod tls;
    pub mod world;
}

fn main() -> ExitCode {
    let plan = Plan {
        seed: given("PACELINE_CHAOS_SEED", u64::from(rand::random::<u32>())),
        time: Duration::from_secs(given("PACELINE_CHAOS_SECONDS", 600).max(30)),
        jobs: given("PACELINE_CHAOS_JOBS", 100_000),
        workers: given("PACELINE_CHAOS_WORKERS", 4).max(1),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let figures = runtime.block_on(async {
        let (outcome, world) = run::run(plan).await;
        let figures = report::figures(&outcome);
        println!("\n{}", table(&figures));
        world.finish().await;
        figures
    });
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
