//! How a worker's cost grows with its work, and with what it must not grow: `cargo bench --bench growth`.
//!
//! Exempt jobs are preloaded into an account's queue of a private RabbitMQ with a private Redis, and worker
//! processes (release build, defaults) work them off against a sink of this process that answers at once. One
//! table each for jobs that wait, workers, bytes of a job, and devices of a job. (Accounts: `--bench accounts`.)
//!
//! Rates are of the middle eight tenths of what is worked off; with few jobs waiting, of many such runs the
//! median. Exit status 1 when a figure falls short. `PACELINE_BENCH_TABLES=waiting,workers,bytes,devices`,
//! `PACELINE_BENCH_WAITING` (1000000).

use std::process::ExitCode;

use figures::{Figure, all_hold, table};
use given::given;
use jobs::{Shape, USUAL, preload, until_settled};
use load::machine_load;
use run::{memory, processor_time};
use sink::{Sink, rate};
use support::world::{Options, World};

#[path = "floor/jobs.rs"]
mod jobs;

#[path = "floor/sink.rs"]
#[allow(dead_code, reason = "each measure uses some of it")]
mod sink;

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/given.rs"]
mod given;

#[path = "support/load.rs"]
mod load;

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
    pub mod tls;
    pub mod world;
}

/// With a thousand times as many jobs waiting, this share of the rate must be left.
const LEAST_LEFT: f64 = 0.9;

/// What a worker may take with all of them waiting, in MiB.
const MOST_MIB: f64 = 48.0;

/// So many jobs are worked off where more are waiting.
const WORKED_OFF: usize = 20_000;
const FEW: usize = 1_000;
/// So often few jobs are worked off.
const TIMES: usize = 15;

/// What is run.
#[derive(Debug, Clone, Copy)]
struct Case {
    waiting: usize,
    worked_off: usize,
    workers: usize,
    shape: Shape,
}

/// What it came to.
struct Seen {
    rate: f64,
    /// Processor seconds of all workers for each 1,000 jobs.
    processor: f64,
    /// Of the worker that took most.
    peak_mib: f64,
}

fn main() -> ExitCode {
    let wanted = std::env::var("PACELINE_BENCH_TABLES").unwrap_or_default();
    let is_wanted = |word: &str| wanted.is_empty() || wanted.split(',').any(|one| one == word);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut figures = Vec::new();
    if is_wanted("waiting") {
        figures.extend(runtime.block_on(by_waiting()));
    }
    if is_wanted("workers") {
        let of = |workers| Case { workers, ..usual() };
        figures.extend(runtime.block_on(by("workers", &[1, 2, 4, 8], of)));
    }
    if is_wanted("bytes") {
        let of = |bytes: usize| {
            let jobs = (100_000_000 / bytes).clamp(200, WORKED_OFF);
            let shape = Shape { devices: 3, padding: bytes.saturating_sub(600) };
            Case { waiting: jobs, worked_off: jobs, shape, ..usual() }
        };
        figures.extend(runtime.block_on(by("bytes of a job", &[1_024, 16_384, 262_144, 1_048_000], of)));
    }
    if is_wanted("devices") {
        let of = |devices: usize| {
            let jobs = (2_000_000 / devices).clamp(1_000, WORKED_OFF);
            Case { waiting: jobs, worked_off: jobs, shape: Shape { devices, padding: 0 }, ..usual() }
        };
        figures.extend(runtime.block_on(by("devices of a job", &[1, 10, 100, 1_000], of)));
    }
    figures.push(Figure::told(
        "processes that wanted to run (1 min mean) on how many processors",
        machine_load(),
    ));
    println!("\n{}", table(&figures));
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usual() -> Case {
    Case { waiting: WORKED_OFF, worked_off: WORKED_OFF, workers: 1, shape: USUAL }
}

async fn by_waiting() -> Vec<Figure> {
    let many = given("PACELINE_BENCH_WAITING", 1_000_000);
    let few = run_few().await;
    eprintln!("{FEW} waiting: {few:.0} jobs/s");
    let mut figures = vec![Figure::told(format!("{FEW} jobs waiting: jobs a second"), format!("{few:.0}"))];
    for waiting in [100_000.min(many), many] {
        let seen = run_case(Case { waiting, ..usual() }).await;
        eprintln!("{waiting} waiting: {}", line(&seen));
        let left = seen.rate / few;
        figures.push(Figure::told(
            format!("{waiting} jobs waiting: jobs a second"),
            format!("{:.0}", seen.rate),
        ));
        figures.push(Figure::bound(
            format!("  against {FEW} waiting"),
            format!("{left:.2}"),
            format!(">= {LEAST_LEFT}"),
            left >= LEAST_LEFT,
        ));
        figures.push(Figure::bound(
            "  most memory of the worker",
            format!("{:.1} MiB", seen.peak_mib),
            format!("<= {MOST_MIB:.0} MiB"),
            seen.peak_mib <= MOST_MIB,
        ));
    }
    figures
}

async fn by(what: &str, values: &[usize], case: impl Fn(usize) -> Case) -> Vec<Figure> {
    let mut figures = Vec::new();
    for value in values {
        let seen = run_case(case(*value)).await;
        eprintln!("{what}: {value}: {}", line(&seen));
        figures.push(Figure::told(format!("{what}: {value}"), line(&seen)));
    }
    figures
}

fn line(seen: &Seen) -> String {
    format!(
        "{:.0} jobs/s, {:.3} processor s for 1,000 jobs, {:.1} MiB",
        seen.rate, seen.processor, seen.peak_mib
    )
}

async fn world(sink: &Sink) -> World {
    let options = Options {
        embedded: false,
        short_times: false,
        // Jobs for many devices count, and an account without a limit sends them as they come.
        shop: "requests_per_minute = \"unlimited\"",
        ..Options::default()
    };
    let mut world = World::with(options).await;
    world.set_environment(vec![("PACELINE__ACCOUNTS__SHOP__BASE_URL", sink.url.clone().leak())]);
    world
}

async fn run_case(case: Case) -> Seen {
    let sink = Sink::start().await;
    let mut world = world(&sink).await;
    preload(&mut world, "load", case.waiting, case.shape).await;
    for _ in 0..case.workers {
        world.launch_worker().await;
    }
    sink.wait_for(case.worked_off).await;
    let workers: Vec<String> = world.workers.iter().map(|worker| format!("/proc/{}", worker.pid())).collect();
    let used: f64 = workers.iter().map(|worker| processor_time(worker).as_secs_f64()).sum();
    let arrivals = sink.arrivals();
    let peak_kib = workers.iter().filter_map(|worker| memory(worker)).max().unwrap_or_default();
    let seen = Seen {
        rate: rate(&arrivals[..case.worked_off]),
        processor: used / (arrivals.len() as f64 / 1_000.0),
        peak_mib: peak_kib as f64 / 1_024.0,
    };
    world.abandon().await;
    seen
}

/// The rate with few jobs waiting: the median of many small backlogs, one after the other.
async fn run_few() -> f64 {
    let sink = Sink::start().await;
    let mut world = world(&sink).await;
    let mut rates = Vec::new();
    // The first only warms up.
    for time in 0..=TIMES {
        while !world.workers.is_empty() {
            world.drain_worker(0).await;
        }
        preload(&mut world, &format!("few-{time}"), FEW, USUAL).await;
        world.launch_worker().await;
        sink.wait_for(FEW * (time + 1)).await;
        until_settled(&world).await;
        let arrivals = sink.arrivals();
        rates.push(rate(&arrivals[FEW * time..]));
    }
    rates.remove(0);
    rates.sort_by(f64::total_cmp);
    world.abandon().await;
    rates[rates.len() / 2]
}
