//! Processes that stand still and go on.

use std::time::Duration;

use serde_json::Value;

use crate::support::jobs::counted_job;
use crate::support::world::{Options, World, eventually, signal};

/// Slots are 1.02 s apart, and never two at once.
const SLOW: &str = "requests_per_minute = 60\nnotifications_per_request = 1";

/// Nearer to each other two requests on slots of their own never come: a slot may be used for 0.2 s,
/// which leaves 0.3 s for this machine's own delays.
const LEAST_APART: Duration = Duration::from_millis(500);

const STOPPED_FOR: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
pub async fn a_worker_that_stood_still_sends_nothing_with_a_stale_slot() {
    let mut world = World::with(Options { shop: SLOW, ..Options::default() }).await;
    let worker = world.start_worker().await;
    let jobs: Vec<Value> = (0..14).map(|n| counted_job(&format!("s-{n}"), "normal")).collect();
    world.publish(&jobs).await;
    // Under a backlog it holds slots at any time.
    eventually("it sends", || async { world.provider.summary().counts.counted >= 5 }).await;
    let pid = world.workers[worker].pid();
    signal(pid, "-STOP");
    tokio::time::sleep(STOPPED_FOR).await;
    let before = world.provider.summary().counts.counted;
    signal(pid, "-CONT");
    world.settle().await;
    let at: Vec<Duration> =
        world.provider.ledger().iter().map(|entry| Duration::from_micros(entry.at_us)).collect();
    let longest = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    assert!(
        longest >= STOPPED_FOR - Duration::from_secs(1) && before < 14,
        "it stood still in between: {at:?}"
    );
    let nearest = at.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or_default();
    assert!(nearest >= LEAST_APART, "{nearest:?} between two requests: {at:?}");
    world.finish().await;
}
