//! The network between workers and their servers is slow, breaks, or swallows what it is given.

use std::time::Duration;

use super::load::{assert_ends, mixed, next_round, slow};
use crate::support::proxy::{Cut, Flow, Proxy};
use crate::support::world::{Network, Options, World, eventually};

/// Short heartbeats: a silent broker is given up after 4 to 5 seconds.
const HEARTBEAT: &str = "?heartbeat=2";

/// Longer than every limit with which these workers wait for an answer.
const SILENCE: Duration = Duration::from_secs(6);

async fn proxied(broker_query: &'static str) -> World {
    let mut world = World::with(Options { proxied: true, broker_query, ..slow() }).await;
    world.start_worker().await;
    world.start_worker().await;
    world
}

fn parts(network: &Network) -> [(&'static str, &Proxy); 3] {
    [("broker", &network.broker), ("store", &network.store), ("provider", &network.provider)]
}

async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn is_ready(world: &World, worker: usize) -> bool {
    world.admin(worker, "/readyz").await.0 == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_loses_and_doubles_nothing() {
    let mut world = proxied("").await;
    for (index, span) in [(0, 50..300), (1, 5..25), (2, 50..300)] {
        let (_, proxy) = parts(world.network())[index];
        proxy.delay(Duration::from_millis(span.start), Duration::from_millis(span.end));
        next_round(&mut world, 60).await;
        world.settle().await;
        world.network().all().iter().for_each(|proxy| proxy.pass());
    }
    // All three at once, with a store too slow for any permit to be used in time.
    for proxy in world.network().all() {
        proxy.delay(Duration::from_millis(50), Duration::from_millis(300));
    }
    world.publish(&mixed(180, 240)).await;
    sleep(3_000).await;
    world.network().all().iter().for_each(|proxy| proxy.pass());
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}

/// Half the time in which a permit can be used passes on the way to it and back, the other half on the
/// way to the claim.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_too_slow_for_permits_exhausts_no_retries() {
    let more = "[retry]\nattempts = 1\nbase = \"1s\"\ncap = \"1s\"";
    let mut world = World::with(Options { proxied: true, more, ..slow() }).await;
    world.start_worker().await;
    world.network().store.delay(Duration::from_millis(60), Duration::from_millis(65));
    world.publish(&mixed(0, 20)).await;
    sleep(12_000).await;
    world.network().store.pass();
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_again_and_again_lose_and_double_nothing() {
    let mut world = proxied("").await;
    for index in 0..3 {
        next_round(&mut world, 150).await;
        for round in 0..12 {
            let (_, proxy) = parts(world.network())[index];
            proxy.cut(if round % 2 == 0 { Cut::Reset } else { Cut::Close });
            if round % 4 == 3 {
                proxy.refuse();
                sleep(300).await;
                proxy.pass();
            }
            sleep(300).await;
        }
    }
    world.settle().await;
    assert_ends(&world);
    let poison = world.receipts().iter().filter(|receipt| receipt["reason"] == "poison").count();
    assert_eq!(poison, 0, "a broken connection is nobody's fault");
    world.finish().await;
}

/// Nothing passes for longer than anybody waits, to one server after another: at first both ways,
/// then requests are lost, then their answers.
async fn swallowed(index: usize) {
    let mut world = proxied(HEARTBEAT).await;
    let ways = [(Flow::Stopped, Flow::Stopped), (Flow::Stopped, Flow::FREE), (Flow::FREE, Flow::Stopped)];
    for (round, (to_server, to_client)) in ways.into_iter().enumerate() {
        next_round(&mut world, 80).await;
        let (name, proxy) = parts(world.network())[index];
        proxy.flow(to_server, to_client);
        if name == "provider" {
            tokio::time::sleep(SILENCE).await;
        } else {
            eventually("the workers notice", || async {
                !is_ready(&world, 0).await && !is_ready(&world, 1).await
            })
            .await;
            sleep(1_500).await;
        }
        // What the silence has held back must not help: it is never seen.
        let (_, proxy) = parts(world.network())[index];
        if round % 2 == 1 {
            proxy.cut(Cut::Reset);
        }
        proxy.pass();
        eventually("the workers go on", || async { is_ready(&world, 0).await && is_ready(&world, 1).await })
            .await;
    }
    world.settle().await;
    assert_ends(&world);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_is_given_up_and_found_again() {
    swallowed(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_falls_silent_is_given_up_and_found_again() {
    swallowed(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_falls_silent_gets_nothing_twice() {
    swallowed(2).await;
}

/// How many threads a process has.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).expect("a running worker").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_come_about_leave_no_threads_behind() {
    let env = &[("PACELINE__QUEUE__CONNECT_TIMEOUT", "300ms")];
    let mut world = World::with(Options { proxied: true, env, ..slow() }).await;
    let worker = world.start_worker().await;
    let pid = world.workers[worker].pid();
    let before = threads(pid);
    let proxy = &world.network().broker;
    proxy.flow(Flow::Stopped, Flow::Stopped);
    proxy.cut(Cut::Close);
    eventually("it tried again and again", || async {
        world.whole_logs().matches("no connection within").count() >= 12
    })
    .await;
    // Those of the two attempts under way, and the runtime's own.
    let more = threads(pid).saturating_sub(before);
    assert!(more <= 6, "{more} threads more than {before}");
    world.network().broker.pass();
    world.publish(&mixed(0, 20)).await;
    world.settle().await;
    world.finish().await;
}
