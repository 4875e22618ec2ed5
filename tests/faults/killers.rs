//! Messages that take real workers down again and again.

use std::time::Duration;

use paceline::simulator::faults::FaultPlan;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::World;

/// Longer than a lease.
const LEASE: i64 = 15;

/// More than a message can bring down before it is buried.
const MOST_KILLED: usize = 12;

fn guilty(operation: &str, payload: Value) -> Value {
    json!({"transactionId": "guilty", "account": "shop", "operation": operation, "payload": payload})
}

/// Kills the worker each time it sends the guilty delivery, as if that had crashed it, until a dead
/// letter says that nobody tries any more; meanwhile innocents come and go. Returns the reason.
async fn buried(operation: &str, payload: Value) -> String {
    let mut world = World::new().await;
    let rule = format!("pushwoosh/{operation}:hang-after@1");
    world.provider.set_faults(FaultPlan::parse(&[&rule]).expect("a fault plan"));
    let sent =
        |world: &World| world.provider.ledger().iter().filter(|entry| entry.operation == operation).count();
    world.publish(&[guilty(operation, payload)]).await;
    let mut killed = 0;
    let deadline = Instant::now() + Duration::from_secs(150);
    world.launch_worker().await;
    while world.dead_letters().await.is_empty() {
        assert!(Instant::now() < deadline, "{killed} killed\n{}", world.logs());
        if sent(&world) == killed {
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        let innocents = [exempt_job(&format!("e-{killed}")), counted_job(&format!("c-{killed}"), "normal")];
        world.publish(&innocents).await;
        world.kill_worker(0).await;
        world.let_pass("shop", "guilty", LEASE).await;
        killed += 1;
        assert!(killed <= MOST_KILLED, "it goes on killing\n{}", world.logs());
        world.launch_worker().await;
    }
    world.settle().await;
    assert!(killed >= 4, "{killed} killed: too early to be sure");
    assert_eq!(world.count("delivered"), 2 * killed, "the innocent are delivered: {:?}", world.receipts());
    let receipt = world.receipts_of("guilty")[0];
    let reason = receipt["reason"].as_str().expect("a reason").to_owned();
    assert_eq!(receipt["attempts"], killed, "{receipt}");
    world.finish().await;
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_pushes_nothing_and_takes_workers_down_ends_as_poison() {
    assert_eq!(buried("deleteMessage", json!({"message": "A1B2-1234ABCD-00000001"})).await, "poison");
}

/// Each of its crashes came after its request was taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_takes_workers_down_ends_as_uncertain() {
    let payload = json!({"content": "Hello", "devices_filter": "A(\"XXXXX-XXXXX\")"});
    assert_eq!(buried("createTargetedMessage", payload).await, "uncertain");
}
