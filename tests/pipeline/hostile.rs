//! What a sloppy or hostile producer sends.

use paceline::ports::{Properties, PublishError};
use serde_json::json;

use crate::support::jobs::{counted_job, exempt_job, properties};
use crate::support::world::{TOKEN, World};

#[tokio::test(flavor = "multi_thread")]
pub async fn what_is_no_job_is_kept_byte_for_byte_and_nothing_is_sent() {
    let mut world = World::new().await;
    let worker = world.start_worker().await;
    let good = exempt_job("x").to_string();
    let huge = format!("{}{}", " ".repeat(2 * 1024 * 1024), good).into_bytes();
    let with = |from: &str, to: &str| good.replacen(from, to, 1).into_bytes();
    let bodies: Vec<Vec<u8>> = vec![
        b"\xff\xfe\x00 not utf-8".to_vec(),
        good.as_bytes()[..good.len() / 2].to_vec(),
        huge,
        b"".to_vec(),
        b"[1,2,3]".to_vec(),
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes(),
        with("\"x\"", "17"),
        with("\"x\"", "\"a b\""),
        with("\"createMessage\"", "\"createPigeon\""),
        with("\"account\":\"shop\"", "\"account\":\"news\""),
        with("\"account\"", "\"acount\""),
        with("\"payload\":{", "\"payload\":[],\"more\":{"),
        with("\"send_date\":\"now\"", "\"send_date\":\"soon\""),
    ];
    for body in &bodies {
        world.publish_raw("shop", body, properties(), 1).await.unwrap();
    }
    // An account that does not exist comes back to the publisher.
    let unknown = world.publish_raw("nobody", good.as_bytes(), properties(), 1).await;
    assert_eq!(unknown, Err(PublishError::Unroutable));
    world.settle().await;
    assert_eq!(world.count("dead"), bodies.len());
    let mut kept: Vec<Vec<u8>> = world.dead_letters().await.into_iter().map(|(_, body)| body).collect();
    let mut sent = bodies.clone();
    kept.sort();
    sent.sort();
    assert!(kept == sent, "dead letters are not byte for byte what was published");
    for receipt in world.receipts() {
        assert_eq!(receipt["reason"], "invalid");
        assert!(receipt["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }
    assert_eq!(world.provider.summary().counts.requests, 0);
    // The worker is alive and works.
    assert_eq!(world.admin(worker, "/healthz").await.0, 200);
    world.publish(&[exempt_job("fine")]).await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_credential_in_a_payload_makes_it_invalid_and_is_kept_nowhere() {
    let mut world = World::new().await;
    world.start_worker().await;
    let good = counted_job("leak", "normal").to_string();
    let body = good.replacen("\"payload\":{", &format!("\"payload\":{{\"auth\":\"{TOKEN}\","), 1);
    world.publish_raw("shop", body.as_bytes(), properties(), 1).await.unwrap();
    let wrapped = json!({
        "transactionId": "wrapped", "account": "shop", "operation": "createMessage",
        "payload": {"request": {"auth": TOKEN, "notifications": []}},
    });
    world.publish_raw("shop", wrapped.to_string().as_bytes(), properties(), 1).await.unwrap();
    world.settle().await;
    assert_eq!(world.count("dead"), 2);
    let letters = world.dead_letters().await;
    let masked: Vec<Vec<u8>> =
        [body, wrapped.to_string()].map(|b| b.replace(TOKEN, "[masked]").into_bytes()).into();
    for (headers, kept) in letters {
        assert!(masked.contains(&kept), "not byte for byte: {}", String::from_utf8_lossy(&kept));
        assert!(!headers.values().any(|value| value.contains(TOKEN)));
    }
    assert!(!world.whole_logs().contains(TOKEN));
    assert_eq!(world.provider.summary().counts.requests, 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn headers_of_nonsense_harm_nobody() {
    let mut world = World::new().await;
    world.start_worker().await;
    for (n, name) in
        ["paceline-instance", "paceline-retries", "paceline-due-at", "paceline-unresolved", "traceparent"]
            .into_iter()
            .enumerate()
    {
        let message = Properties { headers: vec![(name.into(), "\u{0} nonsense".into())], ..properties() };
        let body = counted_job(&format!("n-{n}"), "normal").to_string();
        world.publish_raw("shop", body.as_bytes(), message, 1).await.unwrap();
    }
    world.settle().await;
    assert_eq!(world.count("delivered"), 5);
    world.finish().await;
}
