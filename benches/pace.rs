//! Whether the limit holds and is used, for one worker and for many, with and without faults:
//! `cargo bench --bench pace`.
//!
//! Each run is a world of its own: RabbitMQ, Redis, the simulated providers, and N worker processes
//! (release build, `[worker]` and `[limiter]` at their defaults) with two accounts, 600 and 10,000
//! requests a minute, one delivery a request. Both have a backlog in `normal` that outlasts the
//! measurement; every half second an urgent job for each comes on top. With faults a worker is
//! killed every 20 s and another started, and the store loses all its data half-way. A last run
//! measures how many notifications 600 requests a minute carry when they are shared.
//!
//! Everything runs on the same machine: other work on it shows in every time. Exit status 1 when a
//! figure falls short. Parts of it: `PACELINE_MEASURE_SECONDS` (default 150, at least 75),
//! `PACELINE_MEASURE_WORKERS` (`1,2,4,8`), `PACELINE_MEASURE_FAULTS` (`no,yes`),
//! `PACELINE_MEASURE_BATCH` (`yes`, or `no` to leave out the last run).

use std::process::ExitCode;
use std::time::Duration;

use figures::{all_hold, table};
use run::Plan;

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/load.rs"]
mod load;

#[path = "pace/batch.rs"]
mod batch;

#[path = "pace/report.rs"]
mod report;

#[path = "pace/run.rs"]
mod run;

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
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if runtime.block_on(measure()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure() -> bool {
    let watched = watched_time();
    let mut summary = String::from(report::HEADING);
    let mut holds = true;
    for plan in plans(watched) {
        let outcome = run::run(plan).await;
        let figures = report::figures(&outcome);
        println!("\n{}\n{}", report::title(plan), table(&figures));
        summary += &report::rows(&outcome);
        holds &= all_hold(&figures);
    }
    if given("PACELINE_MEASURE_BATCH", "yes") == "yes" {
        let figures = batch::measure(watched).await;
        println!("\n2 workers, 600 a minute, 20 notifications a request\n{}", table(&figures));
        holds &= all_hold(&figures);
    }
    println!("\n{summary}");
    holds
}

fn watched_time() -> Duration {
    let seconds = given("PACELINE_MEASURE_SECONDS", "150").parse().expect("a whole number of seconds");
    assert!(seconds >= 75, "PACELINE_MEASURE_SECONDS is at least 75: there must be a whole window in it");
    Duration::from_secs(seconds)
}

fn plans(watched: Duration) -> Vec<Plan> {
    let faults = given("PACELINE_MEASURE_FAULTS", "no,yes");
    let workers = given("PACELINE_MEASURE_WORKERS", "1,2,4,8");
    let plan = |faults: &str, workers: &str| Plan {
        workers: workers.trim().parse().expect("PACELINE_MEASURE_WORKERS is numbers with commas between"),
        faults: match faults.trim() {
            "yes" => true,
            "no" => false,
            other => panic!("PACELINE_MEASURE_FAULTS is of yes and no, not {other}"),
        },
        watched,
    };
    let of = |faults| workers.split(',').map(move |workers| plan(faults, workers)).collect::<Vec<_>>();
    faults.split(',').flat_map(of).collect()
}

fn given(variable: &str, usual: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| usual.to_owned())
}
