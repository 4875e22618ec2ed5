//! Which broker a world uses.

use std::collections::BTreeMap;

use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;

use super::Options;
use crate::support::rabbitmq::Broker;

/// How many nodes a cluster has: one may be lost.
pub const NODES: usize = 3;

/// A world's broker.
pub enum UsedBroker {
    /// None: the world is without servers.
    None,
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
        if options.embedded {
            return Self::None;
        }
        match (options.cluster, options.own_broker) {
            (true, _) => Self::Cluster(Box::new(Broker::launch_cluster())),
            (false, true) => Self::Own(Box::new(Broker::launch())),
            (false, false) => Self::Shared(Broker::shared()),
        }
    }

    /// Its nodes.
    pub fn nodes(&self) -> Vec<&Broker> {
        match self {
            Self::None => Vec::new(),
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

/// All messages of a queue, left where they are, as (headers, body).
pub async fn dead_letters(channel: &lapin::Channel, queue: &str) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
    let mut letters = Vec::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap() {
        let headers = got.properties.headers().clone().unwrap_or_default();
        let headers = headers
            .inner()
            .iter()
            .filter_map(|(key, value)| Some((key.to_string(), text_of(value)?)))
            .collect();
        letters.push((headers, got.data.clone()));
    }
    // Nothing is acked: all of it goes back.
    channel.close(200, "looked".into()).await.unwrap();
    letters
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}
