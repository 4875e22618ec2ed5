//! Workers, broker and store die and come back.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::load::{self, assert_ends, mixed};
use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{Options, World};

fn pushes(from: usize, to: usize) -> Vec<Value> {
    (from..to)
        .map(|n| match n % 3 {
            0 => counted_job(&format!("f-{n}"), "normal"),
            1 => counted_job(&format!("f-{n}"), "high"),
            _ => exempt_job(&format!("f-{n}")),
        })
        .collect()
}

fn slow() -> Options {
    // So slow that every fault comes while there is much left to do.
    let shop = "requests_per_minute = 3000\nnotifications_per_request = 2";
    let mut options = Options { own_broker: true, shop, ..Options::default() };
    options.simulator.faults.latency = "20ms..120ms".parse().expect("a span");
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_under_load_loses_and_doubles_nothing() {
    let mut world = World::with(slow()).await;
    world.start_worker().await;
    world.start_worker().await;
    world.publish(&pushes(0, 900)).await;
    for round in 1..=3 {
        world.wait_for_ends(round * 150).await;
        assert!(world.receipts().len() < 600, "the fault comes too late to prove anything");
        world.kill_worker(0).await;
        world.launch_worker().await;
    }
    world.settle().await;
    assert_eq!(world.count("delivered"), 900, "{}", world.logs());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_under_load_loses_and_doubles_nothing() {
    let mut world = World::with(slow()).await;
    world.start_worker().await;
    world.start_worker().await;
    world.publish(&pushes(0, 600)).await;
    for round in 1..=2 {
        world.wait_for_ends(round * 150).await;
        assert!(world.receipts().len() < 600, "the fault comes too late to prove anything");
        world.broker().restart();
    }
    world.publish(&pushes(600, 700)).await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 700, "{}", world.logs());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_killed_under_load_loses_and_doubles_nothing() {
    let mut world = World::with(slow()).await;
    let worker = world.start_worker().await;
    world.start_worker().await;
    world.publish(&pushes(0, 600)).await;
    for round in 1..=2 {
        world.wait_for_ends(round * 150).await;
        assert!(world.receipts().len() < 600, "the fault comes too late to prove anything");
        world.redis.kill();
        crate::support::world::eventually("the worker says that it is not ready", || async {
            world.admin(worker, "/readyz").await.0 == 503
        })
        .await;
        assert_eq!(
            world.admin(worker, "/healthz").await.0,
            200,
            "a store that is down is no reason to restart"
        );
        let sent = world.provider.summary().counts.requests;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // What was claimed before may still be under way; nothing new begins.
        let more = world.provider.summary().counts.requests - sent;
        assert!(more <= 5, "{more} requests without a store");
        world.redis.restart().await;
    }
    world.settle().await;
    assert_eq!(world.count("delivered"), 600, "{}", world.logs());
    world.finish().await;
}

/// How long workers are killed.
const SPELL: Duration = Duration::from_secs(15);

/// `PACELINE_CRASH_SEED` repeats the moments of a run.
fn seed() -> u64 {
    let given = std::env::var("PACELINE_CRASH_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("PACELINE_CRASH_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_at_any_moment_lose_and_double_nothing() {
    let mut chance = StdRng::seed_from_u64(seed());
    let mut world = World::with(load::slow()).await;
    for _ in 0..3 {
        world.start_worker().await;
    }
    let end = Instant::now() + SPELL;
    let mut kills = 0;
    while Instant::now() < end {
        world.publish(&mixed(world.published(), world.published() + 20)).await;
        sleep(Duration::from_millis(chance.random_range(0..1_200))).await;
        let victim = chance.random_range(0..3);
        world.kill_worker(victim).await;
        world.launch_worker().await;
        kills += 1;
    }
    println!("{kills} kills");
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}
