//! The queue and the publisher: what holds on every one, and what only a real RabbitMQ can show; its
//! faults are in `faults`.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use paceline::adapters::rabbitmq::{DeclareError, RabbitMq, declare, topology};
use paceline::config::{QueueConfig, Secret};
use paceline::job::{AccountName, Line, Priority};
use paceline::ports::{Destination, Message, Outgoing, Place, Properties, PublishError, Publisher, Queue};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::queues::{Bench, on_every_queue, on_every_server};
use crate::support::rabbitmq::{Broker, Dice, config, unique_prefix};

mod acks;
mod faults;
mod width;

const LONG: Duration = Duration::from_secs(30);

fn shop() -> AccountName {
    AccountName::new("shop").unwrap()
}

pub fn places() -> Vec<Place> {
    Place::of_account(&shop(), &[Line::MAIN])
}

fn jobs() -> Place {
    Place::Jobs(shop())
}

async fn start_with(config: QueueConfig) -> Arc<RabbitMq> {
    let rabbit = RabbitMq::start(config, &places(), Arc::new(Dice));
    timeout(LONG, rabbit.started()).await.expect("the broker answers").expect("the broker agrees");
    rabbit
}

pub async fn start(broker: &Broker, prefix: &str) -> Arc<RabbitMq> {
    start_with(config(&broker.url(), prefix)).await
}

fn outgoing(destination: Destination, id: &str) -> Outgoing {
    Outgoing {
        destination,
        body: Bytes::from(format!("body of {id}")),
        properties: Properties { message_id: Some(id.into()), ..Properties::default() },
    }
}

fn to(place: Place, id: &str) -> Outgoing {
    outgoing(Destination::Place(place), id)
}

fn id(message: &Message) -> String {
    message.properties.message_id.clone().expect("every message of these tests has an id")
}

async fn receive(messages: &mut Receiver<Box<Message>>) -> Message {
    *timeout(LONG, messages.recv()).await.expect("a message comes").expect("the subscription goes on")
}

/// Takes what comes until `wanted` ids were seen, acks it all, and returns the ids.
async fn take_all(messages: &mut Receiver<Box<Message>>, wanted: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    while ids.len() < wanted {
        let message = receive(messages).await;
        if message.ticket.ack().await {
            ids.insert(id(&message));
        }
    }
    ids
}

async fn until<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let deadline = Instant::now() + LONG;
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until_depth(rabbit: &impl Queue, place: Place, wanted: u64) {
    until("the queue has that many messages", || async {
        rabbit.depths(std::slice::from_ref(&place)).await == [Some(wanted)]
    })
    .await;
}

async fn until_up(rabbit: &RabbitMq, wanted: bool) {
    let mut up = rabbit.up();
    timeout(LONG, up.wait_for(|up| *up == wanted)).await.expect("it changes").expect("it is told");
}

/// A client of its own, for what the adapter doesn't do.
async fn bare(broker: &Broker) -> (Connection, Channel) {
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn declare_bare(channel: &Channel, name: &str, arguments: Vec<(&str, AMQPValue)>) {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(name.into(), value);
    }
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.into(), options, table).await.unwrap();
}

fn quorum() -> (&'static str, AMQPValue) {
    ("x-queue-type", AMQPValue::LongString("quorum".into()))
}

// ---------------------------------------------------------------------------------------------
// Broker objects
// ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_declared_and_declared_again() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let config = config(&broker.url(), &prefix);
    let objects = topology(&prefix, &places());
    assert_eq!(declare(&config, &places()).await.unwrap(), objects);
    assert_eq!(declare(&config, &places()).await.unwrap(), objects);

    let listed = broker.ctl(&["list_queues", "name", "type", "durable"]);
    let mut ours: Vec<&str> = listed.lines().filter(|line| line.starts_with(&prefix)).collect();
    ours.sort_unstable();
    let mut expected: Vec<String> = objects
        .iter()
        .map(ToString::to_string)
        .filter_map(|object| Some(format!("{}\tquorum\ttrue", object.strip_prefix("queue ")?)))
        .collect();
    expected.sort_unstable();
    assert_eq!(ours, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_other_arguments_is_named_and_stops_the_start() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let (_connection, channel) = bare(broker).await;
    let name = format!("{prefix}.due");
    declare_bare(&channel, &name, vec![quorum()]).await;

    let config = config(&broker.url(), &prefix);
    let error = declare(&config, &places()).await.unwrap_err();
    assert!(matches!(&error, DeclareError::Mismatch { object, .. } if *object == format!("queue {name}")));
    assert!(error.to_string().contains(&name) && error.to_string().contains("delete it"), "{error}");

    let rabbit = RabbitMq::start(config, &places(), Arc::new(Dice));
    let refused = timeout(LONG, rabbit.started()).await.unwrap().unwrap_err();
    assert_eq!(refused, error);
    assert!(!*rabbit.up().borrow());
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_and_a_broker_that_is_down_are_told_apart_without_the_password() {
    let broker = Broker::shared();
    let right = broker.url();
    let config = |url: String| config(&url, &unique_prefix());

    let wrong = config(right.replace("guest:guest@", "guest:s3cret@"));
    let login = declare(&wrong, &[]).await.unwrap_err();
    assert!(matches!(login, DeclareError::Login(_)), "{login}");
    assert!(!login.to_string().contains("s3cret"));
    let rabbit = RabbitMq::start(wrong, &[], Arc::new(Dice));
    assert!(matches!(timeout(LONG, rabbit.started()).await.unwrap(), Err(DeclareError::Login(_))));
    rabbit.close().await;

    let vhost = declare(&config(right.replace("%2f", "nowhere")), &[]).await.unwrap_err();
    assert!(matches!(vhost, DeclareError::Login(_)), "{vhost}");

    // Nothing listens on port 1 of loopback.
    let down = config("amqp://guest:s3cret@127.0.0.1:1/%2f".into());
    let unreachable = declare(&down, &[]).await.unwrap_err();
    assert!(matches!(unreachable, DeclareError::Unreachable(_)), "{unreachable}");
    assert!(!unreachable.to_string().contains("s3cret"));

    // Of several nodes the first that answers is taken.
    let mut several = config(right);
    several.urls.insert(0, Secret::new("amqp://guest:guest@127.0.0.1:1/%2f"));
    declare(&several, &[]).await.unwrap();
}

// ---------------------------------------------------------------------------------------------
// Messages
// ---------------------------------------------------------------------------------------------

on_every_queue! {
    a_message_arrives_with_all_that_belongs_to_it,
    headers_of_our_own_come_from_ourselves_alone,
    what_no_queue_takes_is_said,
    a_rung_of_the_ladder_comes_out_at_due,
    no_more_than_the_prefetch_is_in_hand,
    depths_tell_what_waits_and_pass_over_what_is_missing,
}

on_every_server! {
    a_stopped_queue_hands_out_nothing_more_and_still_settles,
    a_dropped_receiver_ends_its_subscription,
}

/// What paceline tells itself of a delivery is not a producer's to say.
async fn headers_of_our_own_come_from_ourselves_alone<B: Bench>() {
    let bench = B::start().await;
    let port = bench.connect().await;
    let mut messages = port.subscribe(jobs(), 10);
    let names = ["paceline-instance", "paceline-outcome", "paceline-replay", "traceparent"];
    let cases = [
        (Destination::Jobs("shop".into()), vec!["paceline-replay", "traceparent"]),
        (Destination::Place(jobs()), names.to_vec()),
    ];
    for (destination, expected) in cases {
        let mut message = outgoing(destination, "m");
        message.properties.headers = names.map(|name| (name.to_owned(), "1".to_owned())).into();
        port.publish(message).await.unwrap();
        let got = receive(&mut messages).await;
        let mut found: Vec<&str> = got.properties.headers.iter().map(|(name, _)| name.as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, expected);
        assert!(got.ticket.ack().await);
    }
    port.close().await;
}

async fn what_no_queue_takes_is_said<B: Bench>() {
    let bench = B::start().await;
    let port = bench.connect().await;
    let nobody = || AccountName::new("nobody").unwrap();
    for destination in [
        Destination::Jobs("nobody".into()),
        Destination::Place(Place::Jobs(nobody())),
        Destination::Reply { queue: "nobodys".into() },
        Destination::Delay(99),
    ] {
        let said = port.publish(outgoing(destination.clone(), "m")).await;
        assert_eq!(said, Err(PublishError::Unroutable), "{destination:?}");
    }
    let receipt = Destination::Receipts { routing_key: "shop.createMessage.dead".into() };
    let mut message = outgoing(receipt, "m");
    message.body = Bytes::from_static(b"{}");
    assert_eq!(port.publish(message).await, Ok(()), "a receipt that nobody wants is no error");
    port.close().await;
}

mod of_several_processes {
    use super::what_a_process_held_goes_to_another_when_it_ends;

    crate::contract::queues::on_every_shared_queue! { what_a_process_held_goes_to_another_when_it_ends }
}

async fn what_a_process_held_goes_to_another_when_it_ends<B: Bench>() {
    let bench = B::start().await;
    let (first, second) = (bench.connect().await, bench.connect().await);
    for n in 0..3 {
        first.publish(to(jobs(), &n.to_string())).await.unwrap();
    }
    let mut messages = first.subscribe(jobs(), 3);
    let acked = receive(&mut messages).await;
    let held = [receive(&mut messages).await, receive(&mut messages).await];
    assert!(acked.ticket.ack().await);
    first.close().await;
    assert!(held.iter().all(|message| message.ticket.is_stale()));
    let mut messages = second.subscribe(jobs(), 3);
    let mut found = BTreeSet::new();
    for _ in 0..2 {
        let again = receive(&mut messages).await;
        assert_eq!(again.redeliveries, 1, "{}", id(&again));
        found.insert(id(&again));
        assert!(again.ticket.ack().await);
    }
    assert_eq!(found, held.iter().map(id).collect::<BTreeSet<_>>());
    until_depth(&*second, jobs(), 0).await;
    second.close().await;
}

async fn a_message_arrives_with_all_that_belongs_to_it<B: Bench>() {
    let bench = B::start().await;
    let rabbit = bench.connect().await;
    let mut messages = rabbit.subscribe(jobs(), 10);
    let properties = Properties {
        message_id: Some("m-1".into()),
        reply_to: Some("theirs".into()),
        correlation_id: Some("c-1".into()),
        timestamp: Some(Timestamp::from_second(1_700_000_000).unwrap()),
        content_type: Some("application/json".into()),
        headers: vec![("theirs".into(), "1".into()), ("traceparent".into(), "00-ü-01".into())],
    };
    let body = Bytes::from(vec![b'x'; 300_000]);
    let message = Outgoing {
        destination: Destination::Jobs("shop".into()),
        body: body.clone(),
        properties: properties.clone(),
    };
    rabbit.publish(message).await.unwrap();

    let message = receive(&mut messages).await;
    assert_eq!(message.body, body);
    assert_eq!(message.properties, properties);
    assert_eq!((message.place.clone(), message.redeliveries), (jobs(), 0));
    assert!(!message.ticket.is_stale());

    message.ticket.requeue().await;
    let again = receive(&mut messages).await;
    assert_eq!((again.properties.clone(), again.redeliveries), (properties, 1));
    assert!(again.ticket.ack().await);
    assert!(!again.ticket.ack().await, "a message is settled once");
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_other_producers_come_as_texts() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let rabbit = start(broker, &prefix).await;
    let (_connection, channel) = bare(broker).await;
    let mut table = FieldTable::default();
    table.insert("number".into(), AMQPValue::LongLongInt(-5));
    table.insert("flag".into(), AMQPValue::Boolean(true));
    table.insert("x-death".into(), AMQPValue::LongString("copied".into()));
    let properties = BasicProperties::default().with_headers(table);
    let queue = format!("{prefix}.jobs.shop");
    channel
        .basic_publish("".into(), queue.as_str().into(), BasicPublishOptions::default(), b"b", properties)
        .await
        .unwrap();
    let message = receive(&mut rabbit.subscribe(jobs(), 1)).await;
    assert_eq!(
        message.properties,
        Properties { headers: vec![("number".into(), "-5".into())], ..Properties::default() }
    );
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_thousands_of_publishes_at_once_each_gets_its_own_answer() {
    let rabbit = start(Broker::shared(), &unique_prefix()).await;
    let begun = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let rabbit = rabbit.clone();
            tokio::spawn(async move {
                for n in (task..5000).step_by(64) {
                    let id = format!("m-{n}");
                    let (destination, routable) = match n % 15 {
                        0 => (Destination::Reply { queue: "nobody".into() }, false),
                        5 => (Destination::Jobs("unknown".into()), false),
                        10 => (Destination::Place(Place::Jobs(AccountName::new("x").unwrap())), false),
                        _ => (Destination::Place(jobs()), true),
                    };
                    let expected = if routable { Ok(()) } else { Err(PublishError::Unroutable) };
                    assert_eq!(rabbit.publish(outgoing(destination, &id)).await, expected, "{id}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!("5000 publishes from 64 tasks: {:.0}/s", 5000.0 / begun.elapsed().as_secs_f64());

    let expected: BTreeSet<String> = (0..5000).filter(|n| n % 5 != 0).map(|n| format!("m-{n}")).collect();
    let mut messages = rabbit.subscribe(jobs(), 200);
    assert_eq!(take_all(&mut messages, expected.len()).await, expected);
    until_depth(&*rabbit, jobs(), 0).await;
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unroutable_messages_without_an_id_are_told_from_routable_ones() {
    let rabbit = start(Broker::shared(), &unique_prefix()).await;
    let without_id =
        |destination| Outgoing { properties: Properties::default(), ..outgoing(destination, "") };
    let publishes = (0..300).map(|n| {
        let routable = n % 2 == 0;
        let destination =
            if routable { Destination::Place(jobs()) } else { Destination::Reply { queue: "nobody".into() } };
        let expected = if routable { Ok(()) } else { Err(PublishError::Unroutable) };
        let publish = rabbit.publish(without_id(destination));
        async move { assert_eq!(publish.await, expected, "{n}") }
    });
    futures_util::future::join_all(publishes).await;
    until_depth(&*rabbit, jobs(), 150).await;
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_nobody_wants_is_published_and_a_bound_one_arrives() {
    let broker = Broker::shared();
    let prefix = unique_prefix();
    let rabbit = start(broker, &prefix).await;
    let receipt =
        |id| outgoing(Destination::Receipts { routing_key: "shop.createMessage.delivered".into() }, id);
    assert_eq!(rabbit.publish(receipt("unwanted")).await, Ok(()));

    let (_connection, channel) = bare(broker).await;
    let queue = format!("{prefix}-bound");
    declare_bare(&channel, &queue, vec![quorum()]).await;
    let exchange = format!("{prefix}.receipts");
    let (name, from) = (queue.as_str().into(), exchange.as_str().into());
    channel.queue_bind(name, from, "shop.#".into(), Default::default(), FieldTable::default()).await.unwrap();
    assert_eq!(rabbit.publish(receipt("wanted")).await, Ok(()));
    let got = channel.basic_get(queue.as_str().into(), Default::default()).await.unwrap().unwrap();
    assert_eq!(got.delivery.properties.message_id().as_ref().unwrap().as_str(), "wanted");
    assert_eq!(*got.delivery.properties.delivery_mode(), Some(2));
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses() {
    let broker = Broker::shared();
    let queue = format!("{}-small", unique_prefix());
    let (_connection, channel) = bare(broker).await;
    let overflow = ("x-overflow", AMQPValue::LongString("reject-publish".into()));
    declare_bare(&channel, &queue, vec![quorum(), ("x-max-length", AMQPValue::LongInt(1)), overflow]).await;

    let rabbit = start(broker, &unique_prefix()).await;
    let mut answers = Vec::new();
    for n in 0..20 {
        let reply = Destination::Reply { queue: queue.clone() };
        answers.push(rabbit.publish(outgoing(reply, &n.to_string())).await);
    }
    assert_eq!(answers[0], Ok(()));
    assert_eq!(answers[19], Err(PublishError::Refused));
    assert!(
        answers.iter().all(|answer| matches!(answer, Ok(()) | Err(PublishError::Refused))),
        "{answers:?}"
    );
    assert_eq!(rabbit.publish(to(jobs(), "beside it")).await, Ok(()));
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_is_answered_and_spoils_nothing() {
    let rabbit = start(Broker::shared(), &unique_prefix()).await;
    let long = "x".repeat(256);
    let unroutable = Err(PublishError::Unroutable);
    assert_eq!(rabbit.publish(outgoing(Destination::Delay(10), "rung")).await, unroutable);
    assert_eq!(
        rabbit.publish(outgoing(Destination::Reply { queue: long.clone() }, "name")).await,
        unroutable
    );
    assert!(matches!(rabbit.publish(to(jobs(), &long)).await, Err(PublishError::Unconfirmed(_))));
    let mut headers = to(jobs(), "headers");
    headers.properties.set_header("large", "x".repeat(200_000));
    assert!(matches!(rabbit.publish(headers).await, Err(PublishError::Unconfirmed(_))));
    let mut largest = to(jobs(), "largest");
    largest.properties.set_header("large", "x".repeat(119_000));
    assert_eq!(rabbit.publish(largest).await, Ok(()));
    assert_eq!(rabbit.publish(to(jobs(), "next")).await, Ok(()));
    rabbit.close().await;
}

async fn a_rung_of_the_ladder_comes_out_at_due<B: Bench>() {
    let bench = B::start().await;
    let rabbit = bench.connect().await;
    let mut due = rabbit.subscribe(Place::Due, 10);
    let mut message = outgoing(Destination::Delay(0), "later");
    message.properties.set_header("paceline-a", "1");
    let begun = Instant::now();
    rabbit.publish(message.clone()).await.unwrap();
    let got = receive(&mut due).await;
    assert!(begun.elapsed() >= Duration::from_millis(990), "came after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!((got.properties.clone(), got.redeliveries), (message.properties, 0));
    assert!(got.ticket.ack().await);
    rabbit.close().await;
}

async fn no_more_than_the_prefetch_is_in_hand<B: Bench>() {
    let bench = B::start().await;
    let rabbit = bench.connect().await;
    let lane = || Place::Lane(shop(), Line::MAIN, Priority::High);
    for n in 0..10 {
        rabbit.publish(to(lane(), &n.to_string())).await.unwrap();
    }
    let mut messages = rabbit.subscribe(lane(), 3);
    let mut hand = Vec::new();
    for _ in 0..3 {
        hand.push(receive(&mut messages).await);
    }
    until_depth(&*rabbit, lane(), 7).await;
    assert!(messages.try_recv().is_err());
    assert!(hand.pop().unwrap().ticket.ack().await);
    hand.push(receive(&mut messages).await);
    until_depth(&*rabbit, lane(), 6).await;
    assert!(messages.try_recv().is_err());
    rabbit.close().await;
}

async fn depths_tell_what_waits_and_pass_over_what_is_missing<B: Bench>() {
    let bench = B::start().await;
    let rabbit = bench.connect().await;
    let mut messages = rabbit.subscribe(jobs(), 1);
    rabbit.publish(to(jobs(), "held")).await.unwrap();
    let held = receive(&mut messages).await;
    rabbit.publish(to(Place::Retry(shop(), Line::MAIN), "1")).await.unwrap();
    rabbit.publish(to(Place::Retry(shop(), Line::MAIN), "2")).await.unwrap();
    let missing = Place::Jobs(AccountName::new("missing").unwrap());
    let places = [missing.clone(), Place::Retry(shop(), Line::MAIN), missing, Place::Dead];
    until("the queue counts both", || async {
        rabbit.depths(&places).await == [None, Some(2), None, Some(0)]
    })
    .await;
    assert!(held.ticket.ack().await, "asking disturbs no subscription");
    rabbit.close().await;
    assert_eq!(rabbit.depths(&places).await, [None; 4]);
}

// ---------------------------------------------------------------------------------------------
// The end of a worker
// ---------------------------------------------------------------------------------------------

async fn a_stopped_queue_hands_out_nothing_more_and_still_settles<B: Bench>() {
    let bench = B::start().await;
    let rabbit = bench.connect().await;
    for n in 0..20 {
        rabbit.publish(to(jobs(), &format!("{n:02}"))).await.unwrap();
    }
    let mut messages = rabbit.subscribe(jobs(), 5);
    let first = receive(&mut messages).await;
    let second = receive(&mut messages).await;
    rabbit.stop().await;

    let mut buffered = Vec::new();
    while let Some(message) = timeout(LONG, messages.recv()).await.expect("the subscription ends") {
        buffered.push(message);
    }
    assert!(buffered.len() <= 3, "{} were handed out after the stop", buffered.len());
    assert!(rabbit.subscribe(jobs(), 5).recv().await.is_none(), "nothing begins after the stop");
    assert!(first.ticket.ack().await);
    assert_eq!(rabbit.publish(to(jobs(), "99")).await, Ok(()), "publishing goes on");
    rabbit.close().await;
    assert!(second.ticket.is_stale());
    assert!(!second.ticket.ack().await);
    assert!(matches!(rabbit.publish(to(jobs(), "late")).await, Err(PublishError::Unconfirmed(_))));

    let other = bench.connect().await;
    let expected: BTreeSet<String> = (0..20)
        .map(|n| format!("{n:02}"))
        .filter(|other| *other != id(&first))
        .chain(["99".into()])
        .collect();
    let mut messages = other.subscribe(jobs(), 50);
    assert_eq!(take_all(&mut messages, expected.len()).await, expected);
    until_depth(&*other, jobs(), 0).await;
    other.close().await;
}

async fn a_dropped_receiver_ends_its_subscription<B: Bench>() {
    let bench = B::start().await;
    let rabbit = bench.connect().await;
    let mut messages = rabbit.subscribe(jobs(), 1);
    rabbit.publish(to(jobs(), "1")).await.unwrap();
    let first = receive(&mut messages).await;
    drop(messages);
    rabbit.publish(to(jobs(), "2")).await.unwrap();
    assert!(first.ticket.ack().await, "what was given out can be settled");
    let mut messages = rabbit.subscribe(jobs(), 1);
    assert_eq!(id(&receive(&mut messages).await), "2");
    rabbit.close().await;
}
