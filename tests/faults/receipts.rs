//! Receipts that a full queue refuses.

use std::time::Duration;

use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::world::{World, eventually};

/// A queue that takes nothing, bound to one account's receipts.
pub struct Full {
    channel: lapin::Channel,
    name: String,
}

impl Full {
    /// Binds one.
    pub async fn bound(world: &World, account: &str) -> Self {
        let url = world.broker().url();
        let connection =
            lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        let name = format!("full-{}-{account}", world.prefix());
        channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
        let exchange = format!("{}.receipts", world.prefix());
        let key = format!("{account}.#");
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel
            .queue_bind(name.as_str().into(), exchange.as_str().into(), key.as_str().into(), options, none)
            .await
            .unwrap();
        Self { channel, name }
    }

    /// Takes it away.
    pub async fn gone(self) {
        self.channel.queue_delete(self.name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
}

async fn tells(world: &World, worker: usize, line: &str) {
    eventually(line, || async { world.admin(worker, "/metrics").await.1.lines().any(|found| found == line) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_receipts_are_refused_pauses_visibly_and_loses_nothing() {
    const PAUSED: &str = "paceline_account_paused{account=\"shop\",cause=\"receipts\"} 1";
    const OPEN: &str = "paceline_account_paused{account=\"shop\",cause=\"receipts\"} 0";
    let mut world = World::new().await;
    let full = Full::bound(&world, "shop").await;
    let worker = world.start_worker().await;
    world.publish(&[exempt_job("first")]).await;
    tells(&world, worker, PAUSED).await;
    assert!(world.whole_logs().contains("a queue bound to the receipts exchange is full"));
    let jobs: Vec<Value> =
        (0..30)
            .map(|n| {
                if n % 2 == 0 {
                    exempt_job(&format!("r-{n}"))
                } else {
                    counted_job(&format!("r-{n}"), "high")
                }
            })
            .collect();
    world.publish(&jobs).await;
    world.publish(&[user_job("other")]).await;
    eventually("another account goes on", || async { world.provider.summary().counts.requests == 2 }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.provider.summary().counts.requests, 2, "nothing is sent of which nobody would hear");
    // The end is written, its receipt is not: killed now, the next one finds it.
    world.kill_worker(worker).await;
    let worker = world.start_worker().await;
    tells(&world, worker, PAUSED).await;
    full.gone().await;
    world.settle().await;
    tells(&world, worker, OPEN).await;
    let counts = world.provider.summary().counts;
    assert_eq!((world.count("delivered"), counts.accepted, counts.suppressed), (32, 32, 0));
    world.finish().await;
}
