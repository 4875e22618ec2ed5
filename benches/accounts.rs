//! What accounts cost while nothing happens: `cargo bench --bench accounts`.
//!
//! Each case is a world of its own: RabbitMQ, Redis, and one worker process (release build, defaults)
//! with so many accounts of the one provider that has the fewest queues for each. Told are the objects at
//! the servers, the time from the worker's start until it consumes all queues that it made, and then,
//! for half a minute without any job, the worker's processor time, its most resident memory (`VmHWM`)
//! and the broker's own count of its memory.
//!
//! Exit status 1 when a figure falls short. `PACELINE_MEASURE_ACCOUNTS=1,100` measures others.

use std::process::ExitCode;
use std::time::Duration;

use figures::{Figure, all_hold, table};
use load::machine_load;
use support::world::{Options, World};
use tokio::time::{Instant, sleep};

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

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

const USUAL: [usize; 4] = [1, 20, 100, 200];

/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(30);

/// What a worker may take, in MiB.
const MOST_MIB: f64 = 64.0;

/// Up to so many accounts an idle worker takes less than a hundredth of a processor.
const QUIET_ACCOUNTS: usize = 100;
const MOST_PROCESSOR: f64 = 0.01;

/// A broker makes a few queues in a second; longer than this it does not go on.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was seen of one worker.
struct Seen {
    accounts: usize,
    ready_in: Duration,
    queues: usize,
    connections: usize,
    channels: usize,
    store_clients: String,
    broker_mib: f64,
    peak_mib: f64,
    processor: f64,
}

fn main() -> ExitCode {
    let given = std::env::var("PACELINE_MEASURE_ACCOUNTS").ok();
    let accounts: Vec<usize> = given.map_or(USUAL.to_vec(), |text| {
        text.split(',').map(|number| number.trim().parse().expect("numbers, comma separated")).collect()
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut figures = Vec::new();
    for number in accounts {
        let seen = runtime.block_on(measure(number));
        figures.extend(figures_of(&seen));
        eprintln!("{number} accounts: {:.1} MiB", seen.peak_mib);
    }
    let load = machine_load();
    figures.push(Figure::told("processes that wanted to run (1 min mean) on how many processors", load));
    println!("\n{}", table(&figures));
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A world with so many accounts; the usual two are among them.
async fn world(accounts: usize) -> World {
    let account = |number: usize| {
        format!(
            "[accounts.more{number}]\nprovider = \"moengage\"\nbase_url = \"{{provider}}\"\n\
             workspace_id = \"MORE{number}\"\npush_api_key = {{ env = \"MOENGAGE_PUSH_KEY\" }}\n"
        )
    };
    let more: String = (2..accounts.max(2)).map(account).collect();
    let options = Options { own_broker: true, short_times: false, more: more.leak(), ..Options::default() };
    World::with(options).await
}

async fn measure(accounts: usize) -> Seen {
    let mut world = world(accounts).await;
    if accounts == 1 {
        let text = std::fs::read_to_string(world.config_file()).expect("the configuration");
        let (shop, _) = text.split_once("[accounts.news]").expect("an account");
        std::fs::write(world.config_file(), shop).expect("the configuration is written");
    }
    let begun = Instant::now();
    world.launch_worker().await;
    while !consumes_all(&world) {
        assert!(begun.elapsed() < PATIENCE, "not all queues are consumed\n{}", world.logs());
        sleep(Duration::from_millis(200)).await;
    }
    let ready_in = begun.elapsed();
    let proc = format!("/proc/{}", world.workers[0].pid());
    let before = run::processor_time(&proc);
    sleep(IDLE).await;
    let processor = (run::processor_time(&proc) - before).as_secs_f64() / IDLE.as_secs_f64();
    let count = |what: &[&str]| lines(&world, what).len();
    let seen = Seen {
        accounts,
        ready_in,
        queues: queues(&world).len(),
        connections: count(&["list_connections", "pid", "--no-table-headers"]),
        channels: count(&["list_channels", "pid", "--no-table-headers"]),
        store_clients: store_clients(&world).await,
        broker_mib: bytes(&world) / 1024.0 / 1024.0,
        peak_mib: run::memory(&proc).expect("the worker runs") as f64 / 1024.0,
        processor,
    };
    world.abandon().await;
    seen
}

fn lines(world: &World, command: &[&str]) -> Vec<String> {
    world.broker().ctl(command).lines().map(str::to_owned).collect()
}

/// The worker's queues, each with its consumers; the one in which the world collects receipts is none.
fn queues(world: &World) -> Vec<(String, usize)> {
    let all = lines(world, &["list_queues", "name", "consumers", "--no-table-headers"]);
    let told = all.iter().filter_map(|line| line.split_once('\t'));
    let own = told.filter(|(name, _)| name.starts_with(&format!("{}.", world.prefix())));
    // The producer made queues for both of the world's accounts, and one of them may be taken away.
    let configured = std::fs::read_to_string(world.config_file()).expect("the configuration");
    let both = configured.contains("[accounts.news]");
    let own = own.filter(|(name, _)| both || !name.contains(".news"));
    // A queue whose process is just being made has no number of consumers yet.
    own.map(|(name, consumers)| (name.to_owned(), consumers.trim().parse().unwrap_or(0))).collect()
}

/// Whether each queue that workers take from has its consumer: those of the accounts, and where the
/// ladder ends.
fn consumes_all(world: &World) -> bool {
    let taken_from = |name: &str| {
        [".jobs.", ".retry.", ".high.", ".normal.", ".low.", ".due"].iter().any(|part| name.contains(part))
    };
    let queues: Vec<_> = queues(world).into_iter().filter(|(name, _)| taken_from(name)).collect();
    let due = queues.iter().any(|(name, _)| name.contains(".due"));
    due && queues.iter().all(|(_, consumers)| *consumers > 0)
}

fn bytes(world: &World) -> f64 {
    world.broker().ctl(&["eval", "erlang:memory(total)."]).trim().parse().expect("a number of bytes")
}

async fn store_clients(world: &World) -> String {
    let mut connection = world.redis.connection().await;
    let told: String =
        redis::cmd("INFO").arg("clients").query_async(&mut connection).await.expect("an answer");
    let clients = told.lines().find_map(|line| line.strip_prefix("connected_clients:")).unwrap_or("?");
    format!("{clients}, one of them the measurement's")
}

fn figures_of(seen: &Seen) -> Vec<Figure> {
    let Seen { accounts, .. } = seen;
    let told = |what: &str, measured: String| Figure::told(format!("{accounts} accounts: {what}"), measured);
    let memory = format!("{:.1} MiB", seen.peak_mib);
    let processor = format!("{:.2} %", seen.processor * 100.0);
    let quiet = format!("{accounts} accounts: processor time of the idle worker");
    vec![
        told("queues", seen.queues.to_string()),
        told("connections at the broker, channels", format!("{}, {}", seen.connections, seen.channels)),
        told("connections at the store", seen.store_clients.clone()),
        told(
            "from the worker's start until it consumes all",
            format!("{:.1} s", seen.ready_in.as_secs_f64()),
        ),
        told("memory of the broker, by its own count", format!("{:.0} MiB", seen.broker_mib)),
        Figure::bound(
            format!("{accounts} accounts: most memory of the worker"),
            memory,
            format!("<= {MOST_MIB:.0} MiB"),
            seen.peak_mib <= MOST_MIB,
        ),
        if *accounts <= QUIET_ACCOUNTS {
            Figure::bound(quiet, processor, "< 1 %".to_owned(), seen.processor < MOST_PROCESSOR)
        } else {
            Figure::told(quiet, processor)
        },
    ]
}
