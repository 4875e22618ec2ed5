//! How many messages are taken at once, by what they weigh.

use std::time::Duration;

use bytes::Bytes;
use paceline::ports::{Message, Outgoing, Publisher, Queue};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::{jobs, receive, start, take_all, to};
use crate::support::rabbitmq::{Broker, unique_prefix};

/// Whatever comes until nothing comes any more.
async fn all_that_comes(messages: &mut Receiver<Box<Message>>) -> Vec<Message> {
    let mut hand = vec![receive(messages).await];
    while let Ok(Some(message)) = timeout(Duration::from_secs(1), messages.recv()).await {
        hand.push(*message);
    }
    hand
}

fn large(id: &str) -> Outgoing {
    Outgoing { body: Bytes::from(vec![b'x'; 1 << 20]), ..to(jobs(), id) }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_large_messages_are_in_hand_and_many_small_ones() {
    let broker = Broker::shared();
    let rabbit = start(broker, &unique_prefix()).await;
    for n in 0..20 {
        rabbit.publish(large(&format!("large-{n}"))).await.unwrap();
    }
    let mut messages = rabbit.subscribe(jobs(), 64);
    let hand = all_that_comes(&mut messages).await;
    assert_eq!(hand.len(), 4, "some megabytes, not 20");
    for message in hand {
        assert!(message.ticket.ack().await);
    }
    take_all(&mut messages, 16).await;

    // As bodies become small, up to the whole prefetch is taken, and never more.
    for n in 0..400 {
        rabbit.publish(to(jobs(), &format!("small-{n}"))).await.unwrap();
    }
    take_all(&mut messages, 300).await;
    let hand = all_that_comes(&mut messages).await;
    assert_eq!(hand.len(), 64, "the whole prefetch");
    for message in hand {
        assert!(message.ticket.ack().await);
    }
    take_all(&mut messages, 36).await;

    // Large ones that come now are few in hand soon.
    for n in 0..100 {
        rabbit.publish(large(&format!("later-{n}"))).await.unwrap();
    }
    take_all(&mut messages, 80).await;
    let hand = all_that_comes(&mut messages).await;
    assert!(hand.len() <= 8, "{} large messages in hand", hand.len());
    rabbit.close().await;
}
