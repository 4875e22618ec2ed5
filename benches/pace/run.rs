//! One run: a backlog, workers, perhaps faults; and what was seen.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::load::machine_load;
use crate::support::jobs::{counted_job, user_job};
use crate::support::world::{Options, World, eventually, get};

/// What is run.
#[derive(Clone, Copy)]
pub struct Plan {
    pub workers: usize,
    pub faults: bool,
    pub watched: Duration,
}

/// An account that is measured.
pub struct Measured {
    pub account: &'static str,
    pub provider: &'static str,
    /// Requests in any minute.
    pub limit: u32,
    job: fn(&str, &str) -> Value,
}

pub const ACCOUNTS: [Measured; 2] = [
    Measured { account: "shop", provider: "pushwoosh", limit: 600, job: counted_job },
    Measured { account: "news", provider: "moengage", limit: 10_000, job: news_job },
];

/// What was seen of a run.
pub struct Outcome {
    pub plan: Plan,
    /// When the watched time began, since the simulator's start.
    pub from: Duration,
    /// One for each of [`ACCOUNTS`].
    pub seen: Vec<Seen>,
    /// What each worker process told at the beginning and at the end of its time under watch; with
    /// faults only what could be had.
    pub told: Vec<(String, String)>,
    pub throttled: u64,
    pub accepted_twice: usize,
    pub killed: usize,
    pub ends: usize,
    pub load: String,
}

/// What arrived for an account.
pub struct Seen {
    /// Counted requests of the whole run, the drain included, in order.
    pub counted: Vec<Duration>,
    /// From the beginning of publishing to arrival, of each urgent job, in order.
    pub urgent: Vec<Duration>,
}

/// How often an urgent job comes, and a worker is killed.
const URGENT_EVERY: Duration = Duration::from_millis(500);
const KILL_EVERY: Duration = Duration::from_secs(20);
/// The backlog outlasts the watched time by this and by the time in which it gets into the lanes.
const BEYOND: Duration = Duration::from_secs(35);
/// How long the rest may take after the watched time: what killed workers held is sent when their
/// leases have run out.
const DRAIN: Duration = Duration::from_secs(400);
/// About how many deliveries a worker holds, of both accounts.
const IN_HAND: usize = 400;

const SHOP: &str = "requests_per_minute = 600\nnotifications_per_request = 1";
const NEWS: &str = "requests_per_minute = 10000";

/// A job to one user of MoEngage, urgent or not.
fn news_job(id: &str, priority: &str) -> Value {
    let mut job = user_job(id);
    job["priority"] = json!(priority);
    job
}

/// Runs it to its end; asserts that every delivery ended exactly once.
pub async fn run(plan: Plan) -> Outcome {
    let options =
        Options { own_broker: true, shop: SHOP, news: NEWS, short_times: false, ..Options::default() };
    let mut world = World::with(options).await;
    let mut published = publish_backlog(&mut world, plan).await;
    for _ in 0..plan.workers {
        world.launch_worker().await;
    }
    wait_for_lanes(&world).await;
    let mut watch = Watch::begin(&world).await;
    watch.go_on(&mut world, plan).await;
    let told = watch.told(&world).await;
    let load = machine_load();
    published += watch.urgent.iter().map(Vec::len).sum::<usize>();
    eprintln!("watched; draining");
    world.wait_for_ends_within(published, DRAIN).await;
    let summary = world.provider.summary();
    let seen = ACCOUNTS.iter().zip(&watch.urgent).map(|(of, urgent)| seen(&world, of, urgent)).collect();
    let outcome = Outcome {
        plan,
        from: watch.from,
        seen,
        told,
        throttled: summary.counts.throttled,
        accepted_twice: summary.accepted_twice.len(),
        killed: watch.killed,
        ends: world.receipts().len(),
        load,
    };
    world.finish().await;
    outcome
}

async fn publish_backlog(world: &mut World, plan: Plan) -> usize {
    let minutes = (plan.watched + BEYOND).as_secs_f64() / 60.0;
    let mut jobs = 0;
    for of in &ACCOUNTS {
        let count = (f64::from(of.limit) * minutes) as usize;
        let ids: Vec<usize> = (0..count).collect();
        for chunk in ids.chunks(500) {
            let of_chunk: Vec<Value> =
                chunk.iter().map(|n| (of.job)(&format!("{}-{n}", of.account), "normal")).collect();
            world.publish(&of_chunk).await;
        }
        jobs += count;
    }
    eprintln!("{jobs} jobs published; starting {} workers", plan.workers);
    jobs
}

/// Waits until requests arrive and all of the backlog has gone into the lanes.
async fn wait_for_lanes(world: &World) {
    eventually("a request for each account", || async {
        let accounts = world.provider.summary().accounts;
        accounts.iter().filter(|account| account.counts.counted > 0).count() == ACCOUNTS.len()
    })
    .await;
    eventually("the job queues are empty", || async {
        let depths = world.depths().await;
        depths.iter().filter(|(name, _)| name.starts_with("Jobs(")).all(|(_, depth)| *depth == 0)
    })
    .await;
}

fn seen(world: &World, of: &Measured, urgent: &[(String, Duration)]) -> Seen {
    let mut entries = world.provider.ledger();
    entries.retain(|entry| entry.counted && entry.provider.as_deref() == Some(of.provider));
    let at = |us| Duration::from_micros(us);
    let wait = |(id, begun): &(String, Duration)| {
        let carries = |entry: &&paceline::simulator::Entry| {
            entry
                .deliveries
                .iter()
                .any(|delivery| delivery.id.as_ref().is_some_and(|found| found.ends_with(id)))
        };
        // One that ended without a request has no wait: a killed worker's, for instance.
        let first = entries.iter().find(carries)?;
        Some(at(first.at_us).saturating_sub(*begun))
    };
    let mut waits: Vec<Duration> = urgent.iter().filter_map(wait).collect();
    waits.sort();
    Seen { counted: entries.iter().map(|entry| at(entry.at_us)).collect(), urgent: waits }
}

/// The time under watch.
struct Watch {
    begun: Instant,
    from: Duration,
    /// For each account: the urgent jobs, and when their publishing began.
    urgent: Vec<Vec<(String, Duration)>>,
    /// What each running worker told when its time began.
    first: Vec<String>,
    /// What became of those that were killed.
    ended: Vec<(String, String)>,
    killed: usize,
}

impl Watch {
    async fn begin(world: &World) -> Self {
        let mut first = Vec::new();
        for worker in 0..world.workers.len() {
            first.push(metrics_of(world, worker).await.expect("a worker's metrics"));
        }
        let urgent = ACCOUNTS.iter().map(|_| Vec::new()).collect();
        let (begun, from) = (Instant::now(), world.provider.now());
        Self { begun, from, urgent, first, ended: Vec::new(), killed: 0 }
    }

    /// Publishes urgent jobs, and brings on the faults, until the time is over.
    async fn go_on(&mut self, world: &mut World, plan: Plan) {
        let (mut next_kill, mut flush) = (KILL_EVERY, Some(plan.watched / 2));
        let ticks = u32::try_from(plan.watched.as_millis() / URGENT_EVERY.as_millis()).expect("few");
        for tick in 0..ticks {
            let at = URGENT_EVERY * tick;
            sleep_until(self.begun + at).await;
            if tick % 40 == 0 {
                eprintln!(
                    "{:>4} s: {} requests arrived",
                    at.as_secs(),
                    world.provider.summary().counts.counted
                );
            }
            self.publish_urgent(world, tick).await;
            if plan.faults && at >= next_kill {
                self.kill_one(world).await;
                next_kill += KILL_EVERY;
            }
            if plan.faults && flush.is_some_and(|due| at >= due) {
                flush = None;
                lose_the_store(world).await;
            }
        }
        sleep_until(self.begun + plan.watched).await;
    }

    async fn publish_urgent(&mut self, world: &mut World, tick: u32) {
        for (of, published) in ACCOUNTS.iter().zip(&mut self.urgent) {
            let id = format!("{}-urgent-{tick}", of.account);
            published.push((id.clone(), world.provider.now()));
            world.publish(&[(of.job)(&id, "high")]).await;
        }
    }

    /// The one that runs longest; what it told last is kept.
    async fn kill_one(&mut self, world: &mut World) {
        let first = self.first.remove(0);
        if let Some(last) = metrics_of(world, 0).await {
            self.ended.push((first, last));
        }
        world.kill_worker(0).await;
        world.launch_worker().await;
        self.first.push(String::new());
        self.killed += 1;
    }

    async fn told(&mut self, world: &World) -> Vec<(String, String)> {
        let mut told = std::mem::take(&mut self.ended);
        for (worker, first) in self.first.iter().enumerate() {
            if let Some(last) = metrics_of(world, worker).await {
                told.push((first.clone(), last));
            }
        }
        told
    }
}

/// What a worker tells; `None` when it does not answer.
async fn metrics_of(world: &World, worker: usize) -> Option<String> {
    let url = format!("http://{}/metrics", world.workers[worker].admin);
    get(&url).await.map(|(_, text)| text)
}

async fn lose_the_store(world: &mut World) {
    let mut connection = world.redis.connection().await;
    let () = ::redis::cmd("FLUSHALL").query_async(&mut connection).await.expect("FLUSHALL");
    let under_way = world.workers.len() * IN_HAND;
    world.may_be_taken_twice(under_way);
    eprintln!("the store lost its data");
}
