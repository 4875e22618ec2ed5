//! What work on many dead letters takes, and that a replay that is killed loses and doubles nothing:
//! `cargo bench --bench dead`.
//!
//! - `replay` 100,000 letters are replayed by `paceline dead replay --all`, killed with -9 after a third
//!   and two thirds of its time and started again, with two workers that deliver meanwhile. What is told
//!   as lost and doubled is counted at the provider and among the receipts.
//! - `list` 1,000,000 letters are listed.
//! - `replay-file`, `list-file` the same on the embedded file, with one worker.
//!
//! Memory is the highest resident memory of a command (`VmHWM`). Exit status 1 when a figure falls
//! short. Parts of it: `PACELINE_MEASURE_CASES=replay,list`, `PACELINE_MEASURE_LETTERS` (100000),
//! `PACELINE_MEASURE_LISTED` (1000000).

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use bytes::Bytes;
use figures::{Figure, all_hold, table};
use futures_util::StreamExt;
use paceline::ports::{Destination, Outgoing, Place, Properties};
use support::jobs::exempt_job;
use support::world::{Options, World};
use tokio::time::{Instant, sleep_until};

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
    pub mod tls;
    pub mod world;
}

/// What a command may take, in MiB, whatever the number of letters.
const MOST_MIB: f64 = 96.0;

/// How many letters a second a replay publishes.
const RATE: usize = 1_000;

/// How many letters are written at once.
const WRITTEN_AT_ONCE: usize = 512;

/// How long all that was replayed may take to end.
const PATIENCE: Duration = Duration::from_secs(3_600);

const CASES: [&str; 4] = ["replay", "list", "replay-file", "list-file"];

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if runtime.block_on(measure()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure() -> bool {
    let wanted = std::env::var("PACELINE_MEASURE_CASES").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|word| !word.is_empty()).collect();
    let mut figures = Vec::new();
    for case in CASES.into_iter().filter(|case| wanted.is_empty() || wanted.contains(case)) {
        let embedded = case.ends_with("-file");
        figures.extend(if case.starts_with("replay") {
            replay(embedded).await
        } else {
            list(embedded).await
        });
        eprintln!("{}", table(&figures));
    }
    println!("\n{}", table(&figures));
    all_hold(&figures)
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn world(embedded: bool) -> World {
    World::with(Options { embedded, own_broker: true, short_times: false, ..Options::default() }).await
}

/// Writes letters as workers do.
async fn bury(world: &World, letters: usize) {
    let producer = world.producer();
    let writing = futures_util::stream::iter(0..letters).map(|n| {
        let producer = producer.clone();
        async move { producer.publish(letter(n)).await.expect("the letter is safe") }
    });
    writing.buffer_unordered(WRITTEN_AT_ONCE).collect::<()>().await;
}

fn letter(n: usize) -> Outgoing {
    let id = format!("{n:032x}");
    let mut properties = Properties { message_id: Some(id.clone()), ..Properties::default() };
    for (name, value) in [
        ("paceline-dead-id", id.as_str()),
        ("paceline-account", "shop"),
        ("paceline-reason", "exhausted"),
        ("paceline-detail", "retries ran out; last cause: HTTP status 503"),
        ("paceline-attempts", "12"),
        ("paceline-dead-at", "2026-11-28T06:00:00Z"),
    ] {
        properties.set_header(name, value);
    }
    let body = Bytes::from(exempt_job(&format!("d-{n}")).to_string());
    Outgoing { destination: Destination::Place(Place::Dead), body, properties }
}

async fn replay(embedded: bool) -> Vec<Figure> {
    let letters = number("PACELINE_MEASURE_LETTERS", 100_000);
    let mut world = world(embedded).await;
    world.start_worker().await;
    if !embedded {
        world.start_worker().await;
    }
    bury(&world, letters).await;
    eprintln!("{letters} letters written");
    world.expect_more(letters);
    let begun = Instant::now();
    let third = Duration::from_secs_f64(letters as f64 / RATE as f64 / 3.0);
    let mut peak = 0;
    for _ in 0..2 {
        peak = peak.max(run_for(&world, Some(third)).await);
    }
    peak = peak.max(run_for(&world, None).await);
    let took = begun.elapsed();
    world.wait_for_ends_within(letters, PATIENCE).await;
    let ended = begun.elapsed();
    let delivered = world.count("delivered");
    let counts = world.provider.summary().counts;
    let doubled = counts.accepted.saturating_sub(letters as u64) + counts.suppressed;
    let repeats = world.repeats();
    let left = world.dead_letters().await.len();
    world.finish().await;
    let what = |text: &str| format!("{text}{}", if embedded { ", file" } else { "" });
    let mib = peak as f64 / 1024.0;
    vec![
        bound(what("letters lost"), letters - delivered),
        bound(what("letters left"), left),
        bound(what("letters sent twice"), usize::try_from(doubled).unwrap_or(usize::MAX)),
        Figure::told(what("receipts that came again"), repeats.to_string()),
        Figure::told(what("replayed, with two kill -9, in"), figures::seconds(took)),
        Figure::told(what("replayed a second"), format!("{:.0}", letters as f64 / took.as_secs_f64())),
        Figure::told(what("all delivered in"), figures::seconds(ended)),
        Figure::bound(
            what("memory of dead replay"),
            format!("{mib:.1} MiB"),
            format!("<= {MOST_MIB:.0} MiB"),
            mib <= MOST_MIB,
        ),
    ]
}

fn bound(what: String, count: usize) -> Figure {
    Figure::bound(what, count.to_string(), "0".to_owned(), count == 0)
}

/// Runs a replay, to its end or until it is killed; its memory in KiB.
async fn run_for(world: &World, time: Option<Duration>) -> u64 {
    let rate = RATE.to_string();
    let mut child = world
        .command(&["dead", "replay", "--all", "--rate", &rate])
        .stdout(Stdio::null())
        .spawn()
        .expect("the command starts");
    let proc = format!("/proc/{}", child.id().expect("it runs"));
    let end = time.map(|time| Instant::now() + time);
    let mut peak = 0;
    let mut look = Instant::now();
    loop {
        peak = peak.max(run::memory(&proc).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("a status") {
            assert!(time.is_none() && status.success(), "a replay ended with {status}");
            return peak;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            child.kill().await.expect("it is killed");
            eprintln!("killed");
            return peak;
        }
        look += Duration::from_millis(50);
        sleep_until(look).await;
    }
}

async fn list(embedded: bool) -> Vec<Figure> {
    let letters = number("PACELINE_MEASURE_LISTED", 1_000_000);
    let world = world(embedded).await;
    bury(&world, letters).await;
    eprintln!("{letters} letters written");
    let config = world.config_file();
    let list = ["dead", "list", "--limit", "0", "--json"].map(Into::into);
    let arguments = [["--config".into(), config.into()].as_slice(), &list].concat();
    let listed = tokio::task::block_in_place(|| {
        let secrets = [
            ("PUSHWOOSH_TOKEN", support::world::TOKEN),
            ("MOENGAGE_PUSH_KEY", support::world::PUSH_KEY),
            ("MOENGAGE_CAMPAIGN_KEY", support::world::CAMPAIGN_KEY),
        ];
        run::run(env!("CARGO_BIN_EXE_paceline"), &arguments, secrets)
    });
    let told: serde_json::Value = serde_json::from_str(&listed.last_line).unwrap_or_default();
    // A batch of which a confirm came late was written twice.
    let found = told["matched"].as_u64().is_some_and(|matched| matched >= letters as u64);
    eprintln!("exit status {}: {}", listed.status, listed.last_line);
    world.abandon().await;
    let what = |text: &str| format!("{text}{}", if embedded { ", file" } else { "" });
    let mib = listed.peak_kib as f64 / 1024.0;
    vec![
        Figure::bound(
            what("all were listed"),
            found.to_string(),
            "true".to_owned(),
            found && listed.status == 0,
        ),
        Figure::told(what(&format!("{letters} letters listed in")), figures::seconds(listed.wall)),
        Figure::bound(
            what("memory of dead list"),
            format!("{mib:.1} MiB"),
            format!("<= {MOST_MIB:.0} MiB"),
            mib <= MOST_MIB,
        ),
    ]
}
