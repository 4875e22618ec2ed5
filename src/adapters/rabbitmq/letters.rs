//! Dead letters at the broker.
//!
//! A queue can only be read by taking its messages. So a reading takes all of them without settling
//! them, keeps none but their number, and gives them back when its connection ends. What follows from
//! that:
//!
//! - The broker gives one consumer of a quorum queue at most 65,535 unsettled messages. When a
//!   consumer holds as many as it may, another one begins beside it, over the same channel. Its prefetch
//!   is what bounds the memory: as many bodies as fit into [`AHEAD_BYTES`] by what bodies weighed so far.
//! - Two readings at once would each see a part. A queue of the connection's own (`<prefix>.dead.reading`,
//!   exclusive) is the lock; the broker drops it with the connection, however that ends.
//! - Each reading counts as a delivery of each message, and the queue drops a message that was given
//!   out 10,000 times. One that was given out [`RENEW_AT`] times is published anew, confirmed, and only
//!   then settled; a crash in between leaves it twice under one name, which replaying makes harmless.
//! - What is given back comes back consumer by consumer: each one's messages in their order, but the
//!   consumers in any.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep, timeout};

use super::link::Link;
use super::names;
use super::publish;
use super::topology::{reply_code, short};
use super::{depth, properties};
use crate::config::QueueConfig;
use crate::ports::{
    DeadLetters, Destination, Intent, Letter, LetterTag, LettersError, Outgoing, Place, Reading,
};

/// The prefetch of the first consumer, before anything is known of bodies.
const FIRST_PREFETCH: u16 = 64;

/// How many bytes of messages may wait in this process to be looked at.
const AHEAD_BYTES: usize = 16 * 1024 * 1024;

/// What a message takes beside its body while it waits: 100,000 small ones that were replayed slowly
/// took some 5 KB each.
const BESIDE_BYTES: usize = 4_096;

/// So often a message is given out before it is published anew; the queue drops it at 10,000.
const RENEW_AT: u32 = 4_000;

/// So many are published anew in one reading, which should not take long for it.
const MOST_RENEWED: u64 = 2_000;

/// When nothing comes for so long, the broker is asked whether there is anything left.
const SILENCE: Duration = Duration::from_secs(5);

/// After so many silences with nothing left there, somebody else took what is missing. A busy broker
/// may be silent for a while with the last messages on their way.
const LAST_SILENCE: u32 = 12;

/// Between two looks at how many messages wait, until two are alike: those of a reading that just
/// ended may still be on their way back.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long what is given back is waited for.
const LONGEST_RETURN: Duration = Duration::from_secs(60);

/// How often, and how far apart, the queue is asked at the end whether it has heard all.
const BARRIERS: u32 = 3;
const BETWEEN_BARRIERS: Duration = Duration::from_millis(20);

const RESOURCE_LOCKED: u16 = 405;
const NOT_FOUND: u16 = 404;

/// The dead letters of a prefix.
pub struct RabbitLetters {
    config: QueueConfig,
    renew_at: u32,
}

impl RabbitLetters {
    /// Connects when a reading begins.
    pub fn new(config: QueueConfig) -> Self {
        Self { config, renew_at: RENEW_AT }
    }

    /// The same with letters published anew after fewer readings: for tests.
    pub fn renewing_at(config: QueueConfig, readings: u32) -> Self {
        Self { config, renew_at: readings }
    }
}

#[async_trait]
impl DeadLetters for RabbitLetters {
    async fn open(&self, _intent: Intent) -> Result<Box<dyn Reading>, LettersError> {
        let name = format!("{} dead (process {})", self.config.prefix, std::process::id());
        let link = Link::open(&self.config, &name, 0).await.map_err(failed)?;
        match Held::begin(link, self).await {
            Ok(held) => Ok(Box::new(held)),
            Err((link, error)) => {
                link.close().await;
                Err(error)
            }
        }
    }
}

/// A reading: its connection holds every message that was read and not taken out.
struct Held {
    link: Link,
    channel: Channel,
    prefix: String,
    queue: String,
    consumers: SelectAll<Consumer>,
    tags: Vec<ShortString>,
    /// How many messages all consumers together may hold.
    credit: u64,
    /// How many they hold.
    held: u64,
    total: u64,
    read: u64,
    bytes: usize,
    removed: u64,
    renew_at: u32,
    renewed: u64,
    /// For messages that are published anew.
    renewing: Option<Channel>,
    limit: Duration,
}

fn failed(error: impl std::fmt::Display) -> LettersError {
    LettersError::Failed(error.to_string())
}

fn refused(error: &lapin::Error) -> LettersError {
    match reply_code(error) {
        Some(RESOURCE_LOCKED) => LettersError::Busy,
        Some(NOT_FOUND) => LettersError::Missing,
        Some(_) | None => failed(error),
    }
}

impl Held {
    async fn begin(link: Link, letters: &RabbitLetters) -> Result<Self, (Link, LettersError)> {
        let config = &letters.config;
        let prefix = config.prefix.clone();
        let queue = names::queue(&prefix, &Place::Dead);
        let opened = async {
            lock(&link, &prefix).await?;
            let total = settled_depth(&link, &queue).await?;
            let channel = link.connection.create_channel().await.map_err(|error| refused(&error))?;
            Ok((total, channel))
        };
        let limit = config.connect_timeout + LONGEST_RETURN;
        match timeout(limit, opened).await.unwrap_or_else(|_| Err(failed("the broker does not answer"))) {
            Ok((total, channel)) => Ok(Self {
                link,
                channel,
                prefix,
                queue,
                consumers: SelectAll::new(),
                tags: Vec::new(),
                credit: 0,
                held: 0,
                total,
                read: 0,
                bytes: 0,
                removed: 0,
                renew_at: letters.renew_at,
                renewed: 0,
                renewing: None,
                limit: config.publish_timeout,
            }),
            Err(error) => Err((link, error)),
        }
    }

    /// Begins one more consumer, which may hold what fits into memory.
    async fn widen(&mut self) -> Result<(), LettersError> {
        // No more than there is to read: what came meanwhile is to stay behind the others.
        let left = (self.total + self.renewed).saturating_sub(self.read).max(1);
        let prefetch = next_prefetch(self.read, self.bytes).min(u16::try_from(left).unwrap_or(u16::MAX));
        let consumer = timeout(LONGEST_RETURN, self.consume(prefetch))
            .await
            .map_err(|_| failed("the broker does not answer"))?
            .map_err(|error| refused(&error))?;
        self.tags.push(consumer.tag());
        self.consumers.push(consumer);
        self.credit += u64::from(prefetch);
        Ok(())
    }

    async fn consume(&self, prefetch: u16) -> lapin::Result<Consumer> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        self.channel.basic_consume(short(&self.queue)?, "".into(), options, arguments).await
    }

    /// Waits until what was settled is settled: the broker's channel holds acks back while more than 32
    /// of them are on their way to a quorum queue, and drops those when it ends. The queue answers to
    /// the beginning and the end of a consumer only after all that it was sent before.
    async fn settle_down(&self) -> lapin::Result<()> {
        for tag in &self.tags {
            self.channel.basic_cancel(tag.clone(), BasicCancelOptions::default()).await?;
        }
        for _ in 0..BARRIERS {
            sleep(BETWEEN_BARRIERS).await;
            let consumer = self.consume(1).await?;
            self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
        }
        Ok(())
    }

    /// What comes next over the channel; `None` when nothing is left.
    async fn deliver(&mut self) -> Result<Option<Delivery>, LettersError> {
        let mut empty = 0;
        loop {
            match timeout(SILENCE, self.consumers.next()).await {
                Ok(Some(Ok(delivery))) => return Ok(Some(delivery)),
                Ok(Some(Err(error))) => return Err(failed(error)),
                Ok(None) => return Err(failed("the broker ended the reading")),
                Err(_) if empty >= LAST_SILENCE => return Ok(None),
                Err(_) => empty = if self.waiting().await? == 0 { empty + 1 } else { 0 },
            }
        }
    }

    async fn waiting(&self) -> Result<u64, LettersError> {
        let mut channel = None;
        let asked = timeout(self.limit, depth(&self.link, &mut channel, &self.queue)).await;
        asked.ok().flatten().ok_or_else(|| failed("the broker does not answer"))
    }

    /// Publishes a message anew that was given out too often, and settles the old one.
    async fn renew(&mut self, delivery: &Delivery) -> Result<(), LettersError> {
        let channel = match self.renewing.take() {
            Some(channel) => channel,
            None => publish::open(&self.link).await.map_err(|error| refused(&error))?,
        };
        let message = Outgoing {
            destination: Destination::Place(Place::Dead),
            body: delivery.data.clone().into(),
            properties: properties::from_amqp(&delivery.properties),
        };
        let renewed = publish::publish_alone(&self.link, &channel, &self.prefix, message, self.limit).await;
        renewed.map_err(|error| failed(format!("a letter that was read often can't be renewed: {error}")))?;
        self.renewing = Some(channel);
        self.renewed += 1;
        self.ack(delivery.delivery_tag).await
    }

    async fn ack(&mut self, tag: u64) -> Result<(), LettersError> {
        self.channel.basic_ack(tag, BasicAckOptions::default()).await.map_err(failed)?;
        self.held = self.held.saturating_sub(1);
        Ok(())
    }
}

#[async_trait]
impl Reading for Held {
    fn total(&self) -> u64 {
        self.total
    }

    async fn next(&mut self) -> Result<Option<Letter>, LettersError> {
        // The copy of a renewed one comes later.
        while self.read < self.total + self.renewed {
            if self.held >= self.credit {
                self.widen().await?;
            }
            let Some(delivery) = self.deliver().await? else { return Ok(None) };
            self.read += 1;
            self.held += 1;
            self.bytes += delivery.data.len();
            let often = properties::redeliveries(&delivery.properties, delivery.redelivered);
            if often >= self.renew_at && self.renewed < MOST_RENEWED {
                self.renew(&delivery).await?;
                continue;
            }
            return Ok(Some(Letter {
                tag: LetterTag(delivery.delivery_tag),
                properties: properties::from_amqp(&delivery.properties),
                body: delivery.data.into(),
            }));
        }
        Ok(None)
    }

    async fn remove(&mut self, tags: &[LetterTag]) -> Result<(), LettersError> {
        for LetterTag(tag) in tags {
            self.ack(*tag).await?;
            self.removed += 1;
        }
        Ok(())
    }

    /// Waits until what it held is back, while the lock is still held.
    async fn close(self: Box<Self>) {
        let left = self.total.saturating_sub(self.removed);
        let returned = async {
            // An error means that the channel is gone already, which gives back as well; what was settled
            // and is not known to be comes again.
            if self.removed > 0 {
                let _ = self.settle_down().await;
            }
            let _ = self.channel.close(200, "OK".into()).await;
            while self.waiting().await.is_ok_and(|waiting| waiting < left) {
                sleep(LOOK_AGAIN).await;
            }
        };
        // One that does not come back in time comes later; nothing is lost by leaving.
        let _ = timeout(LONGEST_RETURN, returned).await;
        self.link.close().await;
    }
}

/// Takes the lock, which the connection holds until it ends.
async fn lock(link: &Link, prefix: &str) -> Result<(), LettersError> {
    let channel = link.connection.create_channel().await.map_err(|error| refused(&error))?;
    let name = format!("{}.reading", names::queue(prefix, &Place::Dead));
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let name = short(&name).map_err(failed)?;
    let mut arguments = FieldTable::default();
    // Whatever the broker makes by default: of the other types none can be a connection's own.
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    channel.queue_declare(name, options, arguments).await.map_err(|error| refused(&error))?;
    Ok(())
}

/// How many messages wait, once two looks find the same.
async fn settled_depth(link: &Link, queue: &str) -> Result<u64, LettersError> {
    let mut channel = None;
    let mut last = None;
    let deadline = Instant::now() + LONGEST_RETURN;
    loop {
        let now = depth(link, &mut channel, queue).await.ok_or(LettersError::Missing)?;
        if last == Some(now) || Instant::now() >= deadline {
            return Ok(now);
        }
        last = Some(now);
        sleep(LOOK_AGAIN).await;
    }
}

/// How many messages the next consumer may hold: as many as [`AHEAD_BYTES`] hold of the weight known.
fn next_prefetch(read: u64, bytes: usize) -> u16 {
    if read == 0 {
        return FIRST_PREFETCH;
    }
    let weight = bytes / usize::try_from(read).unwrap_or(usize::MAX) + BESIDE_BYTES;
    u16::try_from(AHEAD_BYTES / weight).unwrap_or(u16::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefetch_follows_the_weight_of_bodies() {
        let cases = [
            (0, 0, FIRST_PREFETCH),
            (100, 100 * 300, 3_816),
            (100, 0, 4_096),
            (64, 64 * 1024 * 1024, 15),
            (1, 100 * 1024 * 1024, 1),
        ];
        for (read, bytes, expected) in cases {
            assert_eq!(next_prefetch(read, bytes), expected, "{read} {bytes}");
        }
    }
}
