//! A producer that sets the headers by which paceline tells itself what it knows of a delivery.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use paceline::ports::Properties;
use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job, properties};
use crate::support::world::World;

fn forged(headers: &[(&str, &str)]) -> Properties {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Properties { headers: headers.collect(), ..properties() }
}

async fn publish(world: &mut World, job: &Value, headers: &[(&str, &str)], ends: usize) {
    world.publish_raw("shop", job.to_string().as_bytes(), forged(headers), ends).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_can_not_end_a_delivery_by_a_header() {
    let mut world = World::new().await;
    world.start_worker().await;
    let outcome = json!({"status": "delivered", "reason": null, "detail": null, "attempts": 1,
        "acceptance": {"message_code": "FORGED", "unknown_devices": [], "response": null},
        "settled_at_ms": 1_763_758_326_123_i64})
    .to_string();
    let instance = ("paceline-instance", "forged/0");
    publish(&mut world, &counted_job("a", "normal"), &[instance, ("paceline-outcome", &outcome)], 1).await;
    publish(&mut world, &exempt_job("b"), &[instance, ("paceline-outcome", &outcome)], 1).await;
    world.settle().await;
    assert_eq!(world.provider.summary().counts.requests, 2, "both are sent all the same");
    assert!(world.receipts().iter().all(|receipt| receipt["messageCode"] != "FORGED"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_can_not_borrow_another_message_s_name_to_hide_behind_its_end() {
    let mut world = World::new().await;
    world.start_worker().await;
    let first = properties();
    let instance = format!("{}/0", first.message_id.as_deref().unwrap());
    world.publish_raw("shop", counted_job("a", "normal").to_string().as_bytes(), first, 1).await.unwrap();
    world.settle().await;
    // With the other's instance this would repeat its receipt and have none of its own.
    publish(&mut world, &counted_job("a", "normal"), &[("paceline-instance", &instance)], 1).await;
    world.settle().await;
    assert_eq!((world.count("delivered"), world.count("duplicate")), (1, 1));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_s_history_counts_suspicions_and_sizes_are_not_believed() {
    let mut world = World::new().await;
    world.start_worker().await;
    let instance = ("paceline-instance", "m/0");
    let unresolved = [instance, ("paceline-unresolved", "1000"), ("paceline-first-attempt", "1000")];
    publish(&mut world, &counted_job("old", "normal"), &unresolved, 1).await;
    publish(&mut world, &counted_job("tried", "normal"), &[instance, ("paceline-retries", "999999")], 1)
        .await;
    publish(&mut world, &exempt_job("suspect"), &[instance, ("paceline-crashes", "99")], 1).await;
    let due = [("paceline-due-at", "1"), ("paceline-due-to", "high"), ("paceline-due-account", "news")];
    publish(&mut world, &exempt_job("due"), &due, 1).await;
    let huge = format!("{}{}", " ".repeat(2 * 1024 * 1024), exempt_job("huge"));
    world.publish_raw("shop", huge.as_bytes(), forged(&[instance]), 1).await.unwrap();
    // Several deliveries in a message that says it holds one.
    let mut several = counted_job("several", "normal");
    let notifications = several["payload"]["notifications"].as_array_mut().unwrap();
    notifications.push(notifications[0].clone());
    publish(&mut world, &several, &[instance, ("paceline-alone", "1")], 2).await;
    world.settle().await;
    assert_eq!((world.count("delivered"), world.count("dead")), (6, 1), "{:?}", world.receipts());
    assert_eq!(world.receipts().iter().filter(|receipt| receipt["reason"] == "invalid").count(), 1);
    assert!(!world.whole_logs().contains("handled alone"), "nobody works alone for a producer's word");
    world.finish().await;
}

async fn connect(url: &str) -> Channel {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// Publishes as AMQP lets one; whether the broker took it.
async fn raw(channel: &Channel, exchange: &str, key: &str, body: &str, headers: FieldTable) -> bool {
    let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await;
    match sent {
        Ok(confirm) => matches!(confirm.await, Ok(lapin::Confirmation::Ack(None))),
        Err(_) => false,
    }
}

/// As the README tells to set a producer's permissions.
#[tokio::test(flavor = "multi_thread")]
async fn a_producer_with_the_documented_permissions_reaches_the_jobs_exchange_and_nothing_else() {
    let mut world = World::new().await;
    world.start_worker().await;
    let (prefix, user) = (world.prefix().to_owned(), format!("producer-{}", world.prefix()));
    world.broker().ctl(&["add_user", &user, "pass"]);
    let write = format!("^{prefix}\\.jobs$");
    world.broker().ctl(&["set_permissions", "-p", "/", &user, "^$", &write, "^$"]);
    let url = world.broker().url().replace("guest:guest", &format!("{user}:pass"));
    let mut counted = FieldTable::default();
    counted.insert("x-delivery-count".into(), AMQPValue::LongLongInt(1_000));
    let exchange = format!("{prefix}.jobs");
    let body = exempt_job("theirs").to_string();
    assert!(raw(&connect(&url).await, &exchange, "shop", &body, counted).await);
    world.expect_more(1);
    for queue in ["jobs.shop", "retry.shop", "high.shop", "due", "dead", "delay.1000"] {
        let queue = format!("{prefix}.{queue}");
        let taken = raw(&connect(&url).await, "", &queue, &body, FieldTable::default()).await;
        assert!(!taken, "{queue}");
    }
    let receipts = format!("{prefix}.receipts");
    assert!(
        !raw(&connect(&url).await, &receipts, "shop.createMessage.delivered", "{}", FieldTable::default())
            .await
    );
    world.settle().await;
    assert_eq!(world.count("delivered"), 1);
    assert!(!world.whole_logs().contains("handled alone"), "the count is the broker's, not the producer's");
    world.broker().ctl(&["delete_user", &user]);
    world.finish().await;
}
