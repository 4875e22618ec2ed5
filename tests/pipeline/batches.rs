//! Several notifications in one job, several jobs in one request, status 210.

use serde_json::{Value, json};

use crate::support::jobs::{counted_job, notification};
use crate::support::world::{Options, World};

fn job_of_twenty(name: &str, faulty: usize) -> Value {
    let notifications: Vec<Value> = (0..20)
        .map(|n| {
            let content = if n == faulty { "faulty".to_owned() } else { format!("number {n}") };
            notification(&content, json!({"users": [format!("{name}-{n}")]}))
        })
        .collect();
    json!({
        "transactionId": name, "account": "shop", "operation": "createMessage",
        "payload": {"notifications": notifications},
    })
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_faulty_notification_at_each_position_harms_no_other() {
    let mut world = World::new().await;
    world.start_worker().await;
    let jobs: Vec<Value> = (0..20).map(|faulty| job_of_twenty(&format!("job-{faulty}"), faulty)).collect();
    world.publish(&jobs).await;
    world.settle().await;
    for faulty in 0..20 {
        for n in 0..20 {
            let id = format!("job-{faulty}#{n}");
            let receipts = world.receipts_of(&id);
            assert_eq!(receipts.len(), 1, "{id}");
            let expected = if n == faulty { json!("rejected") } else { Value::Null };
            assert_eq!(receipts[0]["reason"], expected, "{id}: {}", receipts[0]);
        }
    }
    assert_eq!(world.count("delivered"), 19 * 20);
    let summary = world.provider.summary();
    assert_eq!(summary.counts.accepted, 19 * 20, "{summary:?}");
    assert_eq!(summary.counts.suppressed, 0, "nobody was sent twice: {summary:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn waiting_notifications_share_requests() {
    let mut world = World::with(Options { shop: "requests_per_minute = 600", ..Options::default() }).await;
    let jobs: Vec<Value> = (0..400).map(|n| counted_job(&format!("b-{n}"), "normal")).collect();
    world.publish(&jobs).await;
    world.start_worker().await;
    world.settle().await;
    let requests = world.provider.ledger().into_iter().filter(|entry| entry.counted).count();
    assert!((20..=60).contains(&requests), "400 notifications took {requests} requests");
    world.finish().await;
}
