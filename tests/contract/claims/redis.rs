//! What only a real Redis can show of claims: how it keeps them, and how it goes and comes back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use paceline::adapters::redis::{RedisStore, StoreSettings};
use paceline::ports::{Answer, Claims};
use paceline::verdict::Signal;
use tokio::time::{Instant, timeout};

use super::{acquire, ask, delivered, finish, give_back, wish};
use crate::support::redis::{Counting, DEADLINE, RedisServer, connect, settings};

async fn started(change: impl FnOnce(&mut StoreSettings)) -> (RedisServer, Arc<RedisStore>) {
    let server = RedisServer::start().await;
    let mut settings = settings(&server.url());
    change(&mut settings);
    let store = connect(settings, vec![]).await;
    (server, store)
}

async fn wait_for(store: &RedisStore, up: bool) {
    let mut watch = store.up();
    timeout(DEADLINE, watch.wait_for(|now| *now == up)).await.expect("in time").unwrap();
}

#[tokio::test]
async fn counts_of_suspected_messages_are_kept_for_a_day() {
    let (server, store) = started(|_| ()).await;
    store.count_suspect("abc", "h-1").await.unwrap();
    let mut connection = server.connection().await;
    let ttl: i64 = redis::cmd("TTL").arg("{test:suspect}:abc").query_async(&mut connection).await.unwrap();
    assert!((86_300..=86_400).contains(&ttl));
}

#[tokio::test]
async fn claims_expire_ended_ones_after_the_configured_time() {
    let (server, store) = started(|settings| settings.dedupe_ttl = Duration::from_secs(600)).await;
    let mut connection = server.connection().await;
    let claim = acquire(&*store, wish("a", "m/0")).await;
    let mut ttl = async |expected: i64| {
        let key = "{test:shop}:c:a";
        let found: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(found > expected - 10_000 && found <= expected, "{found}");
    };
    ttl(7_200_000).await;
    give_back(&*store, &claim, Signal::Neutral).await;
    ttl(7_200_000).await;
    let claim = acquire(&*store, wish("a", "m/0")).await;
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    ttl(600_000).await;
}

#[tokio::test]
async fn an_ended_claim_takes_less_than_450_bytes() {
    let (server, store) = started(|_| ()).await;
    let claim = acquire(
        &*store,
        wish("0b5a3c9e-9c1e-4c3a-8f56-6f6f1c8d2f10", "7c9e6679-7425-40de-944b-e07fc1f90ae7/0"),
    )
    .await;
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    let mut connection = server.connection().await;
    let key = format!("{{test:shop}}:c:{}", claim.id);
    let bytes: u64 = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut connection).await.unwrap();
    assert!(bytes < 450, "{bytes}");
}

#[tokio::test]
async fn claims_survive_a_crash_of_the_store() {
    let (mut server, store) = started(|_| ()).await;
    let claim = acquire(&*store, wish("a", "m/0")).await;
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    let open = acquire(&*store, wish("b", "m/0")).await;
    assert!(*store.up().borrow());

    server.kill();
    let asked = Instant::now();
    assert!(store.claim(&[wish("a", "n/0")]).await.is_err());
    assert!(store.claim(&[wish("a", "n/0")]).await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(1), "it fails fast");
    assert!(!*store.up().borrow());
    assert!(!store.ping().await);

    server.restart().await;
    wait_for(&store, true).await;
    assert!(store.ping().await);
    assert!(matches!(ask(&*store, wish("a", "n/0")).await, Answer::Ended { same: false, .. }));
    finish(&*store, &open, &delivered(), Signal::Healthy).await;
}

#[tokio::test]
async fn a_store_that_is_down_at_the_start_is_used_when_it_comes() {
    let mut server = RedisServer::start().await;
    server.kill();
    let store = connect(settings(&server.url()), vec![]).await;
    assert!(!*store.up().borrow());
    assert!(store.claim(&[wish("a", "m/0")]).await.is_err());
    server.restart_empty().await;
    wait_for(&store, true).await;
    let _claim = acquire(&*store, wish("a", "m/0")).await;
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_in_time_and_comes_back() {
    let (server, store) = started(|settings| settings.timeout = Duration::from_millis(200)).await;
    server.freeze();
    let asked = Instant::now();
    assert!(store.claim(&[wish("a", "m/0")]).await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(!*store.up().borrow());
    server.thaw();
    wait_for(&store, true).await;
    // The call whose answer was lost may have run: then its claim is held until its lease ends.
    assert!(matches!(ask(&*store, wish("a", "m/0")).await, Answer::Held(_) | Answer::Acquired(_)));
    let _claim = acquire(&*store, wish("b", "m/0")).await;
}

#[tokio::test]
async fn scripts_are_sent_again_to_a_store_that_forgot_them() {
    let (server, store) = started(|_| ()).await;
    let claim = acquire(&*store, wish("a", "m/0")).await;
    let mut connection = server.connection().await;
    let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    let answers = store.claim(&[wish("b", "m/0"), wish("c", "m/0")]).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Acquired(_))));
}

/// How often the store ran a script.
async fn runs(server: &RedisServer) -> u64 {
    let mut connection = server.connection().await;
    let stats: String =
        redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await.expect("its answer");
    let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn callers_share_trips() {
    let (server, store) = started(|_| ()).await;
    let _known = acquire(&*store, wish("a", "m/0")).await;
    let before = runs(&server).await;
    let claims = join_all((0..300).map(|n| acquire(&*store, wish(&format!("many-{n}"), "m/0")))).await;
    let delivered = delivered();
    join_all(claims.iter().map(|claim| finish(&*store, claim, &delivered, Signal::Healthy))).await;
    let runs = runs(&server).await - before;
    assert!(runs < 60, "{runs} runs of a script for 600 wishes");
}

#[tokio::test]
async fn a_claim_that_cannot_be_read_spoils_none_that_shares_its_trip() {
    let (server, store) = started(|_| ()).await;
    let mut connection = server.connection().await;
    let () = redis::cmd("SADD").arg("{test:shop}:c:n-7").arg("x").query_async(&mut connection).await.unwrap();
    let ask = async |n: u32| store.claim(&[wish(&format!("n-{n}"), "m/0")]).await;
    let answers = join_all((0..20).map(ask)).await;
    for (n, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(answers) => {
                assert!(n != 7 && matches!(answers[..], [Answer::Acquired(_)]), "{n}: {answers:?}")
            }
            Err(error) => assert!(n == 7 && error.to_string().contains("WRONGTYPE"), "{n}: {error}"),
        }
    }
    assert!(*store.up().borrow(), "the store itself is well");
}

#[tokio::test]
async fn a_read_only_store_counts_as_down_until_it_takes_writes() {
    let (server, store) = started(|_| ()).await;
    let mut connection = server.connection().await;
    let mut primary = async |host: &str, port: &str| {
        let () = redis::cmd("REPLICAOF").arg(host).arg(port).query_async(&mut connection).await.unwrap();
    };
    primary("127.0.0.1", "1").await;
    assert!(store.claim(&[wish("a", "m/0")]).await.is_err());
    assert!(!*store.up().borrow());
    assert!(!store.ping().await);
    primary("NO", "ONE").await;
    wait_for(&store, true).await;
    let _claim = acquire(&*store, wish("a", "m/0")).await;
}

#[tokio::test]
async fn a_store_that_refuses_is_an_error_at_the_start_that_names_no_password() {
    let server = RedisServer::start().await;
    let mut connection = server.connection().await;
    let mut acl = async |rules: &[&str]| {
        let () = redis::cmd("ACL").arg("SETUSER").arg(rules).query_async(&mut connection).await.unwrap();
    };
    acl(&["blind", "on", ">hunter2", "~*", "+@all", "-info"]).await;
    acl(&["reader", "on", ">hunter2", "~*", "+@all", "-@write"]).await;
    acl(&["full", "on", ">hunter2", "~*", "+@all"]).await;
    let cases = [
        (server.url_as("blind", "hunter2"), Some("INFO")),
        (server.url_as("reader", "hunter2"), Some("can't run this command")),
        (server.url_as("full", "hunter3"), Some("authentication failed")),
        ("redis://:hunter2@:x:/".into(), Some("address")),
        (server.url_as("full", "hunter2"), None),
    ];
    for (url, expected) in cases {
        let chance = Arc::new(Counting::default());
        let found = RedisStore::connect(settings(&url), vec![], chance).await.err().map(|error| error.0);
        match (&found, expected) {
            (Some(text), Some(part)) => {
                assert!(text.contains(part) && !text.contains("hunter"), "{text}");
            }
            (None, None) => (),
            other => panic!("{other:?}"),
        }
    }
}
