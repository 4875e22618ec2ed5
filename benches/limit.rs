//! What paceline promises of an account's limit, measured on real servers: `cargo bench --bench limit`.
//!
//! Two worker processes (release build, `[worker]` and `[limiter]` at their defaults) share one
//! Pushwoosh account of 600 requests a minute with a backlog that outlasts the measurement. The
//! simulated provider counts what arrives. Half-way, urgent, exempt and invalid jobs are published
//! on top of the backlog. In the end the rest is drained, and every delivery must have ended
//! exactly once.
//!
//! `notifications_per_request = 1` here, so that a request is a delivery; by default one request
//! carries up to 20. RabbitMQ, Redis, the provider and the producer run on the same machine: other
//! work on it shows in every time.
//!
//! Exit status 1 when a figure falls short. `PACELINE_MEASURE_SECONDS` (default 150, at least 75)
//! sets how long the backlog is watched.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use figures::{Figure, all_hold, count_between, longest_gap, most_within, percentile, seconds, table};
use receipts::Receipts;
use support::jobs::{counted_job, exempt_job};
use support::world::{Options, World};

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/load.rs"]
mod load;

#[path = "support/receipts.rs"]
mod receipts;

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

/// The provider's limit, and the length of its window.
const LIMIT: u32 = 600;
const WINDOW: Duration = Duration::from_secs(60);
/// The least share of the limit that must be used once the first window is over.
const LEAST_SHARE: f64 = 0.985;
/// Counted deliveries that still wait in the lanes when the last of the others is published.
const BEHIND: usize = 5_000;
/// How long the exempt and invalid jobs are spread over.
const SPREAD: Duration = Duration::from_secs(10);
const EXEMPT: usize = 200;
const INVALID: usize = 50;
const HIGH: usize = 50;
/// The longest time from publishing to receipt of 99 % of the exempt, and of the invalid jobs.
const PROMPT: Duration = Duration::from_secs(1);
const ACCOUNT: &str = "requests_per_minute = 600\nnotifications_per_request = 1";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let figures = runtime.block_on(measure(watched_time()));
    println!("\n{}", table(&figures));
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn watched_time() -> Duration {
    let given = std::env::var("PACELINE_MEASURE_SECONDS").ok();
    let seconds = given.map_or(150, |text| text.parse().expect("PACELINE_MEASURE_SECONDS is a whole number"));
    assert!(seconds >= 75, "PACELINE_MEASURE_SECONDS is at least 75: the first minute is not judged");
    Duration::from_secs(seconds)
}

async fn measure(watched: Duration) -> Vec<Figure> {
    let mut world =
        World::with(Options { own_broker: true, shop: ACCOUNT, short_times: false, ..Options::default() })
            .await;
    assert_eq!(world.provider.rules("pushwoosh").expect("its rules").requests, Some(LIMIT));
    let receipts = Receipts::watch(&world).await;
    publish_backlog(&mut world, backlog_for(watched)).await;
    let start = start_workers(&mut world).await;

    let before = Load::of(&world).await;
    go_on_until(&world, start, watched / 2).await;
    let after = Load::of(&world).await;
    let others = publish_others(&mut world).await;
    let behind = waiting_in_lanes(&world).await;
    let mut figures = others_figures(&world, &receipts, &others, behind).await;
    go_on_until(&world, start, watched + Duration::from_millis(200)).await;

    let paced = counted_arrivals(&world);
    let load = load::machine_load();
    let workers = worker_metrics(&world).await;
    end_backlog(&mut world).await;
    figures.splice(0..0, limit_figures(&world, &paced, watched));
    figures.push(Figure::told(
        "store scripts run per counted request, before the mix",
        format!("{:.2}", after.scripts_per_request_since(&before)),
    ));
    figures.push(Figure::told("processes that wanted to run (1 min mean) on how many processors", load));
    figures.push(Figure::told("requests given up because their permit ran out", too_late(&workers)));
    if !all_hold(&figures) {
        eprintln!("{workers}");
    }
    let ends = world.receipts().len();
    // Asserts that each delivery has one end and its receipt, and that nothing is left anywhere.
    world.finish().await;
    figures.push(Figure::told("deliveries that ended, each exactly once", ends.to_string()));
    figures
}

/// What the limit lets through while it is watched, and what must still wait then.
fn backlog_for(watched: Duration) -> usize {
    let through = LIMIT as usize * watched.as_secs() as usize / WINDOW.as_secs() as usize;
    BEHIND + through + HIGH
}

async fn publish_backlog(world: &mut World, jobs: usize) {
    let ids: Vec<usize> = (0..jobs).collect();
    for chunk in ids.chunks(500) {
        let jobs: Vec<Value> = chunk.iter().map(|n| counted_job(&format!("backlog-{n}"), "normal")).collect();
        world.publish(&jobs).await;
    }
    eprintln!("{jobs} counted jobs published; starting two workers");
}

/// Starts both workers; returns when the first counted request arrived, once all of the backlog
/// waits in the lanes.
async fn start_workers(world: &mut World) -> Instant {
    world.launch_worker().await;
    world.launch_worker().await;
    support::world::eventually("the first request", || async { world.provider.summary().counts.counted > 0 })
        .await;
    let start = Instant::now();
    support::world::eventually("the job queue is empty", || async { waiting(world, "Jobs(").await == 0 })
        .await;
    eprintln!("all jobs were taken in {} after the first request", seconds(start.elapsed()));
    start
}

/// How many messages wait in the queues of a kind.
async fn waiting(world: &World, kind: &str) -> usize {
    let depths = world.depths().await;
    let of_kind = depths.iter().filter(|(name, _)| name.starts_with(kind));
    usize::try_from(of_kind.map(|(_, depth)| depth).sum::<u64>()).expect("a depth")
}

async fn waiting_in_lanes(world: &World) -> usize {
    waiting(world, "Lane(").await
}

async fn go_on_until(world: &World, start: Instant, until: Duration) {
    let end = start + until;
    while Instant::now() < end {
        sleep_until(end.min(Instant::now() + Duration::from_secs(10))).await;
        let counts = world.provider.summary().counts;
        let (at, counted, throttled) = (start.elapsed().as_secs(), counts.counted, counts.throttled);
        eprintln!("{at:>4} s: {counted} counted requests arrived, {throttled} refused for the limit");
    }
}

/// When counted requests arrived, since the simulator's start.
fn counted_arrivals(world: &World) -> Vec<Duration> {
    let ledger = world.provider.ledger();
    ledger.iter().filter(|entry| entry.counted).map(|entry| Duration::from_micros(entry.at_us)).collect()
}

/// `paced`: the arrivals while the backlog was watched. The bound is checked over the whole run.
fn limit_figures(world: &World, paced: &[Duration], watched: Duration) -> Vec<Figure> {
    let whole = counted_arrivals(world);
    let most = most_within(&whole, WINDOW);
    let throttled = world.provider.summary().counts.throttled;
    let first = paced[0];
    let used = count_between(paced, first + WINDOW, first + watched);
    let allowed = f64::from(LIMIT) * (watched - WINDOW).as_secs_f64() / WINDOW.as_secs_f64();
    let share = used as f64 / allowed;
    vec![
        Figure::bound(
            format!("most counted requests in any 60 s, of {} in all", whole.len()),
            most.to_string(),
            format!("<= {LIMIT}"),
            most <= LIMIT as usize,
        ),
        Figure::bound(
            "requests that the provider refused for the limit",
            throttled.to_string(),
            "0".to_owned(),
            throttled == 0,
        ),
        Figure::bound(
            format!("share of 600/min used, second 60 to {}", watched.as_secs()),
            format!("{:.2} %", share * 100.0),
            format!(">= {:.1} %", LEAST_SHARE * 100.0),
            share >= LEAST_SHARE,
        ),
        Figure::told("longest time without a counted request", seconds(longest_gap(paced))),
    ]
}

/// What was published on top of the backlog, each with the moment its wait is counted from.
struct Others {
    high: Vec<(String, Instant)>,
    exempt: Vec<(String, Instant)>,
    invalid: Vec<(String, Instant)>,
}

/// Publishes the urgent jobs at once, then the exempt and invalid ones evenly. The wait of the
/// latter begins at the moment they are due to be published, so that a slow broker is not excused.
async fn publish_others(world: &mut World) -> Others {
    let mut others = Others { high: Vec::new(), exempt: Vec::new(), invalid: Vec::new() };
    let begun = Instant::now();
    others.high.extend((0..HIGH).map(|n| (format!("high-{n}"), begun)));
    let jobs: Vec<Value> = others.high.iter().map(|(id, _)| counted_job(id, "high")).collect();
    world.publish(&jobs).await;

    let count = EXEMPT + INVALID;
    let begun = Instant::now();
    for n in 0..count {
        let due = begun + SPREAD.mul_f64(n as f64 / count as f64);
        sleep_until(due).await;
        let invalid = n % (count / INVALID) == 0;
        let id = format!("{}-{n}", if invalid { "invalid" } else { "exempt" });
        let job = if invalid { invalid_job(&id) } else { exempt_job(&id) };
        world.publish(&[job]).await;
        if invalid { &mut others.invalid } else { &mut others.exempt }.push((id, due));
    }
    others
}

/// A counted job that breaks the job format.
fn invalid_job(id: &str) -> Value {
    let mut job = counted_job(id, "normal");
    job["colour"] = json!("blue");
    job
}

async fn others_figures(world: &World, receipts: &Receipts, others: &Others, behind: usize) -> Vec<Figure> {
    let waits = receipts.waits(&others.high, "delivered").await;
    let mut figures = vec![Figure::bound(
        "deliveries waiting in the lanes behind the jobs below",
        behind.to_string(),
        format!(">= {BEHIND}"),
        behind >= BEHIND,
    )];
    // The limit's pace, with every tenth permit left to the lowest lane, and a second for the way.
    let pace = f64::from(LIMIT) / WINDOW.as_secs_f64();
    let longest = Duration::from_secs_f64(HIGH as f64 / pace * 10.0 / 9.0 + 1.0);
    figures.push(Figure::bound(
        format!("{HIGH} high jobs at once: publishing to receipt of the last"),
        seconds(percentile(&waits, 100)),
        format!("<= {}", seconds(longest)),
        percentile(&waits, 100) <= longest,
    ));
    figures.push(Figure::told(
        "  counted requests from the first to the last of them",
        requests_meanwhile(world).to_string(),
    ));
    for (kind, jobs, status) in
        [("exempt", &others.exempt, "delivered"), ("invalid", &others.invalid, "dead")]
    {
        figures.extend(prompt_figures(kind, &receipts.waits(jobs, status).await));
    }
    figures
}

fn prompt_figures(kind: &str, waits: &[Duration]) -> [Figure; 3] {
    let p99 = percentile(waits, 99);
    let bound = format!("<= {}", seconds(PROMPT));
    [
        Figure::told(
            format!("{} {kind} jobs over 10 s: publishing to receipt, median", waits.len()),
            seconds(percentile(waits, 50)),
        ),
        Figure::bound("  99th percentile", seconds(p99), bound, p99 <= PROMPT),
        Figure::told("  longest", seconds(percentile(waits, 100))),
    ]
}

/// How many counted requests arrived from the first urgent one to the last, those included.
fn requests_meanwhile(world: &World) -> usize {
    let ledger = world.provider.ledger();
    let counted: Vec<_> = ledger.iter().filter(|entry| entry.counted).collect();
    let urgent = |index: &usize| {
        counted[*index].deliveries.iter().any(|d| d.id.as_ref().is_some_and(|id| id.starts_with("high-")))
    };
    let first = (0..counted.len()).find(urgent).expect("an urgent request");
    let last = (0..counted.len()).rfind(urgent).expect("an urgent request");
    last - first + 1
}

/// What the store and the provider have done so far.
struct Load {
    scripts: u64,
    requests: u64,
}

impl Load {
    async fn of(world: &World) -> Self {
        let mut connection = world.redis.connection().await;
        let stats: String =
            ::redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.expect("INFO");
        let calls = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = calls.filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok());
        Self { scripts: calls.sum(), requests: world.provider.summary().counts.counted }
    }

    fn scripts_per_request_since(&self, before: &Self) -> f64 {
        (self.scripts - before.scripts) as f64 / (self.requests - before.requests) as f64
    }
}

/// What both workers tell of the time between a permit and its request.
async fn worker_metrics(world: &World) -> String {
    let mut lines = String::new();
    for worker in 0..world.workers.len() {
        let (_, text) = world.admin(worker, "/metrics").await;
        let of_permits = text.lines().filter(|line| {
            line.starts_with("paceline_slot_write_delay") || line.contains("result=\"too_late\"")
        });
        lines.extend(of_permits.map(|line| format!("worker {worker}: {line}\n")));
    }
    lines
}

fn too_late(metrics: &str) -> String {
    let counts = metrics.lines().filter(|line| line.contains("result=\"too_late\""));
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum::<u64>().to_string()
}

/// Lets requests carry 20 deliveries, so that the rest of the backlog ends within a minute.
async fn end_backlog(world: &mut World) {
    eprintln!("measured; draining the rest of the backlog with shared requests");
    while !world.workers.is_empty() {
        let (status, _) = world.drain_worker(0).await;
        assert!(status.success(), "a worker ended with {status}");
    }
    let file = world.config_file();
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let shared = text.replace("notifications_per_request = 1\n", "notifications_per_request = 20\n");
    assert_ne!(text, shared, "the configuration names it");
    std::fs::write(&file, shared).expect("the configuration is written");
    world.start_worker().await;
    world.start_worker().await;
    world.settle().await;
}
