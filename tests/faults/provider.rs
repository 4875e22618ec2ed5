//! What becomes of deliveries when their provider fails in each of its ways, under load.

use std::collections::BTreeSet;
use std::time::Duration;

use paceline::simulator::FaultPlan;
use serde_json::Value;

use super::load::{assert_ends, next_round, slow, targeted_job};
use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::world::{Options, World, eventually};

/// Each delivery has a request of its own, and no run of failures pauses an account.
const ALONE: &str = "requests_per_minute = 6000\nnotifications_per_request = 1";
const PATIENT: &str =
    "[retry]\nbase = \"1s\"\ncap = \"1s\"\n[circuit]\nfailures = 1000\nthrottle_pause = \"1s\"";

fn faults(rules: &[&str]) -> FaultPlan {
    FaultPlan::parse(rules).expect("a fault plan")
}

/// Pushes of every kind; `PUSHES` that the provider recognises when they come again, then `USERS` that
/// it doesn't.
fn pushes(fault: &str) -> Vec<Value> {
    let id = |kind: &str, n: usize| format!("{kind}-{n}-{}", fault.replace('=', "-"));
    (0..2)
        .flat_map(|n| {
            [
                exempt_job(&id("exempt", n)),
                counted_job(&id("high", n), "high"),
                counted_job(&id("low", n), "low"),
                targeted_job(&id("targeted", n)),
                user_job(&id("user", n)),
            ]
        })
        .collect()
}

const PUSHES: usize = 8;
const USERS: usize = 2;

fn id_of(job: &Value) -> &str {
    job["transactionId"].as_str().expect("an id")
}

/// How often each delivery stands in the ledger, by what became of it there.
fn arrivals(world: &World, id: &str) -> usize {
    let ledger = world.provider.ledger();
    // MoEngage's are named by their campaigns.
    let named = [id.to_owned(), format!("Campaign {id}")];
    let all = ledger.iter().flat_map(|entry| &entry.deliveries);
    all.filter(|delivery| delivery.id.as_ref().is_some_and(|id| named.contains(id))).count()
}

/// Lets every first request for these pushes fail in one way, then none; the world with the ends.
async fn fail_first(world: &mut World, fault: &str) -> Vec<Value> {
    world.provider.set_faults(faults(&[&format!("{fault}@1")]));
    let jobs = pushes(fault);
    world.publish(&jobs).await;
    eventually("every one was tried", || async { jobs.iter().all(|job| arrivals(world, id_of(job)) > 0) })
        .await;
    world.provider.set_faults(faults(&[]));
    world.settle().await;
    jobs
}

fn users_and_others(world: &World, jobs: &[Value]) -> (Vec<Value>, Vec<Value>) {
    let ends = jobs.iter().map(|job| world.receipts_of(id_of(job))[0].clone());
    ends.partition(|receipt| receipt["operation"] == "sendPush")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_only_where_the_provider_recognises_the_push() {
    let mut world = World::with(Options { shop: ALONE, more: PATIENT, ..Options::default() }).await;
    world.start_worker().await;
    world.start_worker().await;
    let kinds = [
        ("reset-after", true),
        ("reset-before", false),
        ("hang-after", true),
        ("hang-before", false),
        ("garbage", true),
        ("cut", true),
        ("500", false),
        ("500-after", true),
        ("502", false),
        ("502-after", true),
    ];
    for (fault, taken) in kinds {
        let before = world.provider.summary().counts;
        let jobs = fail_first(&mut world, fault).await;
        let after = world.provider.summary().counts;
        let (users, others) = users_and_others(&world, &jobs);
        assert_eq!((users.len(), others.len()), (USERS, PUSHES));
        for receipt in &others {
            assert_eq!(receipt["status"], "delivered", "{fault}: {receipt}");
            assert!(receipt["attempts"].as_u64() >= Some(2), "{fault}: {receipt}");
        }
        for receipt in &users {
            assert_eq!(
                (&receipt["reason"], &receipt["attempts"]),
                (&"uncertain".into(), &1.into()),
                "{fault}"
            );
            assert_eq!(arrivals(&world, receipt["transactionId"].as_str().unwrap()), 1, "{fault}: {receipt}");
        }
        let accepted = after.accepted - before.accepted;
        let expected = if taken { PUSHES + USERS } else { PUSHES };
        assert_eq!(accepted, expected as u64, "{fault}");
        let suppressed = after.suppressed - before.suppressed;
        assert_eq!(
            suppressed >= PUSHES as u64,
            taken,
            "{fault}: {suppressed} came again after they were taken"
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_surely_not_taken_is_delivered_in_the_end_and_never_uncertain() {
    let mut world = World::with(Options { shop: ALONE, more: PATIENT, ..Options::default() }).await;
    world.start_worker().await;
    world.start_worker().await;
    for fault in ["503", "503=2s", "429", "429=2s"] {
        let before = world.provider.summary().counts;
        let jobs = fail_first(&mut world, fault).await;
        let after = world.provider.summary().counts;
        assert_eq!(world.count("delivered"), world.receipts().len(), "{fault}: {:?}", world.receipts());
        assert_eq!(after.accepted - before.accepted, jobs.len() as u64, "{fault}");
        assert_eq!(after.suppressed, 0, "{fault}: nothing comes again that was taken");
    }
    world.provider.refuse_connections(Duration::from_secs(4));
    world.publish(&pushes("down")).await;
    world.settle().await;
    assert_eq!(world.count("delivered"), world.receipts().len());
    world.finish().await;
}

/// Throttling uses up no retry, however long it goes on; neither does a delivery's turn at finding out
/// whether a provider in trouble works again.
#[tokio::test(flavor = "multi_thread")]
async fn throttling_and_trouble_of_the_provider_exhaust_nothing_under_load() {
    let more = "[retry]\nattempts = 1\nbase = \"1s\"\ncap = \"1s\"\n\
                [circuit]\nfailures = 1\npause = \"1s\"\npause_max = \"1s\"\nthrottle_pause = \"1s\"";
    let mut world = World::with(Options { more, ..slow() }).await;
    world.start_worker().await;
    world.start_worker().await;
    for trouble in ["429@1", "503@1"] {
        next_round(&mut world, 100).await;
        world.provider.set_faults(faults(&[trouble]));
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.provider.set_faults(faults(&[]));
        world.settle().await;
        assert_ends(&world);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_answers_as_late_as_anybody_waits_gets_nothing_twice() {
    let mut world = World::with(slow()).await;
    world.start_worker().await;
    world.start_worker().await;
    // `request_timeout` is 3 s: some answers come in time, some a moment later.
    world.provider.set_faults(faults(&["latency=2700ms..3300ms@70%"]));
    next_round(&mut world, 150).await;
    world.wait_for_ends(75).await;
    let late = world.whole_logs().matches("timeout").count();
    assert!(late > 0, "no answer was late");
    world.provider.set_faults(faults(&[]));
    world.settle().await;
    assert_ends(&world);
    let ids: BTreeSet<_> =
        world.receipts().iter().map(|receipt| receipt["transactionId"].to_string()).collect();
    assert_eq!(ids.len(), 150);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_flaps_between_all_its_faults_gets_nothing_twice() {
    let more = "[retry]\nbase = \"1s\"\ncap = \"2s\"\nattempts = 100\n\
                [circuit]\npause = \"1s\"\npause_max = \"2s\"\nthrottle_pause = \"1s\"";
    let mut world = World::with(Options { more, ..slow() }).await;
    world.start_worker().await;
    world.start_worker().await;
    next_round(&mut world, 400).await;
    let spells: [&[&str]; 5] = [
        &["503@80%", "429=1s@10%"],
        &["reset-after@20%", "reset-before@20%", "cut@10%", "garbage@10%"],
        &["500@50%", "502-after@30%"],
        &["hang-after@10%", "hang-before@10%", "latency=1s..4s@30%"],
        &["429@30%"],
    ];
    for spell in spells {
        world.provider.set_faults(faults(spell));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        world.provider.refuse_connections(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.provider.set_faults(faults(&[]));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}
