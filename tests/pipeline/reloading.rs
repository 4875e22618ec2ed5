//! SIGHUP: a new configuration under load.

use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::world::{Options, World, eventually, signal};

const CALLS: &str = r#"
[accounts.calls]
provider = "moengage"
base_url = "{provider}"
workspace_id = "CALLS01"
push_api_key = { env = "MOENGAGE_PUSH_KEY" }
"#;

/// How often the worker's log says this.
fn said(world: &World, what: &str) -> usize {
    std::fs::read_to_string(&world.workers[0].log).expect("a log").matches(what).count()
}

/// Writes another configuration, tells the worker, and waits until it says so.
async fn reload(world: &World, text: &str, what: &str) {
    let before = said(world, what);
    std::fs::write(world.config_file(), text).expect("the configuration is written");
    signal(world.workers[0].pid(), "-HUP");
    eventually("the worker read its configuration again", || async { said(world, what) > before }).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_new_configuration_is_in_force_without_a_restart_and_nothing_is_dropped() {
    let shop = "requests_per_minute = 1200\nnotifications_per_request = 2";
    let mut options = Options { shop, more: CALLS, more_accounts: &["calls"], ..Options::default() };
    options.simulator.faults.latency = "20ms..120ms".parse().expect("a span");
    let mut world = World::with(options).await;
    let with_calls = std::fs::read_to_string(world.config_file()).expect("the configuration");
    let (before, after) = with_calls.split_once("[accounts.calls]").expect("an account");
    let rest = &after[after.find("\n[").expect("another section")..];
    let without_calls = format!("{before}{rest}");
    std::fs::write(world.config_file(), &without_calls).expect("the configuration is written");
    world.start_worker().await;
    let pid = world.workers[0].pid();
    let job = |n: usize| {
        if n.is_multiple_of(2) {
            exempt_job(&format!("e-{n}"))
        } else {
            counted_job(&format!("c-{n}"), "low")
        }
    };
    world.publish(&(0..200).map(job).collect::<Vec<Value>>()).await;
    world.wait_for_ends(5).await;

    reload(&world, &with_calls, "a worker of the new configuration has taken over").await;
    world.publish(&(200..300).map(job).collect::<Vec<Value>>()).await;
    let mut call = user_job("call");
    call["account"] = "calls".into();
    world.publish(&[call]).await;

    // What can't be used changes nothing, and the log names what is wrong.
    reload(&world, &with_calls.replace("1200", "1"), "accounts.shop.requests_per_minute: found 1").await;
    reload(
        &world,
        &with_calls.replace("[store]", "[store]\ndedupe_ttl = \"2d\""),
        "a change of [store] needs a restart",
    )
    .await;
    assert_eq!(said(&world, "has taken over"), 1);

    reload(&world, &with_calls.replace("1200", "3000"), "a worker of the new configuration has taken over")
        .await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 301);
    let once = |receipt: &&Value| receipt["attempts"] == 1;
    assert!(world.receipts().iter().all(once), "no request was dropped, and none was made twice");
    eventually("those before have ended", || async { said(&world, "has ended what it had begun") == 2 })
        .await;
    assert_eq!((world.workers.len(), world.workers[0].pid()), (1, pid));
    let (status, text) = world.admin(0, "/readyz").await;
    assert_eq!(status, 200, "{text}");
    world.finish().await;
}
