//! What becomes of the queue and the publisher when the broker fails them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paceline::adapters::rabbitmq::RabbitMq;
use paceline::job::Line;
use paceline::ports::{Destination, Place, PublishError, Publisher, Queue};
use tokio::time::timeout;

use super::{
    LONG, id, jobs, outgoing, places, receive, shop, start, start_with, to, until, until_depth, until_up,
};
use crate::support::rabbitmq::{Broker, Dice, config, unique_prefix};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing_and_everything_goes_on_by_itself() {
    let broker = Broker::launch();
    let rabbit = start(&broker, &unique_prefix()).await;
    for n in 0..500 {
        rabbit.publish(to(jobs(), &format!("{n:03}"))).await.unwrap();
    }
    let mut messages = rabbit.subscribe(jobs(), 4);
    let mut hand = Vec::new();
    for _ in 0..4 {
        hand.push(receive(&mut messages).await);
    }

    broker.kill9();
    until_up(&rabbit, false).await;
    let begun = Instant::now();
    let down = rabbit.publish(to(jobs(), "down")).await;
    assert!(matches!(down, Err(PublishError::Unconfirmed(_))), "{down:?}");
    assert!(begun.elapsed() < Duration::from_secs(1), "an answer at once, not {:?}", begun.elapsed());
    assert_eq!(rabbit.depths(&[jobs()]).await, [None]);
    broker.start();
    until_up(&rabbit, true).await;

    let in_hand: BTreeSet<String> = hand.iter().map(id).collect();
    for old in &hand {
        assert!(old.ticket.is_stale());
        assert!(!old.ticket.ack().await);
    }
    let mut ids = BTreeSet::new();
    while ids.len() < 500 {
        let message = receive(&mut messages).await;
        if in_hand.contains(&id(&message)) {
            assert!(message.redeliveries >= 1, "{} came again", id(&message));
        }
        assert!(message.ticket.ack().await);
        assert!(ids.insert(id(&message)), "{} came twice", id(&message));
    }
    assert_eq!(ids, (0..500).map(|n| format!("{n:03}")).collect());
    assert_eq!(rabbit.publish(to(jobs(), "after")).await, Ok(()));
    assert_eq!(id(&receive(&mut messages).await), "after");
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_waits_for_a_broker_that_is_down_and_outlives_closed_connections() {
    let broker = Broker::launch();
    broker.stop();
    let rabbit = RabbitMq::start(config(&broker.url(), &unique_prefix()), &places(), Arc::new(Dice));
    let mut messages = rabbit.subscribe(jobs(), 2);
    assert!(timeout(Duration::from_secs(2), rabbit.started()).await.is_err(), "it waits");
    broker.start();
    timeout(LONG, rabbit.started()).await.unwrap().unwrap();

    for n in 0..3 {
        rabbit.publish(to(jobs(), &n.to_string())).await.unwrap();
        let message = receive(&mut messages).await;
        let mut up = rabbit.up();
        up.mark_unchanged();
        broker.close_all_connections();
        timeout(LONG, up.wait_for(|up| !*up)).await.unwrap().unwrap();
        until_up(&rabbit, true).await;
        assert!(!message.ticket.ack().await);
        let again = receive(&mut messages).await;
        assert_eq!((id(&again), again.redeliveries >= 1), (n.to_string(), true));
        assert!(again.ticket.ack().await);
    }
    rabbit.publish(to(jobs(), "kept")).await.unwrap();
    broker.restart();
    until("the message is handed out over the new connection", || async { *rabbit.up().borrow() }).await;
    while !receive(&mut messages).await.ticket.ack().await {}
    until_depth(&*rabbit, jobs(), 0).await;
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_is_made_anew_and_disturbs_no_other() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let rabbit = start(broker, &prefix).await;
    let mut messages = rabbit.subscribe(jobs(), 2);
    let mut retries = rabbit.subscribe(Place::Retry(shop(), Line::MAIN), 2);
    rabbit.publish(to(Place::Retry(shop(), Line::MAIN), "held")).await.unwrap();
    let held = receive(&mut retries).await;

    broker.ctl(&["delete_queue", &format!("{prefix}.jobs.shop")]);
    until("jobs can be published again", || async {
        rabbit.publish(outgoing(Destination::Jobs("shop".into()), "new")).await.is_ok()
    })
    .await;
    assert_eq!(id(&receive(&mut messages).await), "new");
    assert!(held.ticket.ack().await, "the other subscription kept its connection");
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_blocks_publishers_is_reported_in_time_and_waited_for() {
    let broker = Broker::launch();
    let mut config = config(&broker.url(), &unique_prefix());
    config.publish_timeout = Duration::from_secs(2);
    let rabbit = start_with(config).await;
    rabbit.publish(to(jobs(), "before")).await.unwrap();
    let mut messages = rabbit.subscribe(jobs(), 5);
    let before = receive(&mut messages).await;

    broker.block_publishers();
    for n in 0..2 {
        let begun = Instant::now();
        let answer = rabbit.publish(to(jobs(), &format!("during-{n}"))).await;
        let Err(PublishError::Unconfirmed(reason)) = answer else { panic!("{answer:?}") };
        assert!(reason.contains("blocks publishers"), "{reason}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    until_up(&rabbit, false).await;
    assert!(before.ticket.ack().await, "acks go on");

    broker.unblock_publishers();
    until_up(&rabbit, true).await;
    until("publishing works again", || async { rabbit.publish(to(jobs(), "after")).await.is_ok() }).await;
    while id(&receive(&mut messages).await) != "after" {}
    rabbit.close().await;
}

/// A message whose `message_id` is no UTF-8, which the library can't read and no library writes.
fn publish_unreadable(broker: &Broker, queue: &str) {
    use std::io::{Read, Write};
    let short = |text: &[u8]| [&[text.len() as u8][..], text].concat();
    let frame = |kind: u8, channel: u16, payload: &[u8]| {
        let head = [&[kind][..], &channel.to_be_bytes(), &(payload.len() as u32).to_be_bytes()].concat();
        [&head[..], payload, &[0xce]].concat()
    };
    let method = |channel: u16, class: u16, id: u16, arguments: &[u8]| {
        frame(1, channel, &[&class.to_be_bytes(), &id.to_be_bytes(), arguments].concat())
    };
    let address = broker.url().split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let mut answer = |bytes: &[u8], expected: bool| {
        stream.write_all(bytes).unwrap();
        if expected {
            let mut head = [0; 7];
            stream.read_exact(&mut head).unwrap();
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            stream.read_exact(&mut vec![0; size + 1]).unwrap();
        }
    };
    answer(b"AMQP\0\0\x09\x01", true);
    let login = b"\0guest\0guest";
    let start_ok =
        [&[0; 4][..], &short(b"PLAIN"), &(login.len() as u32).to_be_bytes(), login, &short(b"en_US")]
            .concat();
    answer(&method(0, 10, 11, &start_ok), true);
    answer(&method(0, 10, 31, &[0x07, 0xff, 0, 2, 0, 0, 0, 0]), false);
    answer(&method(0, 10, 40, &[&short(b"/")[..], &[0, 0]].concat()), true);
    answer(&method(1, 20, 10, &[0]), true);
    let publish = [&[0, 0][..], &short(b""), &short(queue.as_bytes()), &[0]].concat();
    answer(&method(1, 60, 40, &publish), false);
    let id = short(&[0xff, 0xfe]);
    let header =
        [&60u16.to_be_bytes()[..], &[0, 0], &1u64.to_be_bytes(), &0x0080u16.to_be_bytes(), &id].concat();
    answer(&frame(2, 1, &header), false);
    answer(&frame(3, 1, b"x"), false);
    answer(&method(1, 20, 40, &[0, 200, 0, 0, 0, 0, 0]), true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_stalls_no_queue_but_its_own() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let rabbit = start(broker, &prefix).await;
    let mut retries = rabbit.subscribe(Place::Retry(shop(), Line::MAIN), 1);
    publish_unreadable(broker, &format!("{prefix}.jobs.shop"));
    until_depth(&*rabbit, jobs(), 1).await;

    let mut up = rabbit.up();
    up.mark_unchanged();
    let _stalled = rabbit.subscribe(jobs(), 1);
    timeout(LONG, up.wait_for(|up| !*up)).await.unwrap().unwrap();
    until_up(&rabbit, true).await;

    // Long enough for several more attempts at the message, of which none may disturb this.
    rabbit.publish(to(Place::Retry(shop(), Line::MAIN), "held")).await.unwrap();
    let mut held = receive(&mut retries).await;
    while !held.ticket.ack().await {
        held = receive(&mut retries).await;
    }
    rabbit.publish(to(Place::Retry(shop(), Line::MAIN), "kept")).await.unwrap();
    let kept = receive(&mut retries).await;
    let name = format!("{prefix} consume {prefix}.jobs.shop");
    let attempts = || broker.log().matches(&name).count();
    let before = attempts();
    until("it was tried again and again", || async { attempts() > before + 5 }).await;
    assert!(kept.ticket.ack().await);
    assert!(*rabbit.up().borrow());
    rabbit.stop().await;
    rabbit.close().await;
}
