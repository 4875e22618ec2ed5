//! A producer as it should be: what is not confirmed is published again under the same name.

use std::sync::Arc;
use std::time::Duration;

use paceline::adapters::embedded::Embedded;
use paceline::adapters::rabbitmq::RabbitMq;
use paceline::adapters::system::SystemChance;
use paceline::ports::{Destination, Outgoing, Place, Properties, PublishError, Publisher, Queue};
use tokio::time::sleep;

use crate::support::rabbitmq;

/// A producer; clones share its connection.
#[derive(Clone)]
pub enum Producer {
    /// At a broker.
    Broker(Arc<RabbitMq>),
    /// On a file.
    File(Arc<Embedded>),
}

impl Producer {
    /// Connects and declares what the places need.
    pub async fn connect(url: &str, prefix: &str, places: &[Place]) -> Self {
        let producer = RabbitMq::start(rabbitmq::config(url, prefix), places, Arc::new(SystemChance));
        producer.started().await.expect("the broker objects are declared");
        Self::Broker(producer)
    }

    /// Publishes a body for an account, until it is confirmed or refused for good.
    pub async fn offer(
        &self,
        account: String,
        body: Vec<u8>,
        properties: Properties,
    ) -> Result<(), PublishError> {
        let outgoing = Outgoing { destination: Destination::Jobs(account), body: body.into(), properties };
        self.publish(outgoing).await
    }

    /// Publishes a message until it is confirmed or refused for good.
    pub async fn publish(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        loop {
            match self.port().publish(outgoing.clone()).await {
                Err(PublishError::Unconfirmed(_)) => sleep(Duration::from_millis(50)).await,
                other => return other,
            }
        }
    }

    /// Waits until it is connected.
    pub async fn connected(&self) {
        self.queue().up().wait_for(|up| *up).await.expect("a producer that was not stopped");
    }

    /// How many messages wait in each place; `None` for one that can't be asked.
    pub async fn depths(&self, places: &[Place]) -> Vec<Option<u64>> {
        self.queue().depths(places).await
    }

    /// What publishes.
    fn port(&self) -> &dyn Publisher {
        match self {
            Self::Broker(broker) => broker.as_ref(),
            Self::File(file) => file.as_ref(),
        }
    }

    fn queue(&self) -> &dyn Queue {
        match self {
            Self::Broker(broker) => broker.as_ref(),
            Self::File(file) => file.as_ref(),
        }
    }
}
