//! An account's health: the circuit, refused credentials, a person's pause.

use std::time::Duration;

use paceline::job::{AccountName, Line, Pool};
use paceline::ports::{Answer, ClaimRequest, Claims, PauseCause, Suspicion};
use paceline::verdict::{Signal, Status};
use tokio::time::{Instant, sleep};

use super::{
    account, acquire, acquire_in_time, ask, attempt, delivered, finish, give_back, outcome, paused, rejected,
    to_end, wish,
};
use crate::contract::stores::{Bench, on_every_store, started};
use crate::support::redis::DEADLINE;

on_every_store! {
    faults_in_a_row_open_the_circuit_and_one_probe_closes_it,
    what_is_said_at_once_counts_like_what_is_said_in_turn,
    a_failing_probe_doubles_the_pause_up_to_the_longest,
    a_probe_that_dies_with_its_worker_makes_way_after_its_lease,
    a_refused_credential_is_told_from_a_faulty_delivery,
    the_suspect_itself_probes_when_nobody_else_does,
    a_suspicion_from_a_fenced_holder_changes_nothing,
    a_person_pauses_and_resumes_an_account,
    each_limit_has_a_health_of_its_own_and_a_person_pauses_all,
    a_provider_s_wish_for_a_pause_stops_all_and_ends_without_a_probe,
}

async fn faults_in_a_row_open_the_circuit_and_one_probe_closes_it<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    attempt(&*store, "a", Signal::Faulty).await;
    attempt(&*store, "a", Signal::Faulty).await;
    attempt(&*store, "a", Signal::Healthy).await;
    attempt(&*store, "a", Signal::Faulty).await;
    attempt(&*store, "a", Signal::Faulty).await;
    attempt(&*store, "a", Signal::Neutral).await;
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None, "not in a row");
    let late = acquire(&*store, wish("late", "m/0")).await;
    attempt(&*store, "a", Signal::Faulty).await;

    let (cause, wait) = paused(&ask(&*store, wish("b", "m/0")).await);
    assert_eq!(cause, PauseCause::Circuit);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(300), "{wait:?}");
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().cause, PauseCause::Circuit);
    // What was under way when the circuit opened has no say.
    finish(&*store, &late, &delivered(), Signal::Healthy).await;
    paused(&ask(&*store, wish("b", "m/0")).await);
    // Other accounts and ends without a request go on.
    let other = ClaimRequest { account: AccountName::new("news").unwrap(), ..wish("b", "m/0") };
    assert!(matches!(ask(&*store, other).await, Answer::Acquired(_)));
    let end = acquire(&*store, to_end("c", "m/0")).await;
    finish(&*store, &end, &outcome(Status::Expired, None), Signal::Neutral).await;

    let probe = acquire_in_time(&*store, wish("b", "m/0")).await;
    assert_eq!(
        store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().wait,
        Duration::ZERO,
        "half open"
    );
    assert_eq!(paused(&ask(&*store, wish("d", "m/0")).await), (PauseCause::Circuit, Duration::from_secs(1)));
    give_back(&*store, &probe, Signal::Neutral).await;
    let probe = acquire(&*store, wish("d", "m/0")).await;
    paused(&ask(&*store, wish("b", "m/0")).await);
    finish(&*store, &probe, &delivered(), Signal::Healthy).await;
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
    attempt(&*store, "b", Signal::Faulty).await;
    attempt(&*store, "b", Signal::Faulty).await;
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None, "counted from 0 again");
}

async fn what_is_said_at_once_counts_like_what_is_said_in_turn<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let mut claims = Vec::new();
    for n in 0..5 {
        claims.push(acquire(&*store, wish(&format!("a-{n}"), "m/0")).await);
    }
    // Two faults are not three, with an answer between them that says nothing.
    let [one, two, three, four, five] = claims.try_into().unwrap();
    tokio::join!(
        give_back(&*store, &one, Signal::Faulty),
        give_back(&*store, &two, Signal::Neutral),
        give_back(&*store, &three, Signal::Faulty)
    );
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
    tokio::join!(give_back(&*store, &four, Signal::Faulty), give_back(&*store, &five, Signal::Neutral));
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().cause, PauseCause::Circuit);

    // Of those that ask when the pause is over one probes.
    let end = Instant::now() + DEADLINE;
    let probe = loop {
        let (b, c, d) = (wish("b", "m/0"), wish("c", "m/0"), wish("d", "m/0"));
        let (b, c, d) = tokio::join!(ask(&*store, b), ask(&*store, c), ask(&*store, d));
        let claim = |answer| match answer {
            Answer::Acquired(claim) => Some(claim),
            _ => None,
        };
        let mut acquired: Vec<_> = [b, c, d].into_iter().filter_map(claim).collect();
        assert!(acquired.len() <= 1, "{acquired:?}");
        if let Some(probe) = acquired.pop() {
            break probe;
        }
        assert!(Instant::now() < end, "still paused");
        sleep(Duration::from_millis(10)).await;
    };
    finish(&*store, &probe, &delivered(), Signal::Healthy).await;
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
}

async fn a_failing_probe_doubles_the_pause_up_to_the_longest<B: Bench>() {
    let (_bench, store) = started::<B>(|settings| {
        settings.circuit.failures = 1;
        settings.circuit.pause = Duration::from_millis(100);
        settings.circuit.pause_max = Duration::from_millis(350);
    })
    .await;
    attempt(&*store, "a", Signal::Faulty).await;
    for expected in [200, 350, 350] {
        let probe = acquire_in_time(&*store, wish("a", "m/0")).await;
        give_back(&*store, &probe, Signal::Faulty).await;
        let wait = store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().wait;
        let expected = Duration::from_millis(expected);
        assert!(wait > expected / 2 && wait <= expected, "{wait:?} of {expected:?}");
    }
}

async fn a_probe_that_dies_with_its_worker_makes_way_after_its_lease<B: Bench>() {
    let (_bench, store) = started::<B>(|settings| {
        settings.circuit.failures = 1;
        settings.circuit.pause = Duration::from_millis(50);
        settings.lease = Duration::from_millis(400);
    })
    .await;
    attempt(&*store, "a", Signal::Faulty).await;
    let dead = acquire_in_time(&*store, wish("a", "m/0")).await;
    paused(&ask(&*store, wish("b", "m/0")).await);
    let next = acquire_in_time(&*store, wish("b", "m/0")).await;
    assert!(next.claimed_ms >= dead.claimed_ms + 400);
    // The dead one comes back: it still ends its own delivery, but is the probe no more.
    finish(&*store, &dead, &delivered(), Signal::Healthy).await;
    assert!(store.pause_of(&account(), &Line::MAIN).await.unwrap().is_some());
    finish(&*store, &next, &delivered(), Signal::Healthy).await;
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
}

async fn a_refused_credential_is_told_from_a_faulty_delivery<B: Bench>() {
    let (_bench, store) =
        started::<B>(|settings| settings.circuit.credentials_pause = Duration::from_millis(300)).await;
    let suspect = acquire(&*store, wish("bad", "m/0")).await;
    let Suspicion::Paused(pause) = store.suspect(&suspect).await.unwrap() else { panic!("not paused") };
    assert_eq!(pause.cause, PauseCause::Credentials);
    // Twice is as once.
    assert!(matches!(store.suspect(&suspect).await.unwrap(), Suspicion::Paused(_)));
    give_back(&*store, &suspect, Signal::Neutral).await;
    assert_eq!(paused(&ask(&*store, wish("good", "m/0")).await).0, PauseCause::Credentials);

    // The suspect is not the one to probe while others come.
    let probe = acquire_in_time(&*store, wish("good", "m/0")).await;
    finish(&*store, &probe, &delivered(), Signal::Healthy).await;
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);

    let again = acquire(&*store, wish("bad", "m/0")).await;
    assert_eq!(store.suspect(&again).await.unwrap(), Suspicion::Delivery);
    assert_eq!(store.suspect(&again).await.unwrap(), Suspicion::Delivery);
    finish(&*store, &again, &rejected(), Signal::Healthy).await;

    // A new suspicion makes the old acquittal void.
    let bad = acquire(&*store, wish("bad", "n/0")).await;
    let other = acquire(&*store, wish("other", "m/0")).await;
    assert!(matches!(store.suspect(&other).await.unwrap(), Suspicion::Paused(_)));
    assert!(matches!(store.suspect(&bad).await.unwrap(), Suspicion::Paused(_)));
}

async fn the_suspect_itself_probes_when_nobody_else_does<B: Bench>() {
    let pause = Duration::from_millis(300);
    let (_bench, store) = started::<B>(|settings| settings.circuit.credentials_pause = pause).await;
    let suspect = acquire(&*store, wish("only", "m/0")).await;
    store.suspect(&suspect).await.unwrap();
    give_back(&*store, &suspect, Signal::Neutral).await;
    let probe = acquire_in_time(&*store, wish("only", "m/0")).await;
    let waited = probe.claimed_ms - suspect.claimed_ms;
    assert!(waited >= 600, "only after two pauses, not {waited} ms");
    // The credential is still refused: the next different delivery comes first again.
    assert!(matches!(store.suspect(&probe).await.unwrap(), Suspicion::Paused(_)));
    give_back(&*store, &probe, Signal::Neutral).await;
    let probe = acquire_in_time(&*store, wish("another", "m/0")).await;
    give_back(&*store, &probe, Signal::Faulty).await;
    let again = store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap();
    assert_eq!(again.cause, PauseCause::Credentials, "a fault says nothing of the credential");
    assert!(again.wait > Duration::ZERO);
}

async fn a_suspicion_from_a_fenced_holder_changes_nothing<B: Bench>() {
    let (_bench, store) = started::<B>(|settings| settings.lease = Duration::from_millis(50)).await;
    let dead = acquire(&*store, wish("a", "m/0")).await;
    let _next = acquire_in_time(&*store, wish("a", "m/0")).await;
    assert!(matches!(store.suspect(&dead).await.unwrap(), Suspicion::Paused(_)));
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
}

async fn a_person_pauses_and_resumes_an_account<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let under_way = acquire(&*store, wish("a", "m/0")).await;
    store.pause(&account()).await.unwrap();
    store.pause(&account()).await.unwrap();
    let expected = (PauseCause::Operator, Duration::from_secs(10));
    assert_eq!(paused(&ask(&*store, wish("b", "m/0")).await), expected);
    finish(&*store, &under_way, &delivered(), Signal::Healthy).await;
    assert_eq!(paused(&ask(&*store, wish("b", "m/0")).await), expected, "no signal ends it");
    assert!(matches!(ask(&*store, to_end("c", "m/0")).await, Answer::Acquired(_)));
    assert!(matches!(ask(&*store, wish("a", "n/0")).await, Answer::Ended { .. }));
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().cause, PauseCause::Operator);
    store.resume(&account(), &Line::MAIN).await.unwrap();
    store.resume(&account(), &Line::MAIN).await.unwrap();
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
    assert!(matches!(ask(&*store, wish("b", "m/0")).await, Answer::Acquired(_)));
}

async fn each_limit_has_a_health_of_its_own_and_a_person_pauses_all<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let beside = Pool::beside("campaigns").line();
    let call = |id: &str| ClaimRequest { line: beside.clone(), ..wish(id, "m/0") };
    let refused = acquire(&*store, call("a")).await;
    let elsewhere = ask(&*store, wish("a", "n/0")).await;
    assert!(matches!(elsewhere, Answer::Held(_)), "one claim, whichever limit: {elsewhere:?}");
    assert!(matches!(store.suspect(&refused).await.unwrap(), Suspicion::Paused(_)));
    assert_eq!(paused(&ask(&*store, call("b")).await).0, PauseCause::Credentials);
    assert_eq!(store.pause_of(&account(), &beside).await.unwrap().unwrap().cause, PauseCause::Credentials);
    // The main limit is well, and its successes do not speak for the other.
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
    attempt(&*store, "c", Signal::Healthy).await;
    for id in ["d", "e", "f"] {
        attempt(&*store, id, Signal::Faulty).await;
    }
    assert_eq!(paused(&ask(&*store, wish("g", "m/0")).await).0, PauseCause::Circuit);
    assert_eq!(paused(&ask(&*store, call("b")).await).0, PauseCause::Credentials);

    store.pause(&account()).await.unwrap();
    for line in [&Line::MAIN, &beside] {
        let pause = store.pause_of(&account(), line).await.unwrap().unwrap();
        assert_eq!(pause.cause, PauseCause::Operator, "{line:?}");
    }
    assert_eq!(paused(&ask(&*store, call("b")).await).0, PauseCause::Operator);
    store.resume(&account(), &beside).await.unwrap();
    assert!(matches!(ask(&*store, call("b")).await, Answer::Acquired(_)));
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().cause, PauseCause::Circuit);
}

async fn a_provider_s_wish_for_a_pause_stops_all_and_ends_without_a_probe<B: Bench>() {
    let (_bench, store) = started::<B>(|_| ()).await;
    let under_way = acquire(&*store, wish("a", "m/0")).await;
    store.throttle(&account(), &Line::MAIN, Duration::from_millis(700)).await.unwrap();
    store.throttle(&account(), &Line::MAIN, Duration::from_millis(1)).await.unwrap();
    let (cause, wait) = paused(&ask(&*store, wish("b", "m/0")).await);
    assert_eq!(cause, PauseCause::Throttled);
    assert!(wait > Duration::from_millis(300) && wait <= Duration::from_millis(700), "{wait:?}");
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap().unwrap().cause, PauseCause::Throttled);
    // The account's other work, other accounts and ends without a request go on.
    let line = Pool::beside("calls").line();
    assert!(matches!(ask(&*store, ClaimRequest { line, ..wish("c", "m/0") }).await, Answer::Acquired(_)));
    let other = ClaimRequest { account: AccountName::new("news").unwrap(), ..wish("b", "m/0") };
    assert!(matches!(ask(&*store, other).await, Answer::Acquired(_)));
    acquire(&*store, to_end("d", "m/0")).await;
    finish(&*store, &under_way, &delivered(), Signal::Healthy).await;
    paused(&ask(&*store, wish("b", "m/0")).await);
    let first = acquire_in_time(&*store, wish("b", "m/0")).await;
    let second = acquire(&*store, wish("e", "m/0")).await;
    assert!(!first.probe && !second.probe);
    assert_eq!(store.pause_of(&account(), &Line::MAIN).await.unwrap(), None);
}
