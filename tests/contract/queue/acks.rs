//! Acks in runs: many are told to the broker by one frame, and none is told that was not given.

use std::collections::BTreeSet;

use super::{id, jobs, receive, start, take_all, to, until};
use crate::support::rabbitmq::{Broker, unique_prefix};
use paceline::adapters::rabbitmq::RabbitMq;
use paceline::ports::{Message, Publisher, Queue};
use tokio::sync::mpsc::Receiver;

/// So many messages, published and given out: over two consumers of one channel, as soon as it is seen that
/// bodies are small.
async fn in_hand(rabbit: &RabbitMq, count: usize) -> (Receiver<Box<Message>>, Vec<Message>) {
    for n in 0..count {
        rabbit.publish(to(jobs(), &n.to_string())).await.unwrap();
    }
    let mut messages = rabbit.subscribe(jobs(), 64);
    let mut hand = Vec::new();
    while hand.len() < count {
        hand.push(receive(&mut messages).await);
    }
    (messages, hand)
}

/// Another order of the messages for each seed.
fn shuffled(mut hand: Vec<Message>, seed: usize) -> Vec<Message> {
    let mut order = Vec::new();
    let mut at = seed;
    while !hand.is_empty() {
        at = (at * 31 + 7) % 1_009;
        order.push(hand.swap_remove(at % hand.len()));
    }
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn of_acks_in_any_order_each_settles_its_message_and_no_other() {
    let broker = Broker::shared();
    for seed in 0..3 {
        let prefix = unique_prefix();
        let rabbit = start(broker, &prefix).await;
        let (messages, hand) = in_hand(&rabbit, 60).await;
        let mut kept = BTreeSet::new();
        for (n, message) in shuffled(hand, seed).into_iter().enumerate() {
            match n % 7 {
                3 => drop(kept.insert(id(&message))),
                5 => {
                    kept.insert(id(&message));
                    message.ticket.requeue().await;
                    assert!(!message.ticket.ack().await, "a message is settled once");
                }
                _ => {
                    assert!(message.ticket.ack().await);
                    // Settled once: putting it back now would end the channel.
                    message.ticket.requeue().await;
                }
            }
        }
        // The broker forgets acks that it has not applied yet when their channel ends.
        let left = || async { all_of(broker, &prefix) == kept.len() };
        until("the broker has applied the acks", left).await;
        drop(messages);
        rabbit.close().await;

        let rabbit = start(broker, &prefix).await;
        let mut messages = rabbit.subscribe(jobs(), 64);
        assert_eq!(take_all(&mut messages, kept.len()).await, kept, "seed {seed}");
        rabbit.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_before_the_end_is_told_before_the_end() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let rabbit = start(broker, &prefix).await;
    let (_messages, hand) = in_hand(&rabbit, 20).await;
    for message in hand {
        assert!(message.ticket.ack().await);
    }
    rabbit.close().await;
    until("all of them are gone", || async { all_of(broker, &prefix) == 0 }).await;
}

/// How many messages the job queue has, given out or not.
fn all_of(broker: &Broker, prefix: &str) -> usize {
    let queues = broker.ctl(&["list_queues", "name", "messages"]);
    let name = format!("{prefix}.jobs.shop");
    let line = queues.lines().find_map(|line| line.strip_prefix(&name)).expect("the queue is there");
    line.trim().parse().expect("a number")
}
