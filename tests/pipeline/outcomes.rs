//! What follows from a provider's answers, and from their absence.

use std::time::Duration;

use paceline::simulator::faults::FaultPlan;
use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::world::{Options, World, eventually};

fn faults(rules: &[&str]) -> FaultPlan {
    FaultPlan::parse(rules).expect("a fault plan")
}

async fn told(rules: &[&str], jobs: &[Value]) -> World {
    let mut world = World::new().await;
    world.provider.set_faults(faults(rules));
    world.start_worker().await;
    world.publish(jobs).await;
    world.settle().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
pub async fn what_was_not_processed_is_tried_again() {
    for fault in ["503*2", "429=1s*2"] {
        let world = told(&[fault], &[exempt_job("e"), counted_job("c", "normal")]).await;
        assert_eq!(world.count("delivered"), 2, "{fault}: {:?}", world.receipts());
        assert_eq!(world.provider.summary().counts.accepted, 2, "{fault}");
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
pub async fn throttling_uses_up_no_retry_and_is_waited_for_to_the_second() {
    let more = "[retry]\nattempts = 1\nbase = \"1s\"";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    world.provider.set_faults(faults(&["429=2s*1", "429=2s*1", "429=2s*1"]));
    world.start_worker().await;
    world.publish(&[counted_job("patient", "high")]).await;
    world.settle().await;
    let receipt = world.receipts_of("patient")[0];
    assert_eq!((&receipt["status"], &receipt["attempts"]), (&"delivered".into(), &4.into()));
    let times: Vec<u64> = world.provider.ledger().iter().map(|entry| entry.at_us).collect();
    for pair in times.windows(2) {
        let waited = Duration::from_micros(pair[1] - pair[0]).as_secs_f64();
        assert!((2.0..3.5).contains(&waited), "waited {waited} s of 2");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn retry_after_is_honoured_to_the_second() {
    let world = told(&["503=4s*1"], &[exempt_job("e")]).await;
    let times: Vec<u64> = world.provider.ledger().iter().map(|entry| entry.at_us).collect();
    assert_eq!(times.len(), 2);
    let waited = Duration::from_micros(times[1] - times[0]).as_secs_f64();
    assert!((4.0..5.5).contains(&waited), "waited {waited} s of 4");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn retries_run_out() {
    let more = "[retry]\nattempts = 2\nbase = \"1s\"\ncap = \"1s\"";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    world.provider.set_faults(faults(&["503@1"]));
    world.start_worker().await;
    world.publish(&[exempt_job("e"), user_job("u")]).await;
    world.settle().await;
    for id in ["e", "u"] {
        let receipt = world.receipts_of(id)[0];
        assert_eq!((&receipt["reason"], &receipt["attempts"]), (&"exhausted".into(), &3.into()), "{receipt}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn an_unknown_outcome_is_sent_again_only_where_the_provider_recognises_it() {
    for fault in ["reset-after*1", "hang-after*1", "garbage*1", "cut*1", "500-after*1"] {
        let world = told(&[fault], &[counted_job("known", "normal")]).await;
        let receipt = world.receipts_of("known")[0];
        assert_eq!(receipt["status"], "delivered", "{fault}: {receipt}");
        let counts = world.provider.summary().counts;
        assert_eq!((counts.accepted, counts.suppressed), (1, 1), "{fault}");
        world.finish().await;
    }
    for fault in ["reset-after*1", "garbage*1", "reset-before*1"] {
        let world = told(&[fault], &[user_job("unknown")]).await;
        let receipt = world.receipts_of("unknown")[0];
        assert_eq!(receipt["reason"], "uncertain", "{fault}: {receipt}");
        assert_eq!(world.provider.summary().counts.requests, 1, "{fault}: never a second request");
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_duplicate_campaign_name_after_an_unknown_attempt_is_a_delivery() {
    let mut job = user_job("all");
    job["payload"]["targetAudience"] = "All Users".into();
    job["payload"].as_object_mut().unwrap().remove("targetUserAttributes");
    let mut world = told(&["reset-after*1"], &[job.clone()]).await;
    assert_eq!(world.receipts_of("all")[0]["status"], "delivered");
    // Without such an attempt behind it the same answer is a refusal.
    job["transactionId"] = "other".into();
    world.publish(&[job]).await;
    world.settle().await;
    assert_eq!(world.receipts_of("other")[0]["reason"], "rejected");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_refused_credential_pauses_the_account_and_buries_nothing() {
    let more = "[circuit]\ncredentials_pause = \"2s\"";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    world.provider.set_faults(faults(&["pushwoosh:401@1"]));
    let worker = world.start_worker().await;
    let jobs: Vec<Value> = (0..10)
        .map(|n| {
            if n % 2 == 0 { exempt_job(&format!("j-{n}")) } else { counted_job(&format!("j-{n}"), "normal") }
        })
        .collect();
    world.publish(&jobs).await;
    world.publish(&[user_job("other-account")]).await;
    world.wait_for_ends(1).await;
    assert_eq!(world.receipts_of("other-account").len(), 1, "another account goes on");
    let paused = "paceline_account_paused{account=\"shop\",cause=\"credentials\"} 1";
    eventually("the pause is told", || async { world.admin(worker, "/metrics").await.1.contains(paused) })
        .await;
    assert_eq!(world.count("dead"), 0);
    world.provider.set_faults(faults(&[]));
    world.settle().await;
    assert_eq!(world.count("delivered"), 11);
    assert!(world.whole_logs().contains("check its credentials"));
    world.finish().await;
}

/// An account without a limit has no permits that could carry the pause.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_limit_that_is_throttled_pauses_for_all_workers() {
    let shop = "requests_per_minute = \"unlimited\"";
    let mut world = World::with(Options { shop, ..Options::default() }).await;
    world.start_worker().await;
    world.start_worker().await;
    world.provider.set_faults(faults(&["429=5s*1"]));
    world.publish(&[exempt_job("first")]).await;
    eventually("the first was throttled", || async { world.provider.ledger().len() == 1 }).await;
    let throttled = world.provider.ledger()[0].at_us;
    eventually("the store knows", || async { paused_in_store(&world).await }).await;
    let ids: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let kind = |(n, id): (usize, &String)| if n % 2 == 0 { exempt_job(id) } else { counted_job(id, "high") };
    world.publish(&ids.iter().enumerate().map(kind).collect::<Vec<_>>()).await;
    world.settle().await;
    let later: Vec<u64> = world.provider.ledger()[1..].iter().map(|entry| entry.at_us - throttled).collect();
    assert!(later.iter().all(|after| *after >= 5_000_000), "sent during the pause: {later:?}");
    assert_eq!(world.count("delivered"), 21);
    world.finish().await;
}

async fn paused_in_store(world: &World) -> bool {
    let key = format!("{{{}:shop}}:health", world.prefix());
    let mut connection = world.redis.connection().await;
    ::redis::cmd("HEXISTS").arg(key).arg("tu").query_async(&mut connection).await.expect("HEXISTS")
}
