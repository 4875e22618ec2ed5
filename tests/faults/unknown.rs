//! Requests of which nobody knows whether they were taken.

use paceline::ports::Properties;
use paceline::simulator::faults::FaultPlan;
use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, properties, user_job};
use crate::support::world::{Options, World, eventually};

/// Longer than a test takes to kill the worker that waits for the answer.
const PATIENT: &[(&str, &str)] =
    &[("PACELINE__WORKER__REQUEST_TIMEOUT", "8s"), ("PACELINE__WORKER__LEASE", "16s")];

/// Longer than any lease of these tests.
const LEASE: i64 = 20;

async fn world(news: &'static str, faults: &[&str]) -> World {
    let world = World::with(Options { news, env: PATIENT, ..Options::default() }).await;
    world.provider.set_faults(FaultPlan::parse(faults).expect("a fault plan"));
    world
}

/// Publishes, waits until as many requests arrived (the provider never answers them), and kills the
/// worker that sent them.
async fn killed_while_sending(world: &mut World, jobs: &[Value]) {
    world.start_worker().await;
    let before = world.provider.summary().counts.requests;
    world.publish(jobs).await;
    arrived(world, before, jobs.len()).await;
    world.kill_worker(0).await;
}

async fn arrived(world: &World, before: u64, requests: usize) {
    eventually("the requests arrived", || async {
        world.provider.summary().counts.requests - before == requests as u64
    })
    .await;
}

fn requests_for(world: &World, id: &str) -> usize {
    let carries = |delivery: &paceline::simulator::DeliveryRecord| delivery.id.as_deref() == Some(id);
    world.provider.ledger().iter().filter(|entry| entry.deliveries.iter().any(carries)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_was_sending_is_sent_again_where_the_provider_recognises_it() {
    let mut world = world("", &["hang-after*3"]).await;
    let jobs = [exempt_job("e"), counted_job("c", "normal"), user_job("u")];
    killed_while_sending(&mut world, &jobs).await;
    world.start_worker().await;
    world.settle().await;
    for id in ["e", "c"] {
        assert_eq!(world.receipts_of(id)[0]["status"], "delivered", "{id}");
        assert_eq!(requests_for(&world, id), 2, "{id}");
    }
    assert_eq!(world.receipts_of("u")[0]["reason"], "uncertain");
    let counts = world.provider.summary().counts;
    assert_eq!((counts.accepted, counts.suppressed, counts.requests), (3, 2, 5));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_worker_was_sending_to_a_user_is_sent_again_where_the_account_says_so() {
    let mut world = world("on_unknown = \"resend\"", &["hang-after*1"]).await;
    killed_while_sending(&mut world, &[user_job("u")]).await;
    world.let_pass("news", "u", LEASE).await;
    world.start_worker().await;
    world.settle().await;
    let receipt = world.receipts_of("u")[0];
    assert_eq!((&receipt["status"], &receipt["attempts"]), (&"delivered".into(), &2.into()));
    assert_eq!(world.provider.summary().counts.requests, 2);
    // Nobody could know that the first one was taken.
    world.may_be_taken_twice(1);
    world.finish().await;
}

/// Pushwoosh recognises a `createMessage` for 5 minutes. All of it happens again and again while no
/// answer ever comes; the time between is made to pass in the store.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_a_provider_recognises_a_repeat_is_counted_from_the_first_attempt() {
    let mut world = world("", &["hang-after*3"]).await;
    let jobs = [exempt_job("late"), exempt_job("soon"), exempt_job("again")];
    killed_while_sending(&mut world, &jobs).await;
    for (id, seconds) in [("late", 290), ("soon", 200), ("again", 200)] {
        world.let_pass("shop", id, seconds).await;
    }
    world.provider.set_faults(FaultPlan::parse(&["hang-after*2"]).expect("a fault plan"));
    let before = world.provider.summary().counts.requests;
    world.start_worker().await;
    arrived(&world, before, 2).await;
    world.kill_worker(0).await;
    world.let_pass("shop", "soon", LEASE).await;
    // 290 seconds after its first attempt, and 90 after its second.
    world.let_pass("shop", "again", 90).await;
    world.start_worker().await;
    world.settle().await;
    for (id, end, requests) in [("late", "dead", 1), ("soon", "delivered", 3), ("again", "dead", 2)] {
        let receipt = world.receipts_of(id)[0];
        assert_eq!(receipt["status"], end, "{receipt}");
        assert_eq!(requests_for(&world, id), requests, "{id}");
        if end == "dead" {
            assert_eq!(receipt["reason"], "uncertain", "{receipt}");
        }
    }
    assert_eq!(world.provider.summary().counts.accepted, 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_id_wait_while_one_of_them_is_being_sent() {
    let mut options = Options::default();
    options.simulator.faults.latency = "2s".parse().expect("a span");
    let mut world = World::with(options).await;
    world.start_worker().await;
    world.start_worker().await;
    let jobs = [counted_job("one", "high"), exempt_job("two"), user_job("three")];
    for _ in 0..3 {
        world.publish(&jobs).await;
    }
    world.settle().await;
    assert_eq!((world.count("delivered"), world.count("duplicate")), (3, 6), "{:?}", world.receipts());
    assert_eq!(world.provider.summary().counts.requests, 3, "nobody else sends what is being sent");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_message_of_a_finished_delivery_repeats_its_receipt() {
    use futures_util::StreamExt as _;
    let mut world = World::new().await;
    let connection =
        lapin::Connection::connect(&world.broker().url(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("seen-{}", world.prefix());
    let exclusive = lapin::options::QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), exclusive, Default::default()).await.unwrap();
    world.bind_to_receipts(&channel, &queue).await;
    let take_all = lapin::options::BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut receipts =
        channel.basic_consume(queue.as_str().into(), "".into(), take_all, Default::default()).await.unwrap();

    let mut refused = counted_job("refused", "normal");
    refused["payload"]["notifications"][0]["content"] = "faulty".into();
    world.start_worker().await;
    for job in [exempt_job("sent"), refused] {
        // Without a time of publishing a receipt tells the time of intake, which is another each time.
        let message = Properties { timestamp: Some(jiff::Timestamp::now()), ..properties() };
        let body = job.to_string().into_bytes();
        world.publish_raw("shop", &body, message.clone(), 1).await.unwrap();
        let first = receipts.next().await.unwrap().unwrap();
        let requests = world.provider.summary().counts.requests;
        // As after a crash that came before the ack.
        world.publish_raw("shop", &body, message, 0).await.unwrap();
        let again = receipts.next().await.unwrap().unwrap();
        assert_eq!(String::from_utf8(first.data), String::from_utf8(again.data));
        assert_eq!(first.properties.message_id(), again.properties.message_id());
        assert_eq!(world.provider.summary().counts.requests, requests, "nothing is sent again");
    }
    // That both messages are acked is seen by the queues, which are empty.
    world.finish().await;
}
