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
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions,
};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Consumer};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Phase;
use super::link::{Link, Loss};
use super::properties;
use super::topology::short;
use crate::pipeline::envelope::from_outside;
use crate::ports::{Message, Place, Ticket};

/// What somebody subscribed to. Ends when it is dropped.
pub(super) struct Subscription {
    pub place: Place,
    pub queue: String,
    pub prefetch: u16,
    pub messages: mpsc::Sender<Message>,
}

/// A subscription at work.
pub(super) struct Consuming {
    channel: Channel,
    consumer: Consumer,
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

/// Starts consuming, on a channel of its own: a channel's `prefetch` is that of its one consumer,
/// and whatever closes it concerns one subscription.
pub(super) async fn open(
    link: &Link,
    subscription: &Subscription,
    prefetch: u16,
) -> lapin::Result<Consuming> {
    let channel = link.connection.create_channel().await?;
    // None at all would mean that there is no limit.
    channel.basic_qos(prefetch.max(1), BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let consumer = channel.basic_consume(short(&subscription.queue)?, "".into(), options, arguments).await?;
    Ok(Consuming { channel, consumer, gone: link.gone() })
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
        let work = pass_on(&mut consuming, &place, &messages);
        let stopped = phase.wait_for(|phase| *phase != Phase::Running);
        tokio::select! {
            biased;
            _ = stopped => None,
            () = messages.closed() => None,
            loss = work => Some(loss),
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

/// Never leaves a message half handed over when it is dropped: it takes room first.
async fn pass_on(consuming: &mut Consuming, place: &Place, messages: &mpsc::Sender<Message>) -> Loss {
    loop {
        let Ok(room) = messages.reserve().await else { return Loss::because("the subscription ended") };
        match consuming.consumer.next().await {
            Some(Ok(delivery)) => room.send(message(place, delivery, &consuming.gone)),
            Some(Err(error)) => return Loss::of(&error),
            None => return Loss::because("the broker cancelled the consumer"),
        }
    }
}

/// Cancels the consumer and gives back at once what it had fetched but not handed over, so that
/// another worker gets it without waiting for this one to drain.
async fn give_back(consuming: &mut Consuming, limit: Duration) {
    let tag = consuming.consumer.tag();
    let cancel = consuming.channel.basic_cancel(tag, BasicCancelOptions::default());
    if !matches!(timeout(limit, cancel).await, Ok(Ok(()))) {
        return;
    }
    while let Some(Some(Ok(delivery))) = consuming.consumer.next().now_or_never() {
        // An error means that the channel is gone, which gives it back as well.
        let _ = delivery.reject(BasicRejectOptions { requeue: true }).await;
    }
}

fn message(place: &Place, delivery: Delivery, gone: &Arc<AtomicBool>) -> Message {
    let properties = properties::from_amqp(&delivery.properties);
    // Paceline publishes to its queues by the default exchange, which the broker lets nobody else use
    // who may only write to the jobs exchange.
    let outside = !delivery.exchange.as_str().is_empty();
    Message {
        properties: if outside { from_outside(properties) } else { properties },
        place: place.clone(),
        redeliveries: properties::redeliveries(&delivery.properties, delivery.redelivered),
        received: Instant::now(),
        ticket: Box::new(Settling { acker: delivery.acker, gone: gone.clone() }),
        body: delivery.data.into(),
    }
}

/// A delivery's way back to the broker. The library marks it as unusable when its channel or
/// connection ends, and never uses it on another one.
struct Settling {
    acker: Acker,
    /// Whether its connection was given up.
    gone: Arc<AtomicBool>,
}

#[async_trait]
impl Ticket for Settling {
    async fn ack(&self) -> bool {
        !self.is_stale() && matches!(self.acker.ack(BasicAckOptions::default()).await, Ok(true))
    }

    async fn requeue(&self) {
        // Reject, because it counts as a redelivery on every version of RabbitMQ. An error means
        // that the channel is gone, which puts the message back as well.
        let _ = self.acker.reject(BasicRejectOptions { requeue: true }).await;
    }

    fn is_stale(&self) -> bool {
        self.gone.load(Ordering::Acquire) || !self.acker.usable()
    }
}
