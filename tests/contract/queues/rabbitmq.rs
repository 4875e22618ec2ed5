//! A real RabbitMQ, under a prefix of the test's own.

use std::sync::Arc;

use paceline::adapters::rabbitmq::RabbitMq;

use super::Bench;
use crate::contract::queue;
use crate::support::rabbitmq::{Broker, unique_prefix};

pub struct Rabbit(String);

impl Bench for Rabbit {
    type Port = RabbitMq;

    async fn start() -> Self {
        Self(unique_prefix())
    }

    async fn connect(&self) -> Arc<RabbitMq> {
        queue::start(Broker::shared(), &self.0).await
    }
}
