//! A node of the broker's cluster dies under load.

use super::load::{assert_ends, next_round, slow};
use crate::support::rabbitmq::Broker;
use crate::support::world::{Options, World, eventually};

/// Whether a worker's consuming connection came to a node, by the node's own log.
fn came(node: &Broker, world: &World, worker: usize) -> bool {
    let name = format!("{} consume (process {})", world.prefix(), world.workers[worker].pid());
    node.log().contains(&name)
}

/// Asserts that every queue of the world has a copy on each node, and that one node leads them all.
fn assert_spread(world: &World, leader: &Broker) {
    let listed = leader.ctl(&["list_queues", "name", "leader", "members"]);
    let queues: Vec<&str> = listed.lines().filter(|line| line.starts_with(world.prefix())).collect();
    assert!(!queues.is_empty(), "{listed}");
    for queue in queues {
        let mut columns = queue.splitn(3, '\t');
        assert_eq!(columns.nth(1), Some(&*leader.node_name()), "{queue}");
        let members = columns.next().unwrap_or_default();
        assert!(world.nodes().iter().all(|node| members.contains(&node.node_name())), "{queue}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_its_leading_node_under_load_loses_and_doubles_nothing() {
    let mut world = World::with(Options { cluster: true, ..slow() }).await;
    assert_spread(&world, world.nodes()[0]);
    world.start_worker().await;
    world.start_worker().await;
    next_round(&mut world, 200).await;
    let [first, second, third] = world.nodes();
    assert!(came(first, &world, 0) && came(first, &world, 1), "both work over the first node");
    assert!(!came(second, &world, 0) && !came(third, &world, 0));
    first.kill9();
    eventually("both workers move to the next node", || async {
        let second = world.nodes()[1];
        came(second, &world, 0) && came(second, &world, 1)
    })
    .await;
    // A majority goes on, with new work too.
    next_round(&mut world, 100).await;
    world.settle().await;
    world.nodes()[0].start();
    // Now the node that they moved to, while the first is just back.
    next_round(&mut world, 100).await;
    world.nodes()[1].kill9();
    world.settle().await;
    world.nodes()[1].start();
    assert_ends(&world);
    world.finish().await;
}
