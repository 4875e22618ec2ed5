//! What a worker costs beyond the messages themselves: `make bench`.
//!
//! Exempt jobs (one notification, three devices, about 600 bytes) are preloaded into an account's queue of
//! a private RabbitMQ with a private Redis; a sink of this process takes the requests and answers at once.
//! In each round they are worked off by four programs in turn, each a process of its own: the least that
//! does the same work on the same servers, (a) consume, POST, ack; (b) the same with a claim and a completion
//! in Redis; (c) the same with a receipt that the broker confirms before the ack, which gives the guarantees
//! that a worker gives; and `paceline worker` (release build, its defaults). Then the same at a gentle load,
//! for the wait from a job's publishing to its arrival at the sink.
//!
//! Told are medians over the rounds, and medians of the ratios within one round: other work on the machine
//! then meets both sides of a ratio. Exit status 1 when a ratio falls short.
//! `PACELINE_BENCH_ROUNDS` (5), `PACELINE_BENCH_JOBS` (40000: a program's start is then little of it),
//! `PACELINE_BENCH_GENTLE_SECONDS` (10), `PACELINE_BENCH_FLOORS` (abc; c is always among them).

use std::process::ExitCode;
use std::time::Duration;

use figures::{all_hold, table};
use given::given;
use load::machine_load;
use program::Floor;
use turn::{Plan, Program};

#[path = "floor/jobs.rs"]
mod jobs;

#[path = "floor/program.rs"]
mod program;

#[path = "floor/report.rs"]
mod report;

#[path = "floor/sink.rs"]
mod sink;

#[path = "floor/turn.rs"]
mod turn;

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

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // This program starts itself as each of the floors.
    if let Some(floor) = Floor::asked_for() {
        runtime.block_on(program::run(floor));
        return ExitCode::SUCCESS;
    }
    let plan = Plan {
        rounds: given("PACELINE_BENCH_ROUNDS", 5).max(1),
        jobs: given("PACELINE_BENCH_JOBS", 40_000).max(100),
        gentle: Duration::from_secs(given("PACELINE_BENCH_GENTLE_SECONDS", 10).max(1) as u64),
    };
    let floors: String = given("PACELINE_BENCH_FLOORS", "abc".to_owned());
    let rounds = runtime.block_on(async {
        let mut rounds = Vec::new();
        for number in 1..=plan.rounds {
            let mut round = report::Round::new();
            for program in Program::ALL.into_iter().filter(|program| program.takes_part(&floors)) {
                let seen = turn::run(program, plan).await;
                eprintln!("round {number}, {}: {}", program.name(), report::line(&seen));
                round.insert(program, seen);
            }
            rounds.push(round);
        }
        rounds
    });
    let figures = report::figures(&rounds, machine_load());
    println!("\n{}", table(&figures));
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
