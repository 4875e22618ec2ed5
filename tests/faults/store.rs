//! A store that stands still, or comes back without its data, under load.

use std::time::Duration;

use super::load::{assert_ends, next_round, slow};
use crate::support::proxy::Cut;
use crate::support::world::{Options, World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stands_still_under_load_loses_and_doubles_nothing() {
    let mut world = World::with(slow()).await;
    world.start_worker().await;
    world.start_worker().await;
    // The second time for longer than a claim lasts.
    for still in [3, 13] {
        next_round(&mut world, 150).await;
        world.redis.freeze();
        eventually("the workers are not ready", || async { world.admin(0, "/readyz").await.0 == 503 }).await;
        let sent = world.provider.summary().counts.requests;
        tokio::time::sleep(Duration::from_secs(still)).await;
        let more = world.provider.summary().counts.requests - sent;
        assert!(more <= 10, "{more} requests without a store");
        world.redis.thaw();
    }
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}

/// So many messages of an account are in workers' hands.
fn in_hand(world: &World, account: &str) -> usize {
    let prefix = world.prefix();
    let listed = world.broker().ctl(&["list_queues", "name", "messages_unacknowledged"]);
    let of_account = |line: &&str| line.starts_with(prefix) && line.contains(&format!(".{account}"));
    let number = |line: &str| line.split_whitespace().last()?.parse::<usize>().ok();
    listed.lines().filter(of_account).filter_map(number).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_forgets_the_providers_own_window_catches() {
    let mut world = World::with(Options { proxied: true, ..slow() }).await;
    world.start_worker().await;
    world.start_worker().await;
    for _ in 0..2 {
        next_round(&mut world, 150).await;
        world.redis.kill();
        // Only a push that its provider can't recognise may be sent twice, and only if it was in hand.
        let users = in_hand(&world, "news");
        world.may_be_taken_twice(users);
        // All that is in hand comes again, to a store that knows nothing of it.
        world.network().broker.cut(Cut::Reset);
        world.redis.restart_empty().await;
    }
    world.settle().await;
    assert_ends(&world);
    let twice = world.provider.summary().accepted_twice;
    assert!(twice.iter().all(|twice| twice.provider == "moengage"), "{twice:?}");
    world.finish().await;
}
