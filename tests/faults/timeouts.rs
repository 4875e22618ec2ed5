//! No message is held for so long that the broker takes it away.

use std::time::Duration;

use paceline::adapters::redis::StoreSettings;
use paceline::job::Line;
use paceline::ports::Claims;
use paceline::simulator::faults::FaultPlan;
use serde_json::Value;
use tokio::time::sleep;

use super::receipts::Full;
use crate::support::jobs::{account, counted_job, exempt_job, user_job};
use crate::support::redis;
use crate::support::world::{Options, World, eventually};

/// The broker takes a message away that was not settled for so long, with its channel. Its own time
/// is half an hour, and it looks once a minute.
const BROKER: &str = "application:set_env(rabbit, consumer_timeout, 24000), \
                      application:set_env(rabbit, channel_tick_interval, 1000).";

/// Long enough for the broker to notice.
const LONGER: Duration = Duration::from_secs(32);

fn jobs(round: &str) -> Vec<Value> {
    let of = |n: usize| {
        let id = format!("{round}-{n}");
        [
            exempt_job(&format!("{id}-e")),
            counted_job(&format!("{id}-c"), "normal"),
            user_job(&format!("{id}-u")),
        ]
    };
    (0..5).flat_map(of).collect()
}

/// What the broker says when it takes messages away.
fn assert_none_taken_away(world: &World, when: &str) {
    let log = world.broker().log();
    for sign in ["PRECONDITION_FAILED", "timed out"] {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(sign)).collect();
        assert!(lines.is_empty(), "{when}: {lines:?}\n{}", world.logs());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_consumer_timeout_is_never_reached() {
    // In the same proportion as by default: the last try to publish something ends long before the broker's
    // time is over.
    let env = &[("PACELINE__WORKER__HOLD", "10s"), ("PACELINE__QUEUE__PUBLISH_TIMEOUT", "2s")];
    let options = Options { own_broker: true, env, ..Options::default() };
    let mut world = World::with(options).await;
    world.broker().ctl(&["eval", BROKER]);
    let settings = StoreSettings { prefix: world.prefix().to_owned(), ..redis::settings(&world.redis.url()) };
    let store = redis::connect(settings, Vec::new()).await;

    // One account is paused by a person, the other one's receipts are refused, and its provider hangs.
    store.pause(&account("shop")).await.unwrap();
    let full = Full::bound(&world, "news").await;
    world.provider.set_faults(FaultPlan::parse(&["moengage:none*2", "moengage:hang-before*8"]).unwrap());
    world.start_worker().await;
    world.publish(&jobs("a")).await;
    sleep(LONGER).await;
    assert_none_taken_away(&world, "paused, and receipts refused");
    full.gone().await;
    store.resume(&account("shop"), &Line::MAIN).await.unwrap();
    world.settle().await;

    // The store stands still.
    world.redis.freeze();
    world.publish(&jobs("b")).await;
    sleep(LONGER).await;
    assert_none_taken_away(&world, "the store stood still");
    world.redis.thaw();
    world.settle().await;

    // Nothing can be published.
    world.publish(&jobs("c")).await;
    world.broker().block_publishers();
    sleep(LONGER).await;
    world.broker().unblock_publishers();
    world.settle().await;
    assert_none_taken_away(&world, "publishers were blocked");
    eventually("the worker is ready", || async { world.admin(0, "/readyz").await.0 == 200 }).await;
    world.finish().await;
}
