//! The usual ways of a job.

use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use paceline::ports::Properties;
use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job, notification, properties, user_job};
use crate::support::world::{Options, World};

#[tokio::test(flavor = "multi_thread")]
pub async fn jobs_of_both_providers_are_delivered_and_told() {
    let mut world = World::new().await;
    world.start_worker().await;
    let several = json!({
        "transactionId": "several", "account": "shop", "operation": "createMessage", "meta": {"order": 7},
        "payload": {"notifications": [
            notification("to a device", json!({"devices": ["a"]})),
            notification("to a user", json!({"users": ["u"], "transactionId": "own-1"})),
            notification("to a segment", json!({"filter": "VIP"})),
            notification("by tags", json!({"conditions": [["Age", "GTE", 18]]})),
        ]},
    });
    let mut all_users = user_job("all");
    all_users["payload"]["targetAudience"] = "All Users".into();
    all_users["payload"].as_object_mut().unwrap().remove("targetUserAttributes");
    let mut segment = user_job("segment");
    segment["payload"]["targetAudience"] = "Custom Segment".into();
    segment["payload"]["customSegmentName"] = "VIP".into();
    segment["payload"].as_object_mut().unwrap().remove("targetUserAttributes");
    world
        .publish(&[
            exempt_job("e-1"),
            counted_job("c-1", "high"),
            several,
            user_job("u-1"),
            all_users,
            segment,
        ])
        .await;
    world.settle().await;

    assert_eq!(world.count("delivered"), 9, "{:?}", world.receipts());
    for id in ["e-1", "c-1", "several#0", "own-1", "several#2", "several#3", "u-1", "all", "segment"] {
        let receipts = world.receipts_of(id);
        assert_eq!(receipts.len(), 1, "{id}");
        assert_eq!(receipts[0]["attempts"], 1, "{id}");
        assert!(receipts[0]["messageCode"].is_string(), "{id}: {}", receipts[0]);
    }
    let own = world.receipts_of("own-1")[0];
    assert_eq!((&own["jobId"], &own["meta"]), (&json!("several"), &json!({"order": 7})));
    let summary = world.provider.summary();
    let counted: Vec<_> = world.provider.ledger().into_iter().filter(|entry| entry.counted).collect();
    assert!(summary.counts.throttled == 0 && counted.len() < 8, "{summary:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn metrics_and_health_tell_what_happened() {
    let mut world = World::new().await;
    let worker = world.start_worker().await;
    world.publish(&[exempt_job("e-1"), counted_job("c-1", "low")]).await;
    world.settle().await;
    assert_eq!(world.admin(worker, "/healthz").await.0, 200);
    let (status, text) = world.admin(worker, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "paceline_jobs_received_total{account=\"shop\"} 2",
        "paceline_deliveries_settled_total{account=\"shop\",operation=\"createMessage\",status=\"delivered\",reason=\"\"} 2",
        "paceline_provider_requests_total{account=\"shop\",operation=\"createMessage\",class=\"counted\",result=\"accepted\"} 1",
        "paceline_provider_requests_total{account=\"shop\",operation=\"createMessage\",class=\"exempt\",result=\"accepted\"} 1",
        "paceline_delivery_age_seconds_count{account=\"shop\",priority=\"low\"} 1",
        "paceline_permit_wait_seconds_count{account=\"shop\"} 1",
        "paceline_queue_depth{account=\"shop\",queue=\"jobs\"} 0",
        "paceline_dead_letters 0",
        "paceline_dependency_up{name=\"broker\"} 1",
        "paceline_dependency_up{name=\"store\"} 1",
        "paceline_circuit_state{account=\"shop\"} 0",
    ] {
        assert!(text.contains(line), "no {line} in:\n{text}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_queue_gets_the_receipts_too_and_a_missing_one_harms_nobody() {
    let mut world = World::new().await;
    world.start_worker().await;
    let connection =
        lapin::Connection::connect(&world.broker().url(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("answers-of-{}", world.prefix());
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::default(), FieldTable::default())
        .await
        .unwrap();
    let reply = |queue: &str| Properties {
        reply_to: Some(queue.into()),
        correlation_id: Some("c-7".into()),
        ..properties()
    };
    let body = |id: &str| counted_job(id, "normal").to_string().into_bytes();
    world.publish_raw("shop", &body("with"), reply(&queue), 1).await.unwrap();
    world.publish_raw("shop", &body("gone"), reply("no-such-queue"), 1).await.unwrap();
    let ours = format!("{}.dead", world.prefix());
    world.publish_raw("shop", &body("ours"), reply(&ours), 1).await.unwrap();
    world.settle().await;
    let got =
        channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    let receipt: Value = serde_json::from_slice(&got.data).unwrap();
    assert_eq!((&receipt["transactionId"], &receipt["status"]), (&json!("with"), &json!("delivered")));
    assert_eq!(got.properties.correlation_id().as_ref().unwrap().as_str(), "c-7");
    assert_eq!(world.receipts_of("gone")[0]["status"], "delivered");
    assert_eq!(world.receipts_of("ours")[0]["reason"], "invalid");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_ceiling_spreads_exempt_requests_over_time() {
    let env = &[("PACELINE__WORKER__EXEMPT_PER_SECOND", "20")];
    let mut world = World::with(Options { env, ..Options::default() }).await;
    world.start_worker().await;
    let jobs: Vec<_> = (0..41).map(|n| exempt_job(&format!("c-{n}"))).collect();
    world.publish(&jobs).await;
    world.settle().await;
    let times: Vec<u64> = world.provider.ledger().iter().map(|entry| entry.at_us).collect();
    let span = Duration::from_micros(times[times.len() - 1] - times[0]);
    assert!(span >= Duration::from_millis(1_900), "41 requests within {span:?}");
    world.finish().await;
}
