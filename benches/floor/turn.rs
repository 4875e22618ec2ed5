//! One program's turn.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::jobs::{USUAL, job, preload, until_settled};
use crate::program::{FLOOR, Floor};
use crate::run::{memory, processor_time};
use crate::sink::{Sink, rate};
use crate::support::jobs::properties;
use crate::support::world::{Options, World};

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    /// Jobs that are preloaded.
    pub jobs: usize,
    /// How long the gentle load lasts.
    pub gentle: Duration,
}

/// Who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Floor(Floor),
    Worker,
}

impl Program {
    /// All of them, in the order of their turns.
    pub const ALL: [Self; 4] =
        [Self::Floor(Floor::A), Self::Floor(Floor::B), Self::Floor(Floor::C), Self::Worker];

    /// Whether it has a turn where floors of these letters are asked for: what is compared always has.
    pub fn takes_part(self, floors: &str) -> bool {
        match self {
            Self::Floor(Floor::C) | Self::Worker => true,
            Self::Floor(floor) => floors.contains(floor.letter()),
        }
    }

    /// What the tables call it.
    pub fn name(self) -> String {
        match self {
            Self::Floor(floor) => format!("floor ({})", floor.letter()),
            Self::Worker => "paceline worker".to_owned(),
        }
    }
}

/// What its turn came to.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Jobs that arrived a second, of the middle eight tenths.
    pub rate: f64,
    /// Processor seconds for each 1,000 jobs.
    pub processor: Processor,
    /// Most resident memory, in KiB.
    pub peak_kib: u64,
    /// From publishing to arrival at the gentle load, in order.
    pub waits: Vec<Duration>,
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy)]
pub struct Processor {
    pub program: f64,
    pub broker: f64,
    pub store: f64,
}

/// Jobs a second of the gentle load.
const GENTLE_RATE: u64 = 200;

const PATIENCE: Duration = Duration::from_secs(300);

/// The program's process: a worker's is the world's to end.
enum Running {
    Floor(Child),
    Worker,
}

/// Starts everything, gives the program its turn, and ends everything.
pub async fn run(program: Program, plan: Plan) -> Seen {
    let sink = Sink::start().await;
    // What the environment may say for the whole suite is not asked: this is about servers.
    let mut world = World::with(Options { embedded: false, short_times: false, ..Options::default() }).await;
    world.set_environment(vec![("PACELINE__ACCOUNTS__SHOP__BASE_URL", sink.url.clone().leak())]);
    preload(&mut world, "load", plan.jobs, USUAL).await;
    let servers = [broker_process(&world), store_process(&world).await];
    let before = servers.clone().map(|server| processor_time(&server));
    let (running, process) = start(program, &mut world, &sink).await;
    sink.wait_for(plan.jobs).await;
    until_settled(&world).await;
    let used = |server: usize| (processor_time(&servers[server]) - before[server]).as_secs_f64();
    let thousands = plan.jobs as f64 / 1_000.0;
    let processor = Processor {
        program: processor_time(&process).as_secs_f64() / thousands,
        broker: used(0) / thousands,
        store: used(1) / thousands,
    };
    let rate = rate(&sink.arrivals());
    let waits = gentle(&mut world, &sink, plan.gentle).await;
    let peak_kib = memory(&process).expect("it runs");
    end(running, world).await;
    Seen { rate, processor, peak_kib, waits }
}

async fn start(program: Program, world: &mut World, sink: &Sink) -> (Running, String) {
    match program {
        Program::Worker => {
            let worker = world.launch_worker().await;
            (Running::Worker, format!("/proc/{}", world.workers[worker].pid()))
        }
        Program::Floor(floor) => {
            let child = floor_process(floor, world, sink);
            let process = format!("/proc/{}", child.id().expect("it runs"));
            (Running::Floor(child), process)
        }
    }
}

fn floor_process(floor: Floor, world: &World, sink: &Sink) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .env(FLOOR, floor.letter())
        .env("FLOOR_BROKER", world.broker().url())
        .env("FLOOR_STORE", world.redis.url())
        .env("FLOOR_PROVIDER", &sink.url)
        .env("FLOOR_QUEUE", format!("{}.jobs.shop", world.prefix()))
        .env("FLOOR_RECEIPTS", format!("{}.receipts", world.prefix()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a floor starts")
}

/// Publishes at the gentle rate; the waits, in order.
async fn gentle(world: &mut World, sink: &Sink, time: Duration) -> Vec<Duration> {
    let jobs = GENTLE_RATE * time.as_secs();
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(GENTLE_RATE).expect("few"));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut offers = Vec::new();
    let mut published = Vec::new();
    for n in 0..jobs {
        ticks.tick().await;
        let id = format!("gentle-{n}");
        let body = job(&id, USUAL).to_string().into_bytes();
        let producer = world.producer();
        published.push((id, Instant::now()));
        offers.push(tokio::spawn(async move { producer.offer("shop".to_owned(), body, properties()).await }));
    }
    for offer in offers {
        offer.await.expect("it does not panic").expect("it is confirmed");
    }
    world.expect_more(published.len());
    waits(sink, &published).await
}

async fn waits(sink: &Sink, published: &[(String, Instant)]) -> Vec<Duration> {
    let deadline = Instant::now() + PATIENCE;
    while published.iter().any(|(id, _)| sink.arrival(id).is_none()) {
        assert!(Instant::now() < deadline, "jobs of the gentle load do not arrive");
        sleep(Duration::from_millis(20)).await;
    }
    let wait = |(id, at): &(String, Instant)| sink.arrival(id).expect("it came").duration_since(*at);
    let mut waits: Vec<Duration> = published.iter().map(wait).collect();
    waits.sort_unstable();
    waits
}

/// A worker's world asserts that all was delivered, once; a floor has no receipts of that form.
async fn end(running: Running, world: World) {
    match running {
        Running::Worker => world.finish().await,
        Running::Floor(mut child) => {
            child.kill().await.expect("it is killed");
            world.abandon().await;
        }
    }
}

fn broker_process(world: &World) -> String {
    let told = world.broker().ctl(&["eval", "os:getpid()."]);
    format!("/proc/{}", told.trim().trim_matches('"'))
}

async fn store_process(world: &World) -> String {
    let mut connection = world.redis.connection().await;
    let told: String =
        redis::cmd("INFO").arg("server").query_async(&mut connection).await.expect("its answer");
    let id = told.lines().find_map(|line| line.strip_prefix("process_id:")).expect("its process");
    format!("/proc/{}", id.trim())
}
