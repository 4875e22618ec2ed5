//! Workers told to stop while something hangs.

use std::time::Duration;

use paceline::simulator::faults::FaultPlan;
use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{Options, World, eventually};

/// Above `worker.drain` of the short times, with what closing may take.
const DRAINED: Duration = Duration::from_secs(25);

/// Longer than a lease.
const LEASE: i64 = 20;

fn jobs(name: &str, count: usize) -> Vec<Value> {
    let job = |n: usize| {
        let id = format!("{name}-{n}");
        if n.is_multiple_of(2) { exempt_job(&id) } else { counted_job(&id, "normal") }
    };
    (0..count).map(job).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once_and_another_worker_goes_on() {
    let env = &[("PACELINE__WORKER__REQUEST_TIMEOUT", "8s"), ("PACELINE__WORKER__LEASE", "16s")];
    let shop = "requests_per_minute = 6000\nnotifications_per_request = 1";
    let mut world = World::with(Options { env, shop, ..Options::default() }).await;
    world.provider.set_faults(FaultPlan::parse(&["hang-after@1"]).expect("a fault plan"));
    let worker = world.start_worker().await;
    world.publish(&jobs("h", 6)).await;
    eventually("all hang", || async { world.provider.summary().counts.requests == 6 }).await;
    let (status, took) = world.end_worker_at_once(worker).await;
    assert_eq!(status.code(), Some(0), "{}", world.logs());
    // The requests would take longer, and so would the drain.
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    world.provider.set_faults(FaultPlan::default());
    for n in 0..6 {
        world.let_pass("shop", &format!("h-{n}"), LEASE).await;
    }
    world.start_worker().await;
    world.settle().await;
    let counts = world.provider.summary().counts;
    assert_eq!((world.count("delivered"), counts.accepted, counts.suppressed), (6, 6, 6));
    world.finish().await;
}

/// In work: a request whose answer comes after the store went, so that its end can't be written.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_stop_while_the_store_stands_still_ends_in_time() {
    let mut options = Options::default();
    options.simulator.faults.latency = "2s".parse().expect("a span");
    let mut world = World::with(options).await;
    let worker = world.start_worker().await;
    world.publish(&jobs("s", 20)).await;
    eventually("requests are under way", || async { world.provider.summary().counts.requests > 5 }).await;
    world.redis.freeze();
    let (status, took) = world.drain_worker(worker).await;
    assert_eq!(status.code(), Some(0), "{}", world.logs());
    assert!(took < DRAINED, "it took {took:?}");
    world.redis.thaw();
    for n in 0..20 {
        world.let_pass("shop", &format!("s-{n}"), LEASE).await;
    }
    world.start_worker().await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 20);
    assert_eq!(world.provider.summary().counts.accepted, 20);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_stop_while_the_broker_is_away_ends_in_time() {
    let mut options = Options { own_broker: true, ..Options::default() };
    options.simulator.faults.latency = "1s".parse().expect("a span");
    let mut world = World::with(options).await;
    let worker = world.start_worker().await;
    // A queue that was declared a moment before a crash may come back unable to take anything.
    world.publish(&jobs("a", 5)).await;
    world.settle().await;
    world.publish(&jobs("b", 20)).await;
    eventually("requests are under way", || async { world.provider.summary().counts.requests > 10 }).await;
    world.broker().kill9();
    let (status, took) = world.drain_worker(worker).await;
    assert_eq!(status.code(), Some(0), "{}", world.logs());
    assert!(took < DRAINED, "it took {took:?}");
    world.broker().start();
    world.start_worker().await;
    world.settle().await;
    let counts = world.provider.summary().counts;
    assert_eq!((world.count("delivered"), counts.accepted), (25, 25));
    world.finish().await;
}

/// Before it was ever connected.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_waits_for_its_store_ends_when_it_is_told_to() {
    let mut world = World::new().await;
    world.redis.freeze();
    let worker = world.launch_worker().await;
    let (status, took) = world.drain_worker(worker).await;
    assert_eq!(status.code(), Some(0), "{}", world.logs());
    assert!(took < DRAINED, "it took {took:?}");
    world.redis.thaw();
    world.finish().await;
}
