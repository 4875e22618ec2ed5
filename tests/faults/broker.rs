//! A broker that goes, breaks connections, or takes nothing more, under load.

use std::time::Duration;

use super::load::{assert_ends, next_round, slow};
use crate::support::world::{Options, World, eventually};

async fn working() -> World {
    let mut world = World::with(Options { own_broker: true, ..slow() }).await;
    world.start_worker().await;
    world.start_worker().await;
    world
}

async fn is_ready(world: &World) -> bool {
    world.admin(0, "/readyz").await.0 == 200
}

async fn ended(mut world: World) {
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_stopped_in_good_order_and_started_again_loses_and_doubles_nothing() {
    let mut world = working().await;
    for _ in 0..2 {
        next_round(&mut world, 150).await;
        world.broker().stop();
        eventually("the worker is not ready", || async { !is_ready(&world).await }).await;
        assert_eq!(world.admin(0, "/healthz").await.0, 200, "a broker that is down is no reason to restart");
        world.broker().start();
    }
    ended(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_by_the_broker_again_and_again_make_nothing_poison() {
    let mut world = working().await;
    next_round(&mut world, 900).await;
    for _ in 0..6 {
        world.broker().close_all_connections();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let suspected = world.whole_logs().contains("a suspected message is watched");
    let alone = world.whole_logs().contains("is handled alone");
    ended(world).await;
    assert!(suspected, "nothing was given out so often that it became suspect");
    assert!(!alone, "no process died, and messages were made to wait for each other");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_the_broker_under_load_is_waited_out() {
    let mut world = working().await;
    for _ in 0..2 {
        next_round(&mut world, 700).await;
        world.broker().block_publishers();
        eventually("the worker is not ready", || async { !is_ready(&world).await }).await;
        // What is under way is sent to its end; what it came to can't be told yet.
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.broker().unblock_publishers();
        eventually("the worker goes on", || async { is_ready(&world).await }).await;
    }
    ended(world).await;
}
