//! One file in the place of the servers, under faults.

use std::time::Duration;

use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::embedded::on_a_file;
use crate::support::world::{Options, World, eventually};

on_a_file![
    drain::a_worker_told_to_stop_under_load_ends_in_time_and_leaves_nothing_undone,
    outages::an_outage_of_the_provider_opens_the_circuit_and_uses_up_nobody,
    stalls::a_worker_that_stood_still_sends_nothing_with_a_stale_slot,
];

const JOBS: usize = 1_500;
const KILLS: usize = 50;

/// Each kill comes while messages are in hand: while some wait, and requests are under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_on_a_file_killed_fifty_times_under_load_loses_and_doubles_nothing() {
    let env = &[("PACELINE__WORKER__JOBS_PREFETCH", "24")];
    let shop = "requests_per_minute = 3000\nnotifications_per_request = 4";
    let mut options = Options { embedded: true, shop, env, ..Options::default() };
    options.simulator.faults.latency = "5ms..40ms".parse().expect("a span");
    let mut world = World::with(options).await;
    let kind = |n: usize| match n % 5 {
        0 => counted_job(&format!("k-{n}"), "normal"),
        _ => exempt_job(&format!("k-{n}")),
    };
    let jobs: Vec<Value> = (0..JOBS).map(kind).collect();
    world.publish(&jobs).await;
    for kill in 0..KILLS {
        let before = world.provider.summary().counts.requests;
        world.launch_worker().await;
        eventually("it works", || async { world.provider.summary().counts.requests > before + 3 }).await;
        // Spread over what a worker does next.
        tokio::time::sleep(Duration::from_millis(kill as u64 % 10)).await;
        world.collect().await;
        assert!(world.receipts().len() < JOBS, "kill {kill} comes too late to prove anything");
        world.kill_worker(0).await;
    }
    world.start_worker().await;
    world.settle().await;
    // Whoever was in hand again and again may be taken for what kills workers.
    let buried = world.receipts().iter().filter(|receipt| receipt["reason"] == "poison").count();
    assert_eq!(world.count("delivered") + buried, JOBS, "{}", world.logs());
    assert!(buried <= 5, "{buried} buried");
    world.finish().await;
}
