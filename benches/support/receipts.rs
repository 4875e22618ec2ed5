//! Receipts, as a producer that consumes them sees them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::support::world::World;

/// When the first receipt of each delivery came, by its id; with its status.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<HashMap<String, (Instant, String)>>>);

impl Receipts {
    /// Consumes the receipts from now on, as a producer would.
    pub async fn watch(world: &World) -> Self {
        let url = world.broker().url();
        let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default())
            .await
            .expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let queue = format!("measured-{}", world.prefix());
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.expect("a queue");
        world.bind_to_receipts(&channel, &queue).await;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = channel
            .basic_consume(queue.as_str().into(), "measure".into(), options, FieldTable::default())
            .await
            .expect("a consumer");
        let receipts = Self::default();
        let seen = receipts.clone();
        tokio::spawn(async move {
            // The connection lives as long as somebody consumes on it.
            let _connection = connection;
            while let Some(Ok(delivery)) = consumer.next().await {
                seen.note(&delivery.data, Instant::now());
            }
        });
        receipts
    }

    fn note(&self, body: &[u8], now: Instant) {
        let receipt: Value = serde_json::from_slice(body).expect("a receipt is JSON");
        if let (Some(id), Some(status)) = (receipt["transactionId"].as_str(), receipt["status"].as_str()) {
            let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(id.to_owned()).or_insert((now, status.to_owned()));
        }
    }

    /// Waits for the receipts of these jobs, which must have this status; their waits, in order.
    pub async fn waits(&self, jobs: &[(String, Instant)], status: &str) -> Vec<Duration> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(waits) = self.waits_so_far(jobs, status) {
                return waits;
            }
            assert!(Instant::now() < deadline, "not all receipts ({status}) came within a minute");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// `None` while one is missing.
    fn waits_so_far(&self, jobs: &[(String, Instant)], status: &str) -> Option<Vec<Duration>> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |(id, published): &(String, Instant)| {
            let (at, end) = seen.get(id)?;
            assert_eq!(end, status, "{id}");
            Some(at.saturating_duration_since(*published))
        };
        let mut waits = jobs.iter().map(wait).collect::<Option<Vec<_>>>()?;
        waits.sort();
        Some(waits)
    }
}
