//! How much memory a worker takes: `cargo bench --bench memory`.
//!
//! Each case is a world of its own: RabbitMQ, Redis, the simulated providers, and one worker process
//! (release build, `[worker]` and `[limiter]` at their defaults) that gets more work than it can do,
//! or a dependency that stands still. Told is the highest resident memory of the worker (`VmHWM`)
//! until the case ends. The one that must not grow with the backlog is measured with 1,000 jobs and
//! with 1,000,000 in the same run.
//!
//! Exit status 1 when a figure falls short. Parts of it: `PACELINE_MEASURE_CASES=idle,bodies` (the
//! words are in the list below), `PACELINE_MEASURE_BACKLOG` (default 1000000).

use std::process::ExitCode;

use cases::{CASES, Case};
use figures::{Figure, all_hold, table};

#[path = "memory/cases.rs"]
mod cases;

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/run.rs"]
#[allow(dead_code, reason = "each measure uses some of it")]
mod run;

#[path = "../tests/support"]
#[allow(dead_code, reason = "the suite uses all of it, a measurement only some")]
mod support {
    pub mod jobs;
    pub mod proxy;
    pub mod rabbitmq;
    pub mod redis;
    pub mod world;
}

/// What no case may exceed.
const MOST_MIB: f64 = 64.0;
/// What a backlog a thousand times as long may add.
const GROWTH_MIB: f64 = 8.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if runtime.block_on(measure()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure() -> bool {
    let wanted = std::env::var("PACELINE_MEASURE_CASES").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|word| !word.is_empty()).collect();
    let mut figures = Vec::new();
    let mut peaks = Vec::new();
    for case in CASES.iter().filter(|case| wanted.is_empty() || wanted.contains(&case.word)) {
        let peak = peak_of(case).await;
        eprintln!("{}: {peak:.1} MiB", case.what);
        figures.push(bound(case.what, peak, MOST_MIB));
        peaks.push((case.word, peak));
    }
    let peak = |word: &str| peaks.iter().find(|(found, _)| *found == word).map(|(_, peak)| *peak);
    if let (Some(short), Some(long)) = (peak("short"), peak("long")) {
        figures.push(bound(
            "what the long backlog adds to the short one",
            (long - short).max(0.0),
            GROWTH_MIB,
        ));
    }
    println!("\n{}", table(&figures));
    all_hold(&figures)
}

async fn peak_of(case: &Case) -> f64 {
    let mut world = (case.world)().await;
    (case.drive)(&mut world).await;
    let pid = world.workers[0].pid();
    let kib = run::memory(&format!("/proc/{pid}")).expect("the worker runs");
    world.abandon().await;
    kib as f64 / 1024.0
}

fn bound(what: &str, mib: f64, most: f64) -> Figure {
    Figure::bound(what, format!("{mib:.1} MiB"), format!("<= {most:.0} MiB"), mib <= most)
}
