//! What the on-call engineer sees, with real workers.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use paceline::simulator::faults::FaultPlan;

use crate::support::jobs::counted_job;
use crate::support::world::{Options, World, eventually};

/// `paceline status`, as (exit status, standard output).
async fn status(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<&str> = ["status"].iter().chain(arguments).copied().collect();
    let output = world.command(&arguments).output().await.expect("the command runs");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// The main limit of the account `shop`, once something holds of it.
async fn shop_once(world: &World, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let seen = std::sync::Mutex::new(Value::Null);
    eventually(what, || async {
        let (code, text) = status(world, &["shop", "--json"]).await;
        assert_eq!(code, Some(0), "{text}");
        let picture: Value = serde_json::from_str(&text).expect("one JSON object");
        let main = picture["accounts"][0]["limits"][0].clone();
        let found = holds(&main);
        *seen.lock().unwrap() = main;
        found
    })
    .await;
    seen.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn what_waits_is_shown_with_its_age_its_limit_and_its_pause() {
    let shop = "requests_per_minute = 60\nnotifications_per_request = 1";
    let mut world = World::with(Options { shop, ..Options::default() }).await;
    world.start_worker().await;
    let jobs: Vec<Value> = (0..12).map(|n| counted_job(&format!("w-{n}"), "normal")).collect();
    world.publish(&jobs).await;
    let main = shop_once(&world, "what waits is seen", |main| {
        main["lanes"]["normal"]["waiting"].as_u64() >= Some(5)
            && main["lanes"]["normal"]["oldestAgeSeconds"].is_number()
            && main["usedLast60s"].as_u64() >= Some(1)
    })
    .await;
    assert_eq!(main["windows"], json!([{"requests": 60, "seconds": 60.0}]));
    assert_eq!(main["lanes"]["high"], json!({"waiting": 0, "oldestAgeSeconds": null}));
    assert_eq!(main["paused"], Value::Null);
    let waiting = main["lanes"]["normal"]["waiting"].as_f64().unwrap();
    let drain = main["drainSeconds"].as_f64().unwrap();
    assert!((waiting..waiting * 1.1 + 5.0).contains(&drain), "{main}");
    let (code, text) = status(&world, &[]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("60/min") && text.contains("news") && text.contains("store up"), "{text}");

    world.provider.set_faults(FaultPlan::parse(&["429=6s*1"]).unwrap());
    shop_once(&world, "the pause is seen", |main| main["paused"]["cause"] == "throttled").await;
    let (_, text) = status(&world, &["shop"]).await;
    assert!(text.contains("! shop is paused (throttled) for"), "{text}");
    world.settle().await;
    shop_once(&world, "nothing waits", |main| main["drainSeconds"] == 0.0 && main["paused"].is_null()).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_declares_nothing_and_says_what_is_missing() {
    let world = World::new().await;
    let mut command = world.command(&["status"]);
    let output = command.env("PACELINE__QUEUE__PREFIX", "mistyped").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("\"mistyped\" the right prefix"), "{text}");
    let connection =
        lapin::Connection::connect(&world.broker().url(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare("mistyped.jobs.shop".into(), options, FieldTable::default()).await;
    assert!(found.is_err(), "looking made a queue");

    let (code, text) = status(&world, &["nobody"]).await;
    assert_eq!((code, text.as_str()), (Some(2), ""));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_said_and_the_queues_are_shown() {
    let mut world = World::new().await;
    world.redis.kill();
    let (code, text) = status(&world, &["--json"]).await;
    let picture: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &picture["store"], &picture["broker"]),
        (Some(1), &json!(false), &json!(true)),
        "{text}"
    );
    assert!(picture["problems"][0].as_str().unwrap().contains("store.url"), "{text}");
    assert_eq!(picture["accounts"][1]["jobs"]["waiting"], 0, "{text}");
    world.redis.restart().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_makes_no_trip_to_the_store() {
    let mut world = World::new().await;
    world.start_worker().await;
    world.publish(&[counted_job("only", "normal")]).await;
    world.settle().await;
    let reports = format!("{{{}:sightings}}", world.prefix());
    eventually("what was reported is taken back", || async {
        let mut connection = world.redis.connection().await;
        let found: bool = ::redis::cmd("EXISTS").arg(&reports).query_async(&mut connection).await.unwrap();
        !found
    })
    .await;
    let before = scripts_run(&world).await;
    // Longer than any pause between two reports, tries or probes of a worker that has something to do.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(scripts_run(&world).await, before);
    world.finish().await;
}

async fn scripts_run(world: &World) -> u64 {
    let mut connection = world.redis.connection().await;
    let stats: String = ::redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.unwrap();
    let calls = stats.lines().filter(|line| line.starts_with("cmdstat_eval"));
    calls.filter_map(|line| line.split("calls=").nth(1)?.split(',').next()?.parse::<u64>().ok()).sum()
}
