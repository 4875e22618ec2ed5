//! Messages that bring workers down.

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use paceline::job::{Instance, Line, Priority};
use paceline::pipeline::suspect::{Step, fingerprint};
use paceline::ports::{Claims, Place, Properties};

use crate::support::jobs::{account, counted_job, exempt_job, properties};
use crate::support::redis;
use crate::support::world::World;

/// Takes every message of a queue and dies with it, as a crashing worker does, so often.
pub async fn crash_on(world: &World, queue: &str, messages: usize, times: usize) {
    use futures_util::StreamExt as _;
    for _ in 0..times {
        let url = world.broker().url();
        let connection =
            lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.basic_qos(100, BasicQosOptions::default()).await.unwrap();
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "crash".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        for _ in 0..messages {
            consumer.next().await.unwrap().unwrap();
        }
        connection.close(200, "crash".into()).await.unwrap();
    }
}

fn print_of(step: Step, message: &Properties) -> String {
    let name = paceline::pipeline::envelope::message_name(message);
    fingerprint(step, Some(&account("shop")), name.as_ref(), b"")
}

async fn store_of(world: &World) -> std::sync::Arc<paceline::adapters::redis::RedisStore> {
    let settings = redis::settings(&world.redis.url());
    let prefix = world.prefix().to_owned();
    redis::connect(paceline::adapters::redis::StoreSettings { prefix, ..settings }, Vec::new()).await
}

/// Two handlings together with others, and three of a step alone, that never came to an end.
async fn killed_again_and_again(world: &World, step: Step, message: &Properties) {
    let store = store_of(world).await;
    for handling in ["one", "two"] {
        store.count_suspect(&print_of(Step::Together, message), handling).await.unwrap();
    }
    for handling in ["one", "two", "three"] {
        store.count_suspect(&print_of(step, message), handling).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_crashed_workers_ends_as_poison_and_innocents_are_delivered() {
    let mut world = World::new().await;
    let queue = format!("{}.jobs.shop", world.prefix());
    let guilty = properties();
    let body = exempt_job("guilty").to_string();
    world.publish_raw("shop", body.as_bytes(), guilty.clone(), 1).await.unwrap();
    world.publish(&[exempt_job("innocent-1"), counted_job("innocent-2", "normal")]).await;
    crash_on(&world, &queue, 3, 6).await;
    // The store holds what a worker writes down before it handles a suspect: three such handlings
    // of the guilty one never came to an end.
    killed_again_and_again(&world, Step::Lead, &guilty).await;
    world.start_worker().await;
    world.settle().await;
    assert_eq!(world.receipts_of("guilty")[0]["reason"], "poison");
    assert_eq!(world.count("delivered"), 2, "the innocent are delivered");
    assert_eq!(world.dead_letters().await.len(), 1);
    world.finish().await;
}

/// Deliveries of one job share their producer's message_id.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_crashed_workers_takes_no_other_one_of_its_job_with_it() {
    let mut world = World::new().await;
    let queue = format!("{}.normal.shop", world.prefix());
    let message_id = properties().message_id;
    let mut pieces = Vec::new();
    for n in 0..2 {
        let instance = Instance::of(message_id.as_deref().unwrap(), n);
        let headers = vec![("paceline-instance".to_owned(), instance.as_str().to_owned())];
        let piece = Properties { headers, message_id: message_id.clone(), ..Properties::default() };
        let body = counted_job(&format!("piece-{n}"), "normal").to_string();
        let lane = Place::Lane(account("shop"), Line::MAIN, Priority::Normal);
        world.publish_inside(lane, body.as_bytes(), piece.clone(), 1).await;
        pieces.push(piece);
    }
    crash_on(&world, &queue, 2, 3).await;
    killed_again_and_again(&world, Step::Lead, &pieces[0]).await;
    world.start_worker().await;
    world.settle().await;
    assert_eq!(world.receipts_of("piece-0")[0]["reason"], "poison");
    assert_eq!(world.receipts_of("piece-1")[0]["status"], "delivered");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_handling_crashed_workers_ends_delivery_by_delivery() {
    let mut world = World::new().await;
    let queue = format!("{}.jobs.shop", world.prefix());
    let guilty = properties();
    let mut job = counted_job("guilty", "normal");
    let notifications = job["payload"]["notifications"].as_array_mut().unwrap();
    notifications.push(notifications[0].clone());
    world.publish_raw("shop", job.to_string().as_bytes(), guilty.clone(), 2).await.unwrap();
    crash_on(&world, &queue, 1, 3).await;
    killed_again_and_again(&world, Step::Lead, &guilty).await;
    world.start_worker().await;
    world.settle().await;
    for id in ["guilty#0", "guilty#1"] {
        assert_eq!(world.receipts_of(id)[0]["reason"], "poison", "{id}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_without_harm_ends_in_its_name_and_through_its_claim() {
    let mut world = World::new().await;
    let lane = Place::Lane(account("shop"), Line::MAIN, Priority::Normal);
    let queue = format!("{}.normal.shop", world.prefix());
    let labelled = |instance: &str, id: &str| Properties {
        headers: [("instance", instance), ("delivery", id), ("job", id), ("operation", "createMessage")]
            .map(|(name, value)| (format!("paceline-{name}"), value.to_owned()))
            .into(),
        ..properties()
    };
    // One that nobody sent, and one that another copy of its message has delivered.
    let (fresh, copy) = (labelled("m/0", "fresh"), labelled("n/0", "sent"));
    let sent = Properties { message_id: Some("n".into()), ..Properties::default() };
    world.publish_raw("shop", exempt_job("sent").to_string().as_bytes(), sent, 1).await.unwrap();
    let worker = world.start_worker().await;
    world.settle().await;
    world.kill_worker(worker).await;
    world.publish_inside(lane.clone(), b"kills who reads it", fresh.clone(), 1).await;
    world.publish_inside(lane, b"kills who reads it", copy.clone(), 0).await;
    crash_on(&world, &queue, 2, 3).await;
    for message in [&fresh, &copy] {
        killed_again_and_again(&world, Step::Read, message).await;
    }
    world.start_worker().await;
    world.settle().await;
    let receipt = &world.receipts_of("fresh")[0];
    assert_eq!((&receipt["reason"], &receipt["operation"]), (&"poison".into(), &"createMessage".into()));
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].1, b"kills who reads it");
    assert_eq!(world.receipts_of("sent").len(), 1, "{:?}", world.receipts());
    world.finish().await;
}
