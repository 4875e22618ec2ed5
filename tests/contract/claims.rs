//! Claims and health, on a real Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use paceline::adapters::redis::{RedisStore, StoreSettings};
use paceline::job::{AccountName, DeliveryId, Instance, Line, TransactionId};
use paceline::ports::{Answer, Claim, ClaimRequest, Claims, Fenced, History, PauseCause, Purpose, Release};
use paceline::verdict::{Acceptance, DeadReason, Outcome, Signal, Status};
use tokio::time::{Instant, sleep, timeout};

mod health;

use crate::support::redis::{DEADLINE, RedisServer, connect, settings};

fn account() -> AccountName {
    AccountName::new("shop").unwrap()
}

fn wish(id: &str, instance: &str) -> ClaimRequest {
    ClaimRequest {
        account: account(),
        line: Line::MAIN,
        id: DeliveryId::from(&TransactionId::new(id).unwrap()),
        instance: Instance::from_header(instance),
        purpose: Purpose::Send,
        remembered: History::default(),
        replay: None,
        token: uuid::Uuid::new_v4().to_string(),
    }
}

fn to_end(id: &str, instance: &str) -> ClaimRequest {
    ClaimRequest { purpose: Purpose::End, ..wish(id, instance) }
}

fn replayed(id: &str, instance: &str, replay: &str) -> ClaimRequest {
    ClaimRequest { replay: Some(replay.into()), ..wish(id, instance) }
}

fn outcome(status: Status, reason: Option<DeadReason>) -> Outcome {
    Outcome {
        status,
        reason,
        detail: None,
        attempts: 1,
        acceptance: Acceptance { message_code: Some("1A2B-3C4D".into()), ..Acceptance::default() },
        settled_at_ms: 1_763_758_326_123,
    }
}

fn delivered() -> Outcome {
    outcome(Status::Delivered, None)
}

fn rejected() -> Outcome {
    outcome(Status::Dead, Some(DeadReason::Rejected))
}

async fn ask(store: &RedisStore, request: ClaimRequest) -> Answer {
    store.claim(&[request]).await.unwrap().pop().unwrap()
}

async fn acquire(store: &RedisStore, request: ClaimRequest) -> Claim {
    match ask(store, request).await {
        Answer::Acquired(claim) => claim,
        other => panic!("not acquired: {other:?}"),
    }
}

/// Asks until the answer is a claim.
async fn acquire_in_time(store: &RedisStore, request: ClaimRequest) -> Claim {
    let end = Instant::now() + DEADLINE;
    loop {
        match ask(store, request.clone()).await {
            Answer::Acquired(claim) => return claim,
            other => assert!(Instant::now() < end, "still not acquired: {other:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn give_back(store: &RedisStore, claim: &Claim, signal: Signal) {
    let release = Release { history: claim.history, signal };
    assert_eq!(store.release(claim, release).await.unwrap(), Fenced(false));
}

async fn finish(store: &RedisStore, claim: &Claim, outcome: &Outcome, signal: Signal) {
    assert_eq!(store.end(claim, outcome, signal).await.unwrap(), Fenced(false));
}

/// One request that ends with this signal.
async fn attempt(store: &RedisStore, id: &str, signal: Signal) {
    let claim = acquire(store, wish(id, "m/0")).await;
    give_back(store, &claim, signal).await;
}

async fn hash_of(server: &RedisServer, id: &str) -> HashMap<String, String> {
    let mut connection = server.connection().await;
    redis::cmd("HGETALL").arg(format!("{{test:shop}}:c:{id}")).query_async(&mut connection).await.unwrap()
}

async fn started(change: impl FnOnce(&mut StoreSettings)) -> (RedisServer, Arc<RedisStore>) {
    let server = RedisServer::start().await;
    let mut settings = settings(&server.url());
    change(&mut settings);
    let store = connect(settings, vec![]).await;
    (server, store)
}

fn paused(answer: &Answer) -> (PauseCause, Duration) {
    match answer {
        Answer::Paused(pause) => (pause.cause, pause.wait),
        other => panic!("not paused: {other:?}"),
    }
}

#[tokio::test]
async fn a_delivery_is_claimed_sent_and_ended_once() {
    let (_server, store) = started(|_| ()).await;
    let before = Instant::now();
    let claim = acquire(&store, wish("a", "m1/0")).await;
    assert_eq!(claim.history, History::default());
    let room = Duration::from_secs(60 - 20 - 1);
    assert!(claim.write_by >= before + room && claim.write_by <= Instant::now() + room);

    let Answer::Held(rest) = ask(&store, wish("a", "m1/0")).await else { panic!("not held") };
    assert!(rest > Duration::from_secs(55) && rest <= Duration::from_secs(60), "{rest:?}");

    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    for (instance, expected) in [("m1/0", true), ("m2/0", false)] {
        for request in [wish("a", instance), to_end("a", instance)] {
            let Answer::Ended { outcome, same } = ask(&store, request).await else { panic!("not ended") };
            assert_eq!((outcome, same), (delivered(), expected), "{instance}");
        }
    }
}

#[tokio::test]
async fn only_some_ends_block_another_instance() {
    let (_server, store) = started(|_| ()).await;
    let cases = [
        (delivered(), true),
        (outcome(Status::Dead, Some(DeadReason::Uncertain)), true),
        (rejected(), false),
        (outcome(Status::Dead, Some(DeadReason::Exhausted)), false),
        (outcome(Status::Expired, None), false),
    ];
    for (index, (end, blocks)) in cases.into_iter().enumerate() {
        let id = format!("id-{index}");
        let claim = acquire(&store, wish(&id, "m1/0")).await;
        finish(&store, &claim, &end, Signal::Neutral).await;
        assert!(matches!(ask(&store, wish(&id, "m1/0")).await, Answer::Ended { same: true, .. }), "{end:?}");
        match ask(&store, wish(&id, "m2/0")).await {
            Answer::Ended { same: false, .. } => assert!(blocks, "{end:?}"),
            Answer::Acquired(claim) => {
                assert!(!blocks, "{end:?}");
                assert_eq!(claim.history, History::default(), "a fresh start");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_end_is_told_again_to_its_own_message_after_another_one_was_claimed() {
    let (_server, store) = started(|_| {}).await;
    let first = acquire(&store, wish("a", "m1")).await;
    finish(&store, &first, &rejected(), Signal::Neutral).await;
    // A mended job with the same id is under way, and the first message comes again.
    let second = acquire(&store, wish("a", "m2")).await;
    let told = |answer: &Answer, outcome: &Outcome| match answer {
        Answer::Ended { outcome: found, same: true } => found == outcome,
        _ => false,
    };
    assert!(told(&ask(&store, wish("a", "m1")).await, &rejected()));
    finish(&store, &second, &delivered(), Signal::Neutral).await;
    assert!(told(&ask(&store, wish("a", "m1")).await, &rejected()));
    assert!(told(&ask(&store, wish("a", "m2")).await, &delivered()));
    // A third one is a duplicate, and only the last few ends are kept.
    assert!(matches!(ask(&store, wish("a", "m3")).await, Answer::Ended { same: false, .. }));
    for n in 0..10 {
        let claim = acquire(&store, wish("b", &format!("n{n}"))).await;
        finish(&store, &claim, &rejected(), Signal::Neutral).await;
    }
    assert!(told(&ask(&store, wish("b", "n1")).await, &rejected()));
    assert!(matches!(ask(&store, wish("b", "n0")).await, Answer::Acquired(_)));
}

#[tokio::test]
async fn of_many_at_once_one_gets_the_claim() {
    let (_server, store) = started(|_| ()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..64 {
        let store = store.clone();
        tasks.spawn(async move { ask(&store, wish("a", &format!("m{index}/0"))).await });
    }
    let answers = tasks.join_all().await;
    let acquired = answers.iter().filter(|answer| matches!(answer, Answer::Acquired(_))).count();
    let held = answers.iter().filter(|answer| matches!(answer, Answer::Held(_))).count();
    assert_eq!((acquired, held), (1, 63));
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let (_server, store) = started(|_| ()).await;
    let ended = acquire(&store, wish("b", "m/0")).await;
    finish(&store, &ended, &delivered(), Signal::Healthy).await;
    let _held = acquire(&store, wish("c", "m/0")).await;
    let requests = [wish("a", "m/0"), wish("b", "m/0"), wish("c", "m/0"), wish("d", "m/0"), wish("a", "n/0")];
    let answers = store.claim(&requests).await.unwrap();
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Acquired(claim) => format!("acquired {}", claim.id),
            Answer::Held(_) => "held".into(),
            Answer::Ended { .. } => "ended".into(),
            Answer::Paused(_) => "paused".into(),
        })
        .collect();
    assert_eq!(kinds, ["acquired a", "ended", "held", "acquired d", "held"]);
    assert!(store.claim(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn released_history_is_kept_and_merged_with_what_the_message_remembers() {
    let (_server, store) = started(|_| ()).await;
    let claim = acquire(&store, wish("a", "m/0")).await;
    let kept =
        History { requests: 1, retries: 1, first_attempt_ms: Some(claim.claimed_ms), unresolved_ms: None };
    store.release(&claim, Release { history: kept, signal: Signal::Neutral }).await.unwrap();
    let again = acquire(&store, wish("a", "m/0")).await;
    assert_eq!(again.history, kept);

    let exact = History { requests: 2, retries: 2, first_attempt_ms: Some(50), unresolved_ms: Some(60) };
    store.release(&again, Release { history: exact, signal: Signal::Neutral }).await.unwrap();
    let remembered = History { requests: 9, retries: 1, first_attempt_ms: Some(70), unresolved_ms: Some(40) };
    let merged = acquire(&store, ClaimRequest { remembered, ..wish("a", "m/0") }).await;
    let expected = History { requests: 9, retries: 2, first_attempt_ms: Some(50), unresolved_ms: Some(40) };
    assert_eq!(merged.history, expected);

    // Resolved: nothing unresolved is left behind.
    let resolved = History { unresolved_ms: None, ..exact };
    store.release(&merged, Release { history: resolved, signal: Signal::Neutral }).await.unwrap();
    assert_eq!(acquire(&store, to_end("a", "m/0")).await.history, resolved);
}

#[tokio::test]
async fn a_holder_that_dies_while_sending_leaves_an_unresolved_attempt_and_is_fenced() {
    let (_server, store) = started(|settings| settings.lease = Duration::from_millis(150)).await;
    let dead = acquire(&store, wish("a", "m/0")).await;
    let next = acquire_in_time(&store, wish("a", "m/0")).await;
    let expected = History {
        requests: 1,
        retries: 0,
        first_attempt_ms: Some(dead.claimed_ms),
        unresolved_ms: Some(dead.claimed_ms),
    };
    assert_eq!(next.history, expected);
    assert!(next.claimed_ms >= dead.claimed_ms + 150);

    let release = Release { history: History::default(), signal: Signal::Faulty };
    assert_eq!(store.end(&dead, &rejected(), Signal::Faulty).await.unwrap(), Fenced(true));
    assert_eq!(store.release(&dead, release).await.unwrap(), Fenced(true));
    finish(&store, &next, &delivered(), Signal::Healthy).await;
    assert_eq!(store.end(&dead, &rejected(), Signal::Faulty).await.unwrap(), Fenced(true));
    let answer = ask(&store, wish("a", "m/0")).await;
    assert!(matches!(answer, Answer::Ended { outcome, same: true } if outcome == delivered()));
}

#[tokio::test]
async fn a_holder_that_dies_before_ending_leaves_nothing_unresolved() {
    let (_server, store) = started(|settings| settings.lease = Duration::from_millis(100)).await;
    let held = acquire(&store, to_end("a", "m/0")).await;
    assert_eq!(held.history, History::default());
    assert!(matches!(ask(&store, wish("a", "m/0")).await, Answer::Held(_)));
    assert_eq!(acquire_in_time(&store, wish("a", "m/0")).await.history, History::default());
}

#[tokio::test]
async fn a_lease_does_not_last_longer_because_the_clock_stepped_back() {
    let (server, store) = started(|settings| settings.lease = Duration::from_millis(100)).await;
    let _dead = acquire(&store, wish("a", "m/0")).await;
    let mut connection = server.connection().await;
    let key = "{test:shop}:c:a";
    let () =
        redis::cmd("HINCRBY").arg(key).arg("l").arg(3_600_000).query_async(&mut connection).await.unwrap();
    let Answer::Held(rest) = ask(&store, wish("a", "m/0")).await else { panic!("not held") };
    assert!(rest <= Duration::from_millis(100), "{rest:?}");
    let _next = acquire_in_time(&store, wish("a", "m/0")).await;
}

#[tokio::test]
async fn a_replay_overrides_an_ended_claim_once() {
    let (_server, store) = started(|_| ()).await;
    let claim = acquire(&store, wish("a", "m/0")).await;
    finish(&store, &claim, &delivered(), Signal::Healthy).await;

    let claim = acquire(&store, replayed("a", "r1/0", "dead-1")).await;
    assert_eq!(claim.history, History::default());
    finish(&store, &claim, &rejected(), Signal::Healthy).await;
    assert!(matches!(ask(&store, replayed("a", "r1/0", "dead-1")).await, Answer::Ended { same: true, .. }));

    let claim = acquire(&store, replayed("a", "r2/0", "dead-2")).await;
    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    // The first replay's message comes once more, long after: it overrides nothing, and finds its end.
    let Answer::Ended { outcome, same: true } = ask(&store, replayed("a", "r1/0", "dead-1")).await else {
        panic!("its own end");
    };
    assert_eq!(outcome, rejected());
    assert!(matches!(ask(&store, replayed("a", "r2/0", "dead-2")).await, Answer::Ended { same: true, .. }));
}

#[tokio::test]
async fn a_replay_of_a_forgotten_claim_counts_as_seen() {
    let (_server, store) = started(|_| ()).await;
    let claim = acquire(&store, replayed("a", "r/0", "dead-1")).await;
    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    assert!(matches!(ask(&store, replayed("a", "r/0", "dead-1")).await, Answer::Ended { same: true, .. }));
}

#[tokio::test]
async fn every_script_bears_being_run_twice() {
    let (server, store) = started(|_| ()).await;
    let asked = wish("a", "m/0");
    let first = acquire(&store, asked.clone()).await;
    let second = acquire(&store, asked.clone()).await;
    assert_eq!(first.history, second.history);
    assert_eq!(hash_of(&server, "a").await["n"], "1");

    let history = History { requests: 1, retries: 1, ..History::default() };
    for _ in 0..5 {
        let release = Release { history, signal: Signal::Faulty };
        assert_eq!(store.release(&first, release).await.unwrap(), Fenced(false));
    }
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None, "one fault, counted once");
    assert_eq!(store.end(&first, &delivered(), Signal::Healthy).await.unwrap(), Fenced(true));

    // The first wish runs once more, after its claim was released: it must not take it again.
    assert!(matches!(ask(&store, asked).await, Answer::Held(_)));
    let to_end = to_end("a", "m/0");
    let held = acquire(&store, to_end.clone()).await;
    assert_eq!(acquire(&store, to_end).await.history, held.history);
    assert_eq!(held.history, history);
    for _ in 0..5 {
        finish(&store, &held, &delivered(), Signal::Faulty).await;
    }
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None, "two faults");
    assert!(matches!(ask(&store, wish("a", "m/0")).await, Answer::Ended { same: true, .. }));
}

#[tokio::test]
async fn a_wish_whose_answer_was_lost_leaves_nothing_unknown() {
    let (server, store) = started(|settings| settings.lease = Duration::from_millis(150)).await;
    let asked = wish("a", "m/0");
    acquire(&store, asked.clone()).await;
    assert!(matches!(ask(&store, wish("a", "n/0")).await, Answer::Held(_)));
    // Even after the lease: nothing can have been sent before an answer was read.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let again = acquire(&store, asked).await;
    assert_eq!((again.history, again.probe), (History::default(), false));
    assert_eq!(hash_of(&server, "a").await["n"], "1");
}

#[tokio::test]
async fn what_the_store_lost_is_written_by_who_held_it() {
    let (server, store) = started(|_| ()).await;
    let (sent, unknown) = (acquire(&store, wish("a", "m/0")).await, acquire(&store, wish("b", "m/0")).await);
    let mut connection = server.connection().await;
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    finish(&store, &sent, &delivered(), Signal::Healthy).await;
    let history = History { requests: 1, unresolved_ms: Some(unknown.claimed_ms), ..History::default() };
    store.release(&unknown, Release { history, signal: Signal::Neutral }).await.unwrap();
    assert!(matches!(ask(&store, wish("a", "n/0")).await, Answer::Ended { same: false, .. }));
    assert_eq!(acquire(&store, wish("b", "m/0")).await.history, history);
}

#[tokio::test]
async fn claims_expire_ended_ones_after_the_configured_time() {
    let (server, store) = started(|settings| settings.dedupe_ttl = Duration::from_secs(600)).await;
    let mut connection = server.connection().await;
    let claim = acquire(&store, wish("a", "m/0")).await;
    let mut ttl = async |expected: i64| {
        let key = "{test:shop}:c:a";
        let found: i64 = redis::cmd("PTTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!(found > expected - 10_000 && found <= expected, "{found}");
    };
    ttl(7_200_000).await;
    give_back(&store, &claim, Signal::Neutral).await;
    ttl(7_200_000).await;
    let claim = acquire(&store, wish("a", "m/0")).await;
    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    ttl(600_000).await;
}

#[tokio::test]
async fn an_ended_claim_takes_less_than_three_hundred_bytes() {
    let (server, store) = started(|_| ()).await;
    let claim = acquire(
        &store,
        wish("0b5a3c9e-9c1e-4c3a-8f56-6f6f1c8d2f10", "7c9e6679-7425-40de-944b-e07fc1f90ae7/0"),
    )
    .await;
    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    let mut connection = server.connection().await;
    let key = format!("{{test:shop}}:c:{}", claim.id);
    let bytes: u64 = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(&mut connection).await.unwrap();
    assert!(bytes < 300, "{bytes}");
}

#[tokio::test]
async fn suspected_messages_are_counted() {
    let (server, store) = started(|_| ()).await;
    for expected in 1..=3 {
        let handling = format!("h-{expected}");
        assert_eq!(store.count_suspect("abc", &handling).await.unwrap(), expected);
        assert_eq!(
            store.count_suspect("abc", &handling).await.unwrap(),
            expected,
            "a lost answer counts once"
        );
    }
    assert_eq!(store.count_suspect("def", "h-1").await.unwrap(), 1);
    let mut connection = server.connection().await;
    let ttl: i64 = redis::cmd("TTL").arg("{test:suspect}:abc").query_async(&mut connection).await.unwrap();
    assert!((86_300..=86_400).contains(&ttl));
    for _ in 0..2 {
        store.uncount_suspect("abc", "h-2").await.unwrap();
    }
    assert_eq!(store.count_suspect("abc", "h-4").await.unwrap(), 3);
}

async fn wait_for(store: &RedisStore, up: bool) {
    let mut watch = store.up();
    timeout(DEADLINE, watch.wait_for(|now| *now == up)).await.expect("in time").unwrap();
}

#[tokio::test]
async fn claims_survive_a_crash_of_the_store() {
    let (mut server, store) = started(|_| ()).await;
    let claim = acquire(&store, wish("a", "m/0")).await;
    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    let open = acquire(&store, wish("b", "m/0")).await;
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
    assert!(matches!(ask(&store, wish("a", "n/0")).await, Answer::Ended { same: false, .. }));
    finish(&store, &open, &delivered(), Signal::Healthy).await;
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
    let _claim = acquire(&store, wish("a", "m/0")).await;
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
    assert!(matches!(ask(&store, wish("a", "m/0")).await, Answer::Held(_) | Answer::Acquired(_)));
    let _claim = acquire(&store, wish("b", "m/0")).await;
}

#[tokio::test]
async fn scripts_are_sent_again_to_a_store_that_forgot_them() {
    let (server, store) = started(|_| ()).await;
    let claim = acquire(&store, wish("a", "m/0")).await;
    let mut connection = server.connection().await;
    let () = redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    finish(&store, &claim, &delivered(), Signal::Healthy).await;
    let answers = store.claim(&[wish("b", "m/0"), wish("c", "m/0")]).await.unwrap();
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Acquired(_))));
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
    let _claim = acquire(&store, wish("a", "m/0")).await;
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
        let chance = Arc::new(crate::support::redis::Counting::default());
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
