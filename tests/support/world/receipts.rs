//! The receipts of a world, as a producer that consumes them sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use serde_json::Value;
use tokio::time::timeout;

use super::brokers::UsedBroker;
use super::embedded::File;

/// No further one is waited for longer than this.
const IDLE: Duration = Duration::from_millis(50);

/// The first of those that are known to wait is waited for so long: a loaded machine hands it out late.
const FIRST: Duration = Duration::from_secs(5);

/// Nothing of the broker is waited for longer than this: it may be stopped, or cut off.
const VISIT: Duration = Duration::from_secs(15);

/// What a receipt that repeats must say again; the last one not where the store lost its data, and a
/// delivery may have been sent once more.
const LASTING: [&str; 7] =
    ["transactionId", "jobId", "account", "operation", "status", "reason", "messageCode"];

/// The receipts so far.
pub struct Receipts {
    queue: String,
    told: BTreeMap<String, Value>,
    repeats: usize,
}

impl Receipts {
    /// Receipts that were led to a queue, none of them taken in yet.
    pub fn at(queue: String) -> Self {
        Self { queue, told: BTreeMap::new(), repeats: 0 }
    }

    /// How many distinct ones there are.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Each of them once.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.told.values()
    }

    /// Each of them once, with its name.
    pub fn named(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.told.iter()
    }

    /// How often one came again.
    pub fn repeats(&self) -> usize {
        self.repeats
    }

    /// Makes the queue, and leads every receipt of the exchange to it.
    pub async fn bind(&self, channel: &Channel, exchange: &str) {
        // On one node of a cluster only, it would be lost with it, and what is bound to it as well.
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        // Newer brokers drop what was given out twenty times, and looking counts.
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(1_000_000));
        channel
            .queue_declare(self.queue.as_str().into(), QueueDeclareOptions::durable(), arguments)
            .await
            .expect("a queue for receipts");
        bind(channel, &self.queue, exchange).await;
    }

    /// Takes in some of those that wait, this many at most; says how many were taken or waited before, or
    /// nothing when the broker is away or too slow.
    pub async fn fetch(&mut self, broker: &UsedBroker, most: u16, forgiving: bool) -> Option<u32> {
        let visit = async {
            let channel = broker.channel().await?;
            let seen = self.take_in(&channel, most, forgiving).await?;
            channel.close(200, "done".into()).await?;
            lapin::Result::Ok(seen)
        };
        timeout(VISIT, visit).await.ok()?.ok()
    }

    /// Those of which the ack is lost come again, and so do those that came too late to be read, when the
    /// channel is closed.
    async fn take_in(&mut self, channel: &Channel, most: u16, forgiving: bool) -> lapin::Result<u32> {
        let waiting = self.waiting(channel).await?;
        channel.basic_qos(most, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let mut consumer = channel
            .basic_consume(self.queue.as_str().into(), "".into(), options, FieldTable::default())
            .await?;
        let first = if waiting > 0 { FIRST } else { IDLE };
        let (taken, last) = self.read(&mut consumer, first, most, forgiving).await;
        if let Some(last) = last {
            channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        }
        Ok(waiting.max(taken))
    }

    async fn waiting(&self, channel: &Channel) -> lapin::Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(self.queue.as_str().into(), options, FieldTable::default()).await?;
        Ok(queue.message_count())
    }

    /// Reads while more come; how many, and the tag of the last one.
    async fn read(
        &mut self,
        consumer: &mut Consumer,
        first: Duration,
        most: u16,
        forgiving: bool,
    ) -> (u32, Option<u64>) {
        let (mut taken, mut last) = (0, None);
        while taken < most.into() {
            let patience = if taken == 0 { first } else { IDLE };
            let Ok(Some(Ok(got))) = timeout(patience, consumer.next()).await else { break };
            let receipt = serde_json::from_slice(&got.data).expect("a receipt is JSON");
            let id = got.properties.message_id().as_ref().expect("a receipt has an id").to_string();
            // One that this test took before and could not ack is no repeat.
            self.repeats += usize::from(self.told.contains_key(&id) && !got.redelivered);
            self.note(id, receipt, forgiving);
            (taken, last) = (taken + 1, Some(got.delivery_tag));
        }
        (taken, last)
    }

    /// Takes in what a file has told since the last time.
    pub fn take_from(&mut self, file: &mut File, forgiving: bool) {
        for (id, receipt) in file.receipts() {
            self.repeats += usize::from(self.told.contains_key(&id));
            self.note(id, receipt, forgiving);
        }
    }

    fn note(&mut self, id: String, receipt: Value, forgiving: bool) {
        let Some(first) = self.told.get(&id) else {
            self.told.insert(id, receipt);
            return;
        };
        // What was read twice may have changed in between, but it must not be missing.
        assert_eq!(first["response"].is_null(), receipt["response"].is_null(), "{receipt}");
        let fields = if forgiving { &LASTING[..6] } else { &LASTING[..] };
        for &field in fields {
            assert_eq!(first[field], receipt[field], "a receipt that repeats says the same");
        }
    }
}

/// Leads every receipt of an exchange to a queue.
pub async fn bind(channel: &Channel, queue: &str, exchange: &str) {
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), exchange.into(), "#".into(), options, FieldTable::default())
        .await
        .expect("a binding for receipts");
}
