//! Each of these went wrong once.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use paceline::adapters::redis::{RedisStore, StoreSettings};
use paceline::job::{DeliveryId, Instance, Line, TransactionId};
use paceline::pipeline::suspect::{Step, fingerprint};
use paceline::ports::{ClaimRequest, Claims, History, Place, Properties, Purpose};
use paceline::simulator::faults::FaultPlan;
use serde_json::Value;
use tokio::time::Instant;

use super::poison::crash_on;
use crate::support::jobs::{account, counted_job, exempt_job, properties, user_job};
use crate::support::redis;
use crate::support::world::{Options, World, eventually};

fn faults(rules: &[&str]) -> FaultPlan {
    FaultPlan::parse(rules).expect("a fault plan")
}

async fn store_of(world: &World) -> std::sync::Arc<RedisStore> {
    let settings = StoreSettings {
        prefix: world.prefix().to_owned(),
        lease: Duration::from_secs(11),
        ..redis::settings(&world.redis.url())
    };
    redis::connect(settings, Vec::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_reply_queue_holds_up_nobody() {
    let mut world = World::new().await;
    let connection =
        lapin::Connection::connect(&world.broker().url(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let queue = format!("full-{}", world.prefix());
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
    world.start_worker().await;
    for n in 0..130 {
        let message = Properties { reply_to: Some(queue.clone()), ..properties() };
        let body = exempt_job(&format!("full-{n}")).to_string();
        world.publish_raw("shop", body.as_bytes(), message, 1).await.unwrap();
    }
    world.publish(&[exempt_job("otp")]).await;
    world.wait_for_ends_within(131, Duration::from_secs(30)).await;
    assert_eq!(world.count("delivered"), 131);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_claim_makes_nothing_unknown() {
    let news = "requests_per_minute = \"unlimited\"";
    let mut world = World::with(Options { news, ..Options::default() }).await;
    world.start_worker().await;
    world.publish(&[user_job("first")]).await;
    world.settle().await;
    // The store runs the claims, but too late for the worker to hear of it.
    world.redis.freeze();
    world.publish(&[user_job("u-1"), user_job("u-2"), exempt_job("e-1")]).await;
    eventually("the claims were given up", || async { world.whole_logs().matches("no claims").count() >= 3 })
        .await;
    world.redis.thaw();
    let thawed = Instant::now();
    world.settle().await;
    assert_eq!(world.count("delivered"), 4, "{:?}", world.receipts());
    assert!(thawed.elapsed() < Duration::from_secs(8), "a lease was waited for: {:?}", thawed.elapsed());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_limit_waits_when_it_is_throttled() {
    let shop = "requests_per_minute = \"unlimited\"";
    let mut world = World::with(Options { shop, ..Options::default() }).await;
    world.provider.set_faults(faults(&["429=3s*2"]));
    world.start_worker().await;
    world.publish(&[exempt_job("a"), exempt_job("b")]).await;
    world.settle().await;
    let times: Vec<u64> = world.provider.ledger().iter().map(|entry| entry.at_us).collect();
    assert!(times.len() <= 5, "{} requests for two jobs and two refusals", times.len());
    let pause = Duration::from_micros(times[times.len() - 1] - times[1]);
    assert!(pause >= Duration::from_secs(3), "went on after {pause:?} of 3 s");
    assert_eq!(world.count("delivered"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_that_died_while_sending_keeps_its_name_and_is_uncertain() {
    let mut world = World::new().await;
    let guilty = properties();
    let body = exempt_job("guilty").to_string();
    world.publish_raw("shop", body.as_bytes(), guilty.clone(), 1).await.unwrap();
    crash_on(&world, &format!("{}.jobs.shop", world.prefix()), 1, 6).await;
    let store = store_of(&world).await;
    let message_id = guilty.message_id.as_deref();
    let instance = Instance::of(message_id.unwrap(), 0);
    let print = |step| fingerprint(step, Some(&account("shop")), Some(&instance), body.as_bytes());
    for handling in ["one", "two"] {
        store.count_suspect(&print(Step::Together), handling).await.unwrap();
    }
    for handling in ["one", "two", "three"] {
        store.count_suspect(&print(Step::Lead), handling).await.unwrap();
    }
    // The third handling died a moment ago, while it was sending.
    let claimed = ClaimRequest {
        line: Line::MAIN,
        account: account("shop"),
        id: DeliveryId::from(&TransactionId::new("guilty").unwrap()),
        instance,
        purpose: Purpose::Send,
        remembered: History::default(),
        replay: None,
        token: "of the dead worker".into(),
    };
    store.claim(&[claimed]).await.unwrap();
    world.start_worker().await;
    world.settle().await;
    let receipt = world.receipts()[0];
    assert_eq!((&receipt["reason"], &receipt["transactionId"]), (&"uncertain".into(), &"guilty".into()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_end_survives_a_store_that_is_away_for_longer_than_a_message_is_held() {
    let mut options = Options { env: &[("PACELINE__WORKER__HOLD", "10s")], ..Options::default() };
    options.simulator.faults.latency = "1s".parse().expect("a span");
    let mut world = World::with(options).await;
    world.start_worker().await;
    world.publish(&[exempt_job("known"), exempt_job("known-too")]).await;
    eventually("both requests arrived", || async { world.provider.summary().counts.requests == 2 }).await;
    world.redis.freeze();
    eventually("both ends went back with their messages", || async {
        world.whole_logs().matches("goes back with its message").count() >= 2
    })
    .await;
    world.redis.thaw();
    world.settle().await;
    assert_eq!(world.count("delivered"), 2, "{:?}", world.receipts());
    assert_eq!(world.provider.summary().counts.requests, 2, "nothing was sent again");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_of_a_paused_account_waits_without_spinning() {
    let mut world = World::new().await;
    let store = store_of(&world).await;
    store.pause(&account("shop")).await.unwrap();
    let headers = vec![("paceline-crashes".into(), "3".into()), ("paceline-instance".into(), "m/0".into())];
    let body = exempt_job("suspect").to_string();
    let message = Properties { headers, ..properties() };
    world.publish_inside(Place::Jobs(account("shop")), body.as_bytes(), message, 1).await;
    // Two processes died with it.
    let name = Instance::from_header("m/0");
    let print = fingerprint(Step::Together, Some(&account("shop")), Some(&name), body.as_bytes());
    for handling in ["one", "two"] {
        store.count_suspect(&print, handling).await.unwrap();
    }
    world.start_worker().await;
    let handled = || world.whole_logs().matches("is handled alone").count();
    eventually("it was handled", || async { handled() >= 1 }).await;
    let started = Instant::now();
    eventually("it was handled again", || async { handled() >= 5 }).await;
    assert!(started.elapsed() > Duration::from_secs(4), "it spins: {:?}", started.elapsed());
    store.resume(&account("shop"), &Line::MAIN).await.unwrap();
    world.settle().await;
    assert_eq!(world.count("delivered"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_shared_a_refused_request_are_not_blamed_together() {
    let more = "[circuit]\ncredentials_pause = \"4s\"";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    world.provider.set_faults(faults(&["401*1", "none*1", "401*1"]));
    let jobs: Vec<Value> = (0..10).map(|n| counted_job(&format!("g-{n}"), "normal")).collect();
    world.publish(&jobs).await;
    let worker = world.start_worker().await;
    let paused = "paceline_account_paused{account=\"shop\",cause=\"credentials\"} 1";
    eventually("the account is paused", || async {
        world.admin(worker, "/metrics").await.1.contains(paused)
    })
    .await;
    world.publish(&[exempt_job("other")]).await;
    world.settle().await;
    assert!(world.count("dead") <= 1, "{} dead: {:?}", world.count("dead"), world.receipts());
    world.finish().await;
}
