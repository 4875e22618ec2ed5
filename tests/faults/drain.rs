//! Stopping in good order.

use std::time::Duration;

use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{Options, World};

#[tokio::test(flavor = "multi_thread")]
pub async fn a_worker_told_to_stop_under_load_ends_in_time_and_leaves_nothing_undone() {
    let mut options = Options::default();
    options.simulator.faults.latency = "50ms..200ms".parse().expect("a span");
    let mut world = World::with(options).await;
    world.start_worker().await;
    let jobs: Vec<Value> =
        (0..600)
            .map(|n| {
                if n % 2 == 0 { exempt_job(&format!("s-{n}")) } else { counted_job(&format!("s-{n}"), "low") }
            })
            .collect();
    world.publish(&jobs).await;
    for round in 1..=3 {
        world.wait_for_ends(round * 100).await;
        let (status, took) = world.drain_worker(0).await;
        assert_eq!(status.code(), Some(0), "{}", world.logs());
        assert!(took < Duration::from_secs(15), "the drain took {took:?}");
        world.start_worker().await;
    }
    world.settle().await;
    assert_eq!(world.count("delivered"), 600);
    let counts = world.provider.summary().counts;
    assert_eq!((counts.accepted, counts.suppressed), (600, 0), "a drained worker leaves no request unknown");
    world.finish().await;
}
