//! `paceline pause` and `paceline resume`, with real workers.

use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::world::{World, eventually};

/// Runs a command and returns the one object it prints.
async fn told(world: &World, arguments: &[&str]) -> Value {
    let output = world.command(arguments).output().await.expect("the command runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {text}");
    serde_json::from_str(&text).expect("one JSON object")
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_person_stops_an_account_for_all_workers_and_lets_it_go_on() {
    let mut world = World::new().await;
    let paused =
        json!({"account": "shop", "paused": [{"limit": "main", "cause": "operator", "seconds": null}]});
    for _ in 0..2 {
        let mut found = told(&world, &["pause", "shop", "--json"]).await;
        found["paused"].as_array_mut().expect("its limits").truncate(1);
        assert_eq!(found, paused, "pausing twice is pausing once");
    }
    // What is paused stays so for workers that start later.
    world.start_worker().await;
    let jobs: Vec<Value> = (0..5)
        .flat_map(|n| [exempt_job(&format!("e-{n}")), counted_job(&format!("c-{n}"), "high")])
        .collect();
    world.publish(&jobs).await;
    world.publish(&[user_job("another")]).await;
    world.wait_for_ends(1).await;
    assert_eq!(world.receipts_of("another").len(), 1);
    eventually("all that waits is seen, and why", || async {
        let picture = told(&world, &["status", "shop", "--json"]).await;
        let shop = &picture["accounts"][0];
        let waiting =
            shop["jobs"]["waiting"].as_u64().zip(shop["limits"][0]["lanes"]["high"]["waiting"].as_u64());
        waiting == Some((5, 5)) && shop["limits"][0]["paused"]["cause"] == "operator"
    })
    .await;
    assert_eq!(world.receipts().len(), 1, "nothing of the paused account has ended");
    assert_eq!(told(&world, &["resume", "shop", "--json"]).await, json!({"account": "shop", "paused": []}));
    world.settle().await;
    let attempts = |receipt: &&Value| receipt["attempts"].as_u64();
    assert!(world.receipts().iter().all(|receipt| attempts(receipt) == Some(1)), "no retry was used up");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_no_account_or_one_that_is_not_there_is_told_so() {
    let world = World::new().await;
    for arguments in [&["pause"][..], &["resume", "nobody"]] {
        let output = world.command(arguments).output().await.expect("the command runs");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("ACCOUNT") || said.contains("there are: news, shop"), "{said}");
    }
    world.finish().await;
}
