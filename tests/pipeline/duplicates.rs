//! One id, one push.

use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, properties};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_jobs_published_five_times_each_are_sent_once() {
    let mut world = World::new().await;
    for _ in 0..3 {
        world.start_worker().await;
    }
    let jobs: Vec<Value> = (0..500)
        .map(|n| {
            if n % 2 == 0 { exempt_job(&format!("d-{n}")) } else { counted_job(&format!("d-{n}"), "normal") }
        })
        .collect();
    for _ in 0..5 {
        world.publish(&jobs).await;
    }
    world.settle().await;
    assert_eq!(world.count("delivered"), 500);
    assert_eq!(world.count("duplicate"), 2_000);
    for n in 0..500 {
        let receipts = world.receipts_of(&format!("d-{n}"));
        let duplicates = receipts.iter().filter(|receipt| receipt["status"] == "duplicate").count();
        assert_eq!((receipts.len(), duplicates), (5, 4), "d-{n}");
    }
    let accepted = world.provider.summary().counts.accepted;
    assert_eq!(accepted, 500, "each was accepted by the provider once");
    assert_eq!(world.provider.summary().counts.suppressed, 0, "the provider was never asked twice");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn an_id_may_be_sent_again_after_an_end_that_was_no_push() {
    let mut world = World::new().await;
    world.start_worker().await;
    let mut refused = counted_job("again", "normal");
    refused["payload"]["notifications"][0]["content"] = "faulty".into();
    world.publish(&[refused]).await;
    world.settle().await;
    assert_eq!(world.receipts_of("again")[0]["reason"], "rejected");
    world.publish(&[counted_job("again", "normal")]).await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_message_that_comes_twice_is_one_end() {
    let mut world = World::new().await;
    world.start_worker().await;
    let body = exempt_job("twice").to_string().into_bytes();
    let message = properties();
    world.publish_raw("shop", &body, message.clone(), 1).await.unwrap();
    world.settle().await;
    // The same message again, as after a crash between receipt and ack.
    world.publish_raw("shop", &body, message, 0).await.unwrap();
    world.publish(&[exempt_job("after")]).await;
    world.settle().await;
    assert_eq!(world.count("duplicate"), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_dead_letter_published_again_as_it_is_is_sent() {
    let mut world = World::new().await;
    world.start_worker().await;
    let mut refused = counted_job("mended", "normal");
    refused["payload"]["notifications"][0]["content"] = "faulty".into();
    world.publish(&[refused]).await;
    world.settle().await;
    let (headers, body) = world.dead_letters().await.remove(0);
    // As a shovel would: the same body, the letter's own message id.
    let message = paceline::ports::Properties {
        message_id: Some(headers["paceline-dead-id"].clone()),
        headers: headers.into_iter().collect(),
        ..paceline::ports::Properties::default()
    };
    let before = world.provider.summary().counts.requests;
    world.publish_raw("shop", &body, message, 1).await.unwrap();
    world.settle().await;
    assert_eq!(world.provider.summary().counts.requests, before + 1, "it was answered without a request");
    assert_eq!(world.count("dead"), 2);
    world.finish().await;
}
