//! Which broker a world uses.

use super::Options;
use crate::support::rabbitmq::Broker;

/// How many nodes a cluster has: one may be lost.
pub const NODES: usize = 3;

/// A world's broker.
pub enum UsedBroker {
    /// One that other worlds use, too.
    Shared(&'static Broker),
    /// One of its own.
    Own(Box<Broker>),
    /// Several of its own, which form one.
    Cluster(Box<[Broker; NODES]>),
}

impl UsedBroker {
    /// The broker that these options ask for.
    pub fn of(options: &Options) -> Self {
        match (options.cluster, options.own_broker) {
            (true, _) => Self::Cluster(Box::new(Broker::launch_cluster())),
            (false, true) => Self::Own(Box::new(Broker::launch())),
            (false, false) => Self::Shared(Broker::shared()),
        }
    }

    /// Its nodes.
    pub fn nodes(&self) -> Vec<&Broker> {
        match self {
            Self::Shared(broker) => vec![*broker],
            Self::Own(broker) => vec![&**broker],
            Self::Cluster(nodes) => nodes.iter().collect(),
        }
    }

    /// Their addresses.
    pub fn urls(&self) -> Vec<String> {
        self.nodes().iter().map(|node| node.url()).collect()
    }

    /// A channel to the first node that can be reached.
    pub async fn channel(&self) -> lapin::Result<lapin::Channel> {
        let mut failure = None;
        for url in self.urls() {
            match lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await {
                Ok(connection) => return connection.create_channel().await,
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("a broker has a node"))
    }
}
