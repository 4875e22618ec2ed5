//! Claims and health, on every store; what only Redis can show is in `redis`.

use std::time::Duration;

use paceline::job::{AccountName, DeliveryId, Instance, Line, TransactionId};
use paceline::ports::{Answer, Claim, ClaimRequest, Claims, Fenced, History, PauseCause, Purpose, Release};
use paceline::verdict::{Acceptance, DeadReason, Outcome, Signal, Status};
use tokio::time::{Instant, sleep};

mod health;
mod redis;

use super::stores::{Bench, on_every_store, started};
use crate::support::redis::DEADLINE;

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

/// As a provider's answer makes it, with all that a receipt repeats.
fn acceptance() -> Acceptance {
    let answer = serde_json::json!({
        "message_code": "97B0-C7473871-1029AE20",
        "response": {
            "status_code": 200,
            "status_message": "OK",
            "response": {"Messages": ["97B0-C7473871-1029AE20"]},
        },
    });
    serde_json::from_value(answer).unwrap()
}

fn outcome(status: Status, reason: Option<DeadReason>) -> Outcome {
    Outcome {
        status,
        reason,
        detail: None,
        attempts: 1,
        acceptance: acceptance(),
        settled_at_ms: 1_763_758_326_123,
    }
}

fn delivered() -> Outcome {
    outcome(Status::Delivered, None)
}

fn rejected() -> Outcome {
    outcome(Status::Dead, Some(DeadReason::Rejected))
}

async fn ask(store: &impl Claims, request: ClaimRequest) -> Answer {
    store.claim(&[request]).await.unwrap().pop().unwrap()
}

async fn acquire(store: &impl Claims, request: ClaimRequest) -> Claim {
    match ask(store, request).await {
        Answer::Acquired(claim) => claim,
        other => panic!("not acquired: {other:?}"),
    }
}

/// Asks until the answer is a claim.
async fn acquire_in_time(store: &impl Claims, request: ClaimRequest) -> Claim {
    let end = Instant::now() + DEADLINE;
    loop {
        match ask(store, request.clone()).await {
            Answer::Acquired(claim) => return claim,
            other => assert!(Instant::now() < end, "still not acquired: {other:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn give_back(store: &impl Claims, claim: &Claim, signal: Signal) {
    let release = Release { history: claim.history, signal };
    assert_eq!(store.release(claim, release).await.unwrap(), Fenced(false));
}

async fn finish(store: &impl Claims, claim: &Claim, outcome: &Outcome, signal: Signal) {
    assert_eq!(store.end(claim, outcome, signal).await.unwrap(), Fenced(false));
}

/// One request that ends with this signal.
async fn attempt(store: &impl Claims, id: &str, signal: Signal) {
    let claim = acquire(store, wish(id, "m/0")).await;
    give_back(store, &claim, signal).await;
}

fn paused(answer: &Answer) -> (PauseCause, Duration) {
    match answer {
        Answer::Paused(pause) => (pause.cause, pause.wait),
        other => panic!("not paused: {other:?}"),
    }
}

on_every_store! {
    a_delivery_is_claimed_sent_and_ended_once,
    only_some_ends_block_another_instance,
    an_end_is_told_again_to_its_own_message_after_another_one_was_claimed,
    of_many_at_once_one_gets_the_claim,
    a_batch_is_answered_in_its_order,
    released_history_is_kept_and_merged_with_what_the_message_remembers,
    a_holder_that_dies_while_sending_leaves_an_unresolved_attempt_and_is_fenced,
    a_holder_that_dies_before_ending_leaves_nothing_unresolved,
    a_lease_does_not_last_longer_because_the_clock_stepped_back,
    a_replay_overrides_an_ended_claim_once,
    a_duplicate_stays_one_whatever_a_replay_comes_to,
    a_replay_of_a_forgotten_claim_counts_as_seen,
    every_script_bears_being_run_twice,
    a_wish_whose_answer_was_lost_leaves_nothing_unknown,
    what_the_store_lost_is_written_by_who_held_it,
    suspected_messages_are_counted,
}

async fn a_delivery_is_claimed_sent_and_ended_once<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let before = Instant::now();
    let claim = acquire(&*store, wish("a", "m1/0")).await;
    assert_eq!(claim.history, History::default());
    let room = Duration::from_secs(60 - 20 - 1);
    assert!(claim.write_by >= before + room && claim.write_by <= Instant::now() + room);

    let Answer::Held(rest) = ask(&*store, wish("a", "m1/0")).await else { panic!("not held") };
    assert!(rest > Duration::from_secs(55) && rest <= Duration::from_secs(60), "{rest:?}");

    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    for (instance, expected) in [("m1/0", true), ("m2/0", false)] {
        for request in [wish("a", instance), to_end("a", instance)] {
            let Answer::Ended { outcome, same } = ask(&*store, request).await else { panic!("not ended") };
            assert_eq!((outcome, same), (delivered(), expected), "{instance}");
        }
    }
}

async fn only_some_ends_block_another_instance<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let cases = [
        (delivered(), true),
        (outcome(Status::Dead, Some(DeadReason::Uncertain)), true),
        (rejected(), false),
        (outcome(Status::Dead, Some(DeadReason::Exhausted)), false),
        (outcome(Status::Expired, None), false),
    ];
    for (index, (end, blocks)) in cases.into_iter().enumerate() {
        let id = format!("id-{index}");
        let claim = acquire(&*store, wish(&id, "m1/0")).await;
        finish(&*store, &claim, &end, Signal::Neutral).await;
        assert!(matches!(ask(&*store, wish(&id, "m1/0")).await, Answer::Ended { same: true, .. }), "{end:?}");
        match ask(&*store, wish(&id, "m2/0")).await {
            Answer::Ended { same: false, .. } => assert!(blocks, "{end:?}"),
            Answer::Acquired(claim) => {
                assert!(!blocks, "{end:?}");
                assert_eq!(claim.history, History::default(), "a fresh start");
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn an_end_is_told_again_to_its_own_message_after_another_one_was_claimed<B: Bench>() {
    let (_bench, store) = started::<B>(|_| {}).await;
    let first = acquire(&*store, wish("a", "m1")).await;
    finish(&*store, &first, &rejected(), Signal::Neutral).await;
    // A mended job with the same id is under way, and the first message comes again.
    let second = acquire(&*store, wish("a", "m2")).await;
    let told = |answer: &Answer, outcome: &Outcome| match answer {
        Answer::Ended { outcome: found, same: true } => found == outcome,
        _ => false,
    };
    assert!(told(&ask(&*store, wish("a", "m1")).await, &rejected()));
    finish(&*store, &second, &delivered(), Signal::Neutral).await;
    assert!(told(&ask(&*store, wish("a", "m1")).await, &rejected()));
    assert!(told(&ask(&*store, wish("a", "m2")).await, &delivered()));
    // A third one is a duplicate, and only the last few ends are kept.
    assert!(matches!(ask(&*store, wish("a", "m3")).await, Answer::Ended { same: false, .. }));
    for n in 0..10 {
        let claim = acquire(&*store, wish("b", &format!("n{n}"))).await;
        finish(&*store, &claim, &rejected(), Signal::Neutral).await;
    }
    assert!(told(&ask(&*store, wish("b", "n1")).await, &rejected()));
    assert!(matches!(ask(&*store, wish("b", "n0")).await, Answer::Acquired(_)));
}

async fn of_many_at_once_one_gets_the_claim<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..64 {
        let store = store.clone();
        tasks.spawn(async move { ask(&*store, wish("a", &format!("m{index}/0"))).await });
    }
    let answers = tasks.join_all().await;
    let acquired = answers.iter().filter(|answer| matches!(answer, Answer::Acquired(_))).count();
    let held = answers.iter().filter(|answer| matches!(answer, Answer::Held(_))).count();
    assert_eq!((acquired, held), (1, 63));
}

async fn a_batch_is_answered_in_its_order<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let ended = acquire(&*store, wish("b", "m/0")).await;
    finish(&*store, &ended, &delivered(), Signal::Healthy).await;
    let _held = acquire(&*store, wish("c", "m/0")).await;
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

async fn released_history_is_kept_and_merged_with_what_the_message_remembers<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let claim = acquire(&*store, wish("a", "m/0")).await;
    let kept =
        History { requests: 1, retries: 1, first_attempt_ms: Some(claim.claimed_ms), unresolved_ms: None };
    store.release(&claim, Release { history: kept, signal: Signal::Neutral }).await.unwrap();
    let again = acquire(&*store, wish("a", "m/0")).await;
    assert_eq!(again.history, kept);

    let exact = History { requests: 2, retries: 2, first_attempt_ms: Some(50), unresolved_ms: Some(60) };
    store.release(&again, Release { history: exact, signal: Signal::Neutral }).await.unwrap();
    let remembered = History { requests: 9, retries: 1, first_attempt_ms: Some(70), unresolved_ms: Some(40) };
    let merged = acquire(&*store, ClaimRequest { remembered, ..wish("a", "m/0") }).await;
    let expected = History { requests: 9, retries: 2, first_attempt_ms: Some(50), unresolved_ms: Some(40) };
    assert_eq!(merged.history, expected);

    // Resolved: nothing unresolved is left behind.
    let resolved = History { unresolved_ms: None, ..exact };
    store.release(&merged, Release { history: resolved, signal: Signal::Neutral }).await.unwrap();
    assert_eq!(acquire(&*store, to_end("a", "m/0")).await.history, resolved);
}

async fn a_holder_that_dies_while_sending_leaves_an_unresolved_attempt_and_is_fenced<B: Bench>() {
    let (_bench, store) = started::<B>(|settings| settings.lease = Duration::from_millis(150)).await;
    let dead = acquire(&*store, wish("a", "m/0")).await;
    let next = acquire_in_time(&*store, wish("a", "m/0")).await;
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
    finish(&*store, &next, &delivered(), Signal::Healthy).await;
    assert_eq!(store.end(&dead, &rejected(), Signal::Faulty).await.unwrap(), Fenced(true));
    let answer = ask(&*store, wish("a", "m/0")).await;
    assert!(matches!(answer, Answer::Ended { outcome, same: true } if outcome == delivered()));
}

async fn a_holder_that_dies_before_ending_leaves_nothing_unresolved<B: Bench>() {
    let (_bench, store) = started::<B>(|settings| settings.lease = Duration::from_millis(100)).await;
    let held = acquire(&*store, to_end("a", "m/0")).await;
    assert_eq!(held.history, History::default());
    assert!(matches!(ask(&*store, wish("a", "m/0")).await, Answer::Held(_)));
    assert_eq!(acquire_in_time(&*store, wish("a", "m/0")).await.history, History::default());
}

async fn a_lease_does_not_last_longer_because_the_clock_stepped_back<B: Bench>() {
    let (bench, store) = started::<B>(|settings| settings.lease = Duration::from_millis(100)).await;
    let _dead = acquire(&*store, wish("a", "m/0")).await;
    bench.step_back(Duration::from_secs(3_600)).await;
    let Answer::Held(rest) = ask(&*store, wish("a", "m/0")).await else { panic!("not held") };
    assert!(rest <= Duration::from_millis(100), "{rest:?}");
    let _next = acquire_in_time(&*store, wish("a", "m/0")).await;
}

async fn a_replay_overrides_an_ended_claim_once<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let claim = acquire(&*store, wish("a", "m/0")).await;
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;

    let claim = acquire(&*store, replayed("a", "r1/0", "dead-1")).await;
    assert_eq!(claim.history, History::default());
    finish(&*store, &claim, &rejected(), Signal::Healthy).await;
    assert!(matches!(ask(&*store, replayed("a", "r1/0", "dead-1")).await, Answer::Ended { same: true, .. }));

    let claim = acquire(&*store, replayed("a", "r2/0", "dead-2")).await;
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    // The first replay's message comes once more, long after: it overrides nothing, and finds its end.
    let Answer::Ended { outcome, same: true } = ask(&*store, replayed("a", "r1/0", "dead-1")).await else {
        panic!("its own end");
    };
    assert_eq!(outcome, rejected());
    assert!(matches!(ask(&*store, replayed("a", "r2/0", "dead-2")).await, Answer::Ended { same: true, .. }));
}

async fn a_duplicate_stays_one_whatever_a_replay_comes_to<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let uncertain = outcome(Status::Dead, Some(DeadReason::Uncertain));
    let expired = outcome(Status::Expired, None);
    for (id, replay_ends) in [("a", expired), ("b", delivered())] {
        let claim = acquire(&*store, wish(id, "m1/0")).await;
        finish(&*store, &claim, &uncertain, Signal::Neutral).await;
        let told = |answer: Answer| {
            let Answer::Ended { outcome, same: false } = answer else { panic!("a duplicate: {answer:?}") };
            assert_eq!(outcome, uncertain, "{id}");
        };
        told(ask(&*store, wish(id, "m2/0")).await);
        // Its ack is lost, and a person publishes the dead letter again before it comes once more.
        let claim = acquire(&*store, replayed(id, "r/0", "dead-1")).await;
        told(ask(&*store, wish(id, "m2/0")).await);
        finish(&*store, &claim, &replay_ends, Signal::Neutral).await;
        told(ask(&*store, wish(id, "m2/0")).await);
        let Answer::Ended { outcome, same: true } = ask(&*store, wish(id, "m1/0")).await else {
            panic!("its own end")
        };
        assert_eq!(outcome, uncertain, "{id}");
    }
}

async fn a_replay_of_a_forgotten_claim_counts_as_seen<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let claim = acquire(&*store, replayed("a", "r/0", "dead-1")).await;
    finish(&*store, &claim, &delivered(), Signal::Healthy).await;
    assert!(matches!(ask(&*store, replayed("a", "r/0", "dead-1")).await, Answer::Ended { same: true, .. }));
}

async fn every_script_bears_being_run_twice<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let asked = wish("a", "m/0");
    let first = acquire(&*store, asked.clone()).await;
    let second = acquire(&*store, asked.clone()).await;
    assert_eq!(first.history, second.history);

    let history = History { requests: 1, retries: 1, ..History::default() };
    for _ in 0..5 {
        let release = Release { history, signal: Signal::Faulty };
        assert_eq!(store.release(&first, release).await.unwrap(), Fenced(false));
    }
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None, "one fault, counted once");
    assert_eq!(store.end(&first, &delivered(), Signal::Healthy).await.unwrap(), Fenced(true));

    // The first wish runs once more, after its claim was released: it must not take it again.
    assert!(matches!(ask(&*store, asked).await, Answer::Held(_)));
    let to_end = to_end("a", "m/0");
    let held = acquire(&*store, to_end.clone()).await;
    assert_eq!(acquire(&*store, to_end).await.history, held.history);
    assert_eq!(held.history, history);
    for _ in 0..5 {
        finish(&*store, &held, &delivered(), Signal::Faulty).await;
    }
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None, "two faults");
    assert!(matches!(ask(&*store, wish("a", "m/0")).await, Answer::Ended { same: true, .. }));
}

async fn a_wish_whose_answer_was_lost_leaves_nothing_unknown<B: Bench>() {
    let (_bench, store) = started::<B>(|settings| settings.lease = Duration::from_millis(150)).await;
    let asked = wish("a", "m/0");
    acquire(&*store, asked.clone()).await;
    assert!(matches!(ask(&*store, wish("a", "n/0")).await, Answer::Held(_)));
    // Even after the lease: nothing can have been sent before an answer was read.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let again = acquire(&*store, asked).await;
    assert_eq!((again.history, again.probe), (History::default(), false));
    let next = acquire_in_time(&*store, wish("a", "n/0")).await;
    assert_eq!(next.history.requests, 1, "asked three times for one request");
}

async fn what_the_store_lost_is_written_by_who_held_it<B: Bench>() {
    let (bench, store) = started::<B>(|_| ()).await;
    let (sent, unknown) =
        (acquire(&*store, wish("a", "m/0")).await, acquire(&*store, wish("b", "m/0")).await);
    bench.forget().await;
    finish(&*store, &sent, &delivered(), Signal::Healthy).await;
    let history = History { requests: 1, unresolved_ms: Some(unknown.claimed_ms), ..History::default() };
    store.release(&unknown, Release { history, signal: Signal::Neutral }).await.unwrap();
    assert!(matches!(ask(&*store, wish("a", "n/0")).await, Answer::Ended { same: false, .. }));
    assert_eq!(acquire(&*store, wish("b", "m/0")).await.history, history);
}

async fn suspected_messages_are_counted<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
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
    for _ in 0..2 {
        store.uncount_suspect("abc", "h-2").await.unwrap();
    }
    assert_eq!(store.count_suspect("abc", "h-4").await.unwrap(), 3);
}
