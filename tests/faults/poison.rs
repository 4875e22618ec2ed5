//! Messages that bring workers down.

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use paceline::pipeline::suspect::fingerprint;
use paceline::ports::Claims;

use crate::support::jobs::{account, counted_job, exempt_job, properties};
use crate::support::redis;
use crate::support::world::World;

/// Takes every message of a queue and dies with it, as a crashing worker does, so often.
pub async fn crash_on(world: &World, queue: &str, messages: usize, times: usize) {
    use futures_util::StreamExt as _;
    for _ in 0..times {
        let url = world.broker().url();
        let connection =
            lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.basic_qos(100, BasicQosOptions::default()).await.unwrap();
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "crash".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        for _ in 0..messages {
            consumer.next().await.unwrap().unwrap();
        }
        connection.close(200, "crash".into()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_crashed_workers_ends_as_poison_and_innocents_are_delivered() {
    let mut world = World::new().await;
    let queue = format!("{}.jobs.shop", world.prefix());
    let guilty = properties();
    let body = exempt_job("guilty").to_string();
    world.publish_raw("shop", body.as_bytes(), guilty.clone(), 1).await.unwrap();
    world.publish(&[exempt_job("innocent-1"), counted_job("innocent-2", "normal")]).await;
    crash_on(&world, &queue, 3, 6).await;
    // The store holds what a worker writes down before it handles a suspect: three such handlings
    // of the guilty one never came to an end.
    let store = redis::connect(
        paceline::adapters::redis::StoreSettings {
            prefix: world.prefix().to_owned(),
            ..redis::settings(&world.redis.url())
        },
        Vec::new(),
    )
    .await;
    let print = fingerprint(Some(&account("shop")), guilty.message_id.as_deref(), body.as_bytes());
    for handling in ["one", "two", "three"] {
        store.count_suspect(&print, handling).await.unwrap();
    }
    world.start_worker().await;
    world.settle().await;
    assert_eq!(world.receipts_of("guilty")[0]["reason"], "poison");
    assert_eq!(world.count("delivered"), 2, "the innocent are delivered");
    assert_eq!(world.dead_letters().await.len(), 1);
    world.finish().await;
}
