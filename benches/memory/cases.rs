//! The cases: what is different from a usual world, and what happens in it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use paceline::simulator::faults::FaultPlan;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{Options, World, eventually};

/// One case.
pub struct Case {
    /// Names it in `PACELINE_MEASURE_CASES`.
    pub word: &'static str,
    /// Names it for people.
    pub what: &'static str,
    pub world: fn() -> BoxFuture<'static, World>,
    /// Publishes, starts the worker, lets it work.
    pub drive: for<'a> fn(&'a mut World) -> BoxFuture<'a, ()>,
}

pub const CASES: [Case; 9] = [
    Case { word: "idle", what: "idle", world: usual, drive: |world| idle(world).boxed() },
    Case {
        word: "short",
        what: "1,000 counted jobs waiting, 600 a minute",
        world: usual,
        drive: |world| counted(world, 1_000).boxed(),
    },
    Case {
        word: "long",
        what: "1,000,000 counted jobs waiting, 600 a minute",
        world: usual,
        drive: |world| counted(world, long()).boxed(),
    },
    Case {
        word: "bodies",
        what: "2,000 jobs of 1 MiB, half of them exempt",
        world: usual,
        drive: |world| bodies(world).boxed(),
    },
    Case {
        word: "hangs",
        what: "a provider that accepts and never answers, 5,000 exempt jobs",
        world: hanging,
        drive: |world| exempt(world).boxed(),
    },
    Case {
        word: "unheard",
        what: "receipts that nobody is bound to, 5,000 exempt jobs",
        world: usual,
        drive: |world| unheard(world).boxed(),
    },
    Case {
        word: "full",
        what: "receipts that a full queue refuses, 5,000 exempt jobs",
        world: usual,
        drive: |world| full(world).boxed(),
    },
    Case {
        word: "store",
        what: "a store that stands still, 5,000 exempt jobs",
        world: usual,
        drive: |world| store(world).boxed(),
    },
    Case {
        word: "blocked",
        what: "a broker that blocks publishers, 5,000 exempt jobs",
        world: usual,
        drive: |world| blocked(world).boxed(),
    },
];

/// How long a worker is watched where it works.
const WORKS: Duration = Duration::from_secs(60);
/// How long where it can't.
const STANDS: Duration = Duration::from_secs(45);

fn long() -> usize {
    std::env::var("PACELINE_MEASURE_BACKLOG").map_or(1_000_000, |text| text.parse().expect("a number"))
}

fn options() -> Options {
    let shop = "requests_per_minute = 600";
    Options { own_broker: true, shop, short_times: false, ..Options::default() }
}

fn usual() -> BoxFuture<'static, World> {
    World::with(options()).boxed()
}

fn hanging() -> BoxFuture<'static, World> {
    let mut options = options();
    options.simulator.faults = FaultPlan::parse(&["hang-after@1"]).expect("a fault plan");
    World::with(options).boxed()
}

async fn publish(world: &mut World, jobs: usize, job: impl Fn(usize) -> Value) {
    let ids: Vec<usize> = (0..jobs).collect();
    for chunk in ids.chunks(5_000) {
        let jobs: Vec<Value> = chunk.iter().map(|n| job(*n)).collect();
        world.publish(&jobs).await;
    }
}

async fn idle(world: &mut World) {
    world.start_worker().await;
    sleep(Duration::from_secs(10)).await;
}

async fn counted(world: &mut World, jobs: usize) {
    publish(world, jobs, |n| counted_job(&format!("m-{n}"), "normal")).await;
    eprintln!("{jobs} jobs published");
    world.start_worker().await;
    sleep(WORKS).await;
}

async fn bodies(world: &mut World) {
    let text = "x".repeat(1_000_000);
    let large = |n: usize| {
        let mut job =
            if n % 2 == 0 { exempt_job(&format!("b-{n}")) } else { counted_job(&format!("b-{n}"), "normal") };
        job["payload"]["notifications"][0]["data"] = json!({ "text": text });
        job
    };
    let ids: Vec<usize> = (0..2_000).collect();
    for chunk in ids.chunks(20) {
        world.publish(&chunk.iter().map(|n| large(*n)).collect::<Vec<_>>()).await;
    }
    world.start_worker().await;
    sleep(WORKS).await;
    let counts = world.provider.summary().counts;
    eprintln!("{} accepted, {} of them counted", counts.accepted, counts.counted);
}

async fn exempt(world: &mut World) {
    publish(world, 5_000, |n| exempt_job(&format!("e-{n}"))).await;
    world.start_worker().await;
    sleep(STANDS).await;
}

async fn unheard(world: &mut World) {
    let channel = channel(world).await;
    let options = QueueDeleteOptions::default();
    let queue = format!("receipts-of-{}", world.prefix());
    channel.queue_delete(queue.into(), options).await.expect("the queue is deleted");
    exempt(world).await;
    assert_eq!(world.provider.summary().counts.accepted, 5_000, "all are sent, heard or not");
}

async fn full(world: &mut World) {
    let channel = channel(world).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let name = format!("full-{}", world.prefix());
    channel
        .queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments)
        .await
        .expect("a queue");
    world.bind_to_receipts(&channel, &name).await;
    exempt(world).await;
}

async fn store(world: &mut World) {
    publish(world, 5_000, |n| exempt_job(&format!("e-{n}"))).await;
    world.start_worker().await;
    eventually("it sends", || async { world.provider.summary().counts.accepted > 0 }).await;
    world.redis.freeze();
    sleep(STANDS).await;
    world.redis.thaw();
}

async fn blocked(world: &mut World) {
    publish(world, 5_000, |n| exempt_job(&format!("e-{n}"))).await;
    world.start_worker().await;
    eventually("it sends", || async { world.provider.summary().counts.accepted > 0 }).await;
    world.broker().block_publishers();
    sleep(STANDS).await;
}

async fn channel(world: &World) -> lapin::Channel {
    let properties = lapin::ConnectionProperties::default();
    let connection =
        lapin::Connection::connect(&world.broker().url(), properties).await.expect("a connection");
    connection.create_channel().await.expect("a channel")
}
