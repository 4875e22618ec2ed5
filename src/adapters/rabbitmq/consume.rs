//! Consuming: subscriptions that outlive connections.
//!
//! Each subscription has a channel and a task of its own, so that one queue in trouble (deleted,
//! without a majority, its channel closed by the broker's timeout) disturbs no other: bouncing
//! the others would give their messages out again and count that against them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Phase;
use super::acks::Acks;
use super::link::{Link, Loss};
use super::properties;
use super::topology::short;
use super::width::{Burden, Step, Width};
use crate::pipeline::envelope::from_outside;
use crate::ports::{Message, Place, Ticket};

/// What somebody subscribed to. Ends when it is dropped.
pub(super) struct Subscription {
    pub place: Place,
    pub queue: String,
    pub prefetch: u16,
    pub messages: mpsc::Sender<Box<Message>>,
}

/// A subscription at work.
pub(super) struct Consuming {
    channel: Channel,
    consumer: Consumer,
    /// The second one, while bodies are small; see `width`.
    beside: Option<Consumer>,
    width: Width,
    queue: String,
    acks: Arc<Acks>,
    gone: Arc<AtomicBool>,
}

/// Why a subscription stopped working.
pub(super) enum Ended {
    /// The queue was stopped, or the receiver is gone. The channel has to stay open, so that what
    /// was given out can be settled.
    Done(Channel),
    /// The broker ended it.
    Lost(Loss),
}

/// Starts consuming, on a channel of its own: whatever closes it concerns one subscription.
pub(super) async fn open(
    link: &Link,
    subscription: &Subscription,
    prefetch: u16,
    acks: Arc<Acks>,
) -> lapin::Result<Consuming> {
    let channel = link.connection.create_channel().await?;
    let width = Width::new(prefetch);
    let queue = subscription.queue.clone();
    let consumer = consume(&channel, &queue, width.narrow()).await?;
    Ok(Consuming { channel, consumer, beside: None, width, queue, acks, gone: link.gone() })
}

/// Starts a consumer. The broker applies a channel's prefetch to each consumer that begins after it
/// was set.
async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> lapin::Result<Consumer> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(short(queue)?, "".into(), options, arguments).await
}

/// Hands messages over until the subscription or the consumer ends.
pub(super) async fn forward(
    mut consuming: Consuming,
    subscription: Arc<Subscription>,
    mut phase: watch::Receiver<Phase>,
    limit: Duration,
) -> Ended {
    let place = subscription.place.clone();
    let messages = subscription.messages.clone();
    drop(subscription);
    let lost = {
        let work = pass_on(&mut consuming, &place, &messages, limit);
        let stopped = phase.wait_for(|phase| *phase != Phase::Running);
        tokio::select! {
            biased;
            _ = stopped => None,
            () = messages.closed() => None,
            ended = work => ended,
        }
    };
    match lost {
        Some(loss) => Ended::Lost(loss),
        None => {
            give_back(&mut consuming, limit).await;
            Ended::Done(consuming.channel)
        }
    }
}

/// Never leaves a message half handed over when it is dropped: it takes room first. `None` when the
/// subscription has ended, which can be seen here first.
async fn pass_on(
    consuming: &mut Consuming,
    place: &Place,
    messages: &mpsc::Sender<Box<Message>>,
    limit: Duration,
) -> Option<Loss> {
    loop {
        let room = messages.reserve().await.ok()?;
        match consuming.next().await {
            Some(Ok(delivery)) => room.send(consuming.message(place, delivery)),
            Some(Err(error)) => return Some(Loss::of(&error)),
            None => return Some(Loss::because("the broker cancelled the consumer")),
        }
        match timeout(limit, consuming.adjust(place, messages)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some(Loss::of(&error)),
            Err(_) => return Some(Loss::because(format!("no answer within {limit:?}"))),
        }
    }
}

/// Cancels the consumers and gives back at once what they had fetched but not handed over, so that
/// another worker gets it without waiting for this one to drain.
async fn give_back(consuming: &mut Consuming, limit: Duration) {
    for mut consumer in consuming.beside.take().into_iter().chain([consuming.consumer.clone()]) {
        let cancel = consuming.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        if !matches!(timeout(limit, cancel).await, Ok(Ok(()))) {
            return;
        }
        while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
            // An error means that the channel is gone, which gives it back as well.
            let _ = delivery.reject(BasicRejectOptions { requeue: true }).await;
        }
    }
}

impl Consuming {
    /// The next message of either consumer.
    async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        let beside = async {
            match &mut self.beside {
                Some(consumer) => consumer.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            found = self.consumer.next() => found,
            found = beside => found,
        }
    }

    /// Begins or ends the second consumer, as the bodies' weight has it.
    async fn adjust(&mut self, place: &Place, messages: &mpsc::Sender<Box<Message>>) -> lapin::Result<()> {
        let step = self.width.step();
        match step {
            Step::Stay => return Ok(()),
            Step::Widen(prefetch) => {
                self.beside = Some(consume(&self.channel, &self.queue, prefetch).await?);
            }
            Step::Narrow => {
                let Some(mut consumer) = self.beside.take() else { return Ok(()) };
                self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?;
                // What it had fetched comes before the answer to the cancel.
                while let Some(Some(Ok(delivery))) = consumer.next().now_or_never() {
                    let Ok(room) = messages.reserve().await else { break };
                    room.send(self.message(place, delivery));
                }
            }
        }
        self.width.done(step);
        Ok(())
    }

    fn message(&mut self, place: &Place, delivery: Delivery) -> Box<Message> {
        let burden = self.width.take(delivery.data.len());
        self.acks.give_out(delivery.delivery_tag);
        let properties = properties::from_amqp(&delivery.properties);
        // Paceline publishes to its queues by the default exchange, which the broker lets nobody else
        // use who may only write to the jobs exchange.
        let outside = !delivery.exchange.as_str().is_empty();
        Box::new(Message {
            properties: if outside { from_outside(properties) } else { properties },
            place: place.clone(),
            redeliveries: properties::redeliveries(&delivery.properties, delivery.redelivered),
            received: Instant::now(),
            ticket: Box::new(Settling {
                tag: delivery.delivery_tag,
                acker: delivery.acker,
                acks: self.acks.clone(),
                settled: AtomicBool::new(false),
                gone: self.gone.clone(),
                _burden: burden,
            }),
            body: delivery.data.into(),
        })
    }
}

/// A delivery's way back to the broker. The library marks it as unusable when its channel or
/// connection ends, and never uses it on another one.
struct Settling {
    tag: u64,
    acker: Acker,
    acks: Arc<Acks>,
    /// Whether the broker was told, or is about to be: it must not be told twice.
    settled: AtomicBool,
    /// Whether its connection was given up.
    gone: Arc<AtomicBool>,
    /// It weighs until it is dropped, as its body does.
    _burden: Burden,
}

#[async_trait]
impl Ticket for Settling {
    async fn ack(&self) -> bool {
        let told = !self.is_stale() && !self.settled.swap(true, Ordering::Relaxed);
        if told {
            self.acks.ack(self.tag, self.acker.clone());
        }
        told
    }

    async fn requeue(&self) {
        if self.settled.swap(true, Ordering::Relaxed) {
            return;
        }
        // Reject, because it counts as a redelivery on every version of RabbitMQ. An error means
        // that the channel is gone, which puts the message back as well.
        let _ = self.acker.reject(BasicRejectOptions { requeue: true }).await;
        self.acks.told(self.tag);
    }

    fn is_stale(&self) -> bool {
        self.gone.load(Ordering::Acquire) || self.settled.load(Ordering::Relaxed) || self.acker.poisoned()
    }
}
