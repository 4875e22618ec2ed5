//! What one file carries, with every commit on the disk: `cargo bench --bench embedded`.
//!
//! First a worker process (release build) on one processor (`taskset`) takes exempt jobs that were
//! published before it started, claims each, sends it to the simulated provider, which runs on the
//! other processors, and writes its end and its receipt; the rate is that of the receipts once the
//! first tenth is told. Then, in this process, the rates of publishing, of claiming (a claim and its
//! end) and of taking (giving out and acking) are measured with 1,000 and with 1,000,000 jobs waiting.
//!
//! Every figure waits for the disk of the temporary folder (`TMPDIR`): its `fdatasync` is told too.
//! Exit status 1 when a figure falls short. `PACELINE_MEASURE_WAITING` (default 1,000,000) is the
//! larger number of jobs that wait, `PACELINE_MEASURE_JOBS` (default 30,000) how many are sent.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use paceline::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use paceline::adapters::system::SystemClock;
use paceline::config::{Environment, load_text};
use paceline::job::{AccountName, DeliveryId, Instance, Line, TransactionId};
use paceline::ports::{
    Answer, ClaimRequest, Claims, Destination, History, Outgoing, Place, Properties, Publisher, Purpose,
    Queue,
};
use paceline::providers;
use paceline::verdict::{Acceptance, Outcome, Signal, Status};
use serde_json::Value;

use figures::{Figure, all_hold, table};
use given::given;
use support::jobs::exempt_job;
use support::world::{Options, World};

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/given.rs"]
mod given;

#[path = "support/load.rs"]
mod load;

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

/// The least rate of exempt jobs, and how much slower a long queue may make publishing and claiming.
const LEAST_RATE: f64 = 2_000.0;
const MOST_SLOWER: f64 = 2.0;
const FEW: usize = 1_000;
/// Operations of a kind in one round, and under way at once; the best of so many rounds counts, since
/// other work on the machine only ever makes one slower.
const OPERATIONS: usize = 20_000;
const AT_ONCE: usize = 256;
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut figures = vec![Figure::told("one fdatasync of 12 KiB, median", milliseconds(fsync()))];
    figures.extend(runtime.block_on(jobs_a_second(given("PACELINE_MEASURE_JOBS", 30_000))));
    figures.extend(runtime.block_on(waiting(given("PACELINE_MEASURE_WAITING", 1_000_000))));
    figures.push(Figure::told(
        "processes that wanted to run (1 min mean) on how many processors",
        load::machine_load(),
    ));
    println!("\n{}", table(&figures));
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

/// What the disk takes for a small commit.
fn fsync() -> Duration {
    use std::os::unix::fs::FileExt as _;
    let file = tempfile::tempfile().expect("a file");
    file.write_all_at(&vec![0; 4_000_000], 0).expect("written");
    file.sync_all().expect("kept");
    let mut times: Vec<Duration> = (0..100)
        .map(|n| {
            let begun = Instant::now();
            file.write_all_at(&[1; 12_288], n * 12_288).expect("written");
            file.sync_data().expect("kept");
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[50]
}

// ---------------------------------------------------------------------------------------------
// From the file to the provider and back
// ---------------------------------------------------------------------------------------------

async fn jobs_a_second(jobs: usize) -> Vec<Figure> {
    let env = &[
        ("PACELINE__LOG__LEVEL", "warn"),
        ("PACELINE__WORKER__REQUESTS_IN_FLIGHT", "256"),
        ("PACELINE__WORKER__JOBS_PREFETCH", "1000"),
    ];
    let mut world =
        World::with(Options { embedded: true, short_times: false, env, ..Options::default() }).await;
    let begun = Instant::now();
    let all: Vec<usize> = (0..jobs).collect();
    for chunk in all.chunks(2_000) {
        let jobs: Vec<Value> = chunk.iter().map(|n| exempt_job(&format!("e-{n}"))).collect();
        world.publish(&jobs).await;
    }
    let published = jobs as f64 / begun.elapsed().as_secs_f64();
    let worker = world.launch_worker().await;
    pin(world.workers[worker].pid());
    let mut first = None;
    let rate = loop {
        world.collect().await;
        let told = world.receipts().len();
        match first {
            None if told >= jobs / 10 => first = Some((Instant::now(), told)),
            Some((since, before)) if told == jobs => {
                break (told - before) as f64 / since.elapsed().as_secs_f64();
            }
            None | Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    world.finish().await;
    vec![
        Figure::told(
            "jobs published a second, another process's view of the file",
            format!("{published:.0}"),
        ),
        Figure::bound(
            format!("{jobs} exempt jobs on one processor: taken, claimed, sent, ended and told a second"),
            format!("{rate:.0}"),
            format!(">= {LEAST_RATE:.0}"),
            rate >= LEAST_RATE,
        ),
    ]
}

/// Leaves the process one processor.
fn pin(pid: u32) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", "0", &pid.to_string()])
        .stdout(Stdio::null())
        .status()
        .expect("taskset, of util-linux");
    assert!(pinned.success());
}

// ---------------------------------------------------------------------------------------------
// A long queue
// ---------------------------------------------------------------------------------------------

/// Rates, a second.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    publish: f64,
    claim: f64,
    take: f64,
}

async fn waiting(many: usize) -> Vec<Figure> {
    let few = rates_with(FEW).await;
    let much = rates_with(many).await;
    let mut figures = Vec::new();
    for (what, few, much, judged) in [
        ("publishing", few.publish, much.publish, true),
        ("claiming and ending", few.claim, much.claim, true),
        ("taking and acking", few.take, much.take, false),
    ] {
        figures.push(Figure::told(format!("{what}, a second, with {FEW} jobs waiting"), format!("{few:.0}")));
        let name = format!("  with {many} waiting: slower by");
        let (slower, value) = (few / much, format!("{much:.0} a second, {:.2} times", few / much));
        figures.push(if judged {
            Figure::bound(name, value, format!("<= {MOST_SLOWER} times"), slower <= MOST_SLOWER)
        } else {
            Figure::told(name, value)
        });
    }
    figures
}

fn settings(file: std::path::PathBuf) -> EmbeddedSettings {
    let text =
        "[accounts.shop]\nprovider = \"pushwoosh\"\napi_token = { env = \"TOKEN\" }\napplication = \"X\"";
    let environment = Environment::of([("TOKEN", "any")]);
    let config = load_text(text, None, &environment, &providers::ALL).expect("a configuration").config;
    EmbeddedSettings { timeout: Duration::from_secs(60), ..EmbeddedSettings::of(&config, file) }
}

fn shop() -> AccountName {
    AccountName::new("shop").expect("a name")
}

async fn rates_with(count: usize) -> Rates {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let settings = settings(folder.path().join("jobs.db"));
        Arc::new(Embedded::open(settings, Role::Worker, Arc::new(SystemClock)).expect("the file"))
    };
    let file = open();
    publish(&file, count, 4_000).await;
    let mut best = Rates::default();
    for round in 0..ROUNDS {
        let publish = publish(&file, OPERATIONS, AT_ONCE).await;
        let claim = claim(&file, round).await;
        let take = take(&file).await;
        best = Rates {
            publish: best.publish.max(publish),
            claim: best.claim.max(claim),
            take: best.take.max(take),
        };
        eprintln!(
            "{count} waiting, round {round}: {publish:.0} published, {claim:.0} claimed, {take:.0} taken"
        );
    }
    file.close().await;
    best
}

async fn publish(file: &Arc<Embedded>, count: usize, at_once: usize) -> f64 {
    let body = Bytes::from(exempt_job("some-order-of-some-shop").to_string());
    let begun = Instant::now();
    let publishing = (0..count).map(|n| {
        let properties = Properties { message_id: Some(format!("m-{n}")), ..Properties::default() };
        let destination = Destination::Jobs("shop".to_owned());
        let message = Outgoing { destination, body: body.clone(), properties };
        let file = file.clone();
        async move { file.publish(message).await.expect("published") }
    });
    stream::iter(publishing).buffer_unordered(at_once).collect::<Vec<_>>().await;
    count as f64 / begun.elapsed().as_secs_f64()
}

async fn claim(file: &Arc<Embedded>, round: usize) -> f64 {
    let begun = Instant::now();
    let claiming = (0..OPERATIONS).map(|n| {
        let file = file.clone();
        let id = format!("order-{round}-{n}");
        async move {
            let wish = ClaimRequest {
                account: shop(),
                line: Line::MAIN,
                id: DeliveryId::from(&TransactionId::new(&id).expect("an id")),
                instance: Instance::of(&id, 0),
                purpose: Purpose::Send,
                remembered: History::default(),
                replay: None,
                token: id,
            };
            let answer = file.claim(&[wish]).await.expect("an answer").pop();
            let Some(Answer::Acquired(claim)) = answer else { panic!("not ours: {answer:?}") };
            let outcome = Outcome {
                status: Status::Delivered,
                reason: None,
                detail: None,
                attempts: 1,
                acceptance: Acceptance { message_code: Some("1A2B-3C4D".into()), ..Acceptance::default() },
                settled_at_ms: 1_763_758_326_123,
            };
            file.end(&claim, &outcome, Signal::Healthy).await.expect("ended");
        }
    });
    stream::iter(claiming).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    OPERATIONS as f64 / begun.elapsed().as_secs_f64()
}

/// Takes as many as a round of publishing brought.
async fn take(file: &Arc<Embedded>) -> f64 {
    let mut messages = file.subscribe(Place::Jobs(shop()), u16::try_from(AT_ONCE).expect("small"));
    let begun = Instant::now();
    let mut held = Vec::new();
    for n in 0..OPERATIONS {
        let message = messages.recv().await.expect("a message");
        if n + AT_ONCE < OPERATIONS {
            message.ticket.ack().await;
        } else {
            held.push(message);
        }
    }
    drop(messages);
    for message in held {
        message.ticket.ack().await;
    }
    OPERATIONS as f64 / begun.elapsed().as_secs_f64()
}
