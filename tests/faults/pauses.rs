//! Pauses that all workers share: refused credentials, and providers that fail.

use std::time::Duration;

use paceline::simulator::faults::FaultPlan;
use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::world::{Options, PUSH_KEY, TOKEN, World, eventually};

const WORKERS: usize = 3;

fn jobs(from: usize, to: usize) -> Vec<Value> {
    let job = |n: usize| match n % 3 {
        0 => exempt_job(&format!("p-{n}")),
        1 => counted_job(&format!("p-{n}"), "high"),
        _ => user_job(&format!("p-{n}")),
    };
    (from..to).map(job).collect()
}

async fn started(options: Options) -> World {
    let mut world = World::with(options).await;
    for _ in 0..WORKERS {
        world.launch_worker().await;
    }
    for worker in 0..WORKERS {
        ready(&world, worker).await;
    }
    world
}

async fn ready(world: &World, worker: usize) {
    let url = format!("http://{}/readyz", world.workers[worker].admin);
    eventually("the worker is ready", || async {
        crate::support::world::get(&url).await.is_some_and(|(status, _)| status == 200)
    })
    .await;
}

/// Waits until every worker tells this line.
async fn all_tell(world: &World, line: &str) {
    for worker in 0..WORKERS {
        eventually(line, || async {
            world.admin(worker, "/metrics").await.1.lines().any(|found| found == line)
        })
        .await;
    }
}

/// When requests arrived at a provider, and how many deliveries they carried.
fn arrivals(world: &World, provider: &str) -> Vec<(Duration, usize)> {
    let entries = world.provider.ledger().into_iter();
    let entries = entries.filter(|entry| entry.provider.as_deref() == Some(provider));
    entries.map(|entry| (Duration::from_micros(entry.at_us), entry.deliveries.len())).collect()
}

/// Asserts that requests after the first ones came one at a time, each with one delivery, `apart`.
fn assert_probes(arrivals: &[(Duration, usize)], apart: Duration) {
    for pair in arrivals.windows(2) {
        let between = pair[1].0 - pair[0].0;
        assert!(between >= apart, "{between:?} between two probes: {arrivals:?}");
        assert_eq!(pair[1].1, 1, "a probe carries one delivery: {arrivals:?}");
    }
}

/// What makes a provider refuse both accounts, and what it says when all is well again.
async fn a_refused_credential_pauses_all_workers(refuse: fn(&World), mend: fn(&World)) {
    let more = "[circuit]\ncredentials_pause = \"2s\"";
    let mut world = started(Options { more, ..Options::default() }).await;
    refuse(&world);
    world.publish(&jobs(0, 3)[..1]).await;
    world.publish(&jobs(2, 3)).await;
    for account in ["shop", "news"] {
        let paused = format!("paceline_account_paused{{account=\"{account}\",cause=\"credentials\"}} 1");
        all_tell(&world, &paused).await;
    }
    world.publish(&jobs(3, 36)).await;
    eventually("both accounts were probed some times", || async {
        ["pushwoosh", "moengage"].iter().all(|provider| arrivals(&world, provider).len() >= 4)
    })
    .await;
    for provider in ["pushwoosh", "moengage"] {
        assert_probes(&arrivals(&world, provider), Duration::from_millis(1_800));
    }
    assert!(world.dead_letters().await.is_empty(), "nothing is buried: {}", world.logs());
    assert!(world.whole_logs().contains("check its credentials"));
    mend(&world);
    world.settle().await;
    assert_eq!(world.count("delivered"), 35, "{:?}", world.receipts());
    for account in ["shop", "news"] {
        let open = format!("paceline_account_paused{{account=\"{account}\",cause=\"credentials\"}} 0");
        all_tell(&world, &open).await;
    }
    world.finish().await;
}

fn let_in(world: &World, shop: String, news: String) {
    for (provider, credential) in [("pushwoosh", shop), ("moengage", news)] {
        let mut rules = world.provider.rules(provider).expect("a provider");
        rules.credentials = Some(vec![credential]);
        world.provider.set_rules(provider, rules).expect("a provider");
    }
}

fn faults(world: &World, rules: &[&str]) {
    world.provider.set_faults(FaultPlan::parse(rules).expect("a fault plan"));
}

/// The token is not the one that the provider knows, and the signature is made with another key.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_and_a_wrong_signature_pause_their_accounts_for_all_workers() {
    a_refused_credential_pauses_all_workers(
        |world| let_in(world, "another token".into(), "DEMO01_DEBUG:another key".into()),
        |world| let_in(world, TOKEN.into(), format!("DEMO01_DEBUG:{PUSH_KEY}")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_and_a_403_pause_their_accounts_for_all_workers() {
    a_refused_credential_pauses_all_workers(
        |world| faults(world, &["pushwoosh:403@1", "moengage:401@1"]),
        |world| faults(world, &[]),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_probed_by_one_delivery_of_all_workers() {
    let more = "[circuit]\nfailures = 5\npause = \"1s\"\npause_max = \"2s\"\n\
                [retry]\nattempts = 2\nbase = \"1s\"\ncap = \"1s\"";
    let mut world = started(Options { more, ..Options::default() }).await;
    faults(&world, &["pushwoosh:503@1"]);
    let job = |n: usize| {
        if n % 2 == 0 { exempt_job(&format!("c-{n}")) } else { counted_job(&format!("c-{n}"), "normal") }
    };
    // The first five open the circuit.
    world.publish(&(0..5).map(|n| exempt_job(&format!("first-{n}"))).collect::<Vec<_>>()).await;
    let open = |world: &World, worker: usize| {
        let url = format!("http://{}/metrics", world.workers[worker].admin);
        async move {
            let text = crate::support::world::get(&url).await.map(|(_, text)| text).unwrap_or_default();
            // Half open now and then, while one delivery probes.
            ["1", "2"]
                .iter()
                .any(|state| text.contains(&format!("paceline_circuit_state{{account=\"shop\"}} {state}")))
        }
    };
    for worker in 0..WORKERS {
        eventually("the circuit is open in every worker", || open(&world, worker)).await;
    }
    let before = arrivals(&world, "pushwoosh").len();
    assert!(before <= 8, "{before} requests opened a circuit of 5 faults");
    world.publish(&(0..40).map(job).collect::<Vec<_>>()).await;
    eventually("it was probed some times", || async { arrivals(&world, "pushwoosh").len() >= before + 5 })
        .await;
    assert_probes(&arrivals(&world, "pushwoosh")[before..], Duration::from_millis(800));
    faults(&world, &[]);
    world.settle().await;
    // Two retries each would have been used up by a handful of attempts.
    assert_eq!(world.count("delivered"), 45, "{:?}", world.receipts());
    let attempts: u64 = world.receipts().iter().filter_map(|receipt| receipt["attempts"].as_u64()).sum();
    let sent: usize = arrivals(&world, "pushwoosh").iter().map(|(_, deliveries)| deliveries).sum();
    assert_eq!(attempts, sent as u64, "a delivery that was not sent counts no attempt");
    world.finish().await;
}
