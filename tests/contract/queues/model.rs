//! The simulation's model of the broker, with nothing going wrong.

use std::sync::Arc;

use super::Bench;
use crate::contract::queue;
use crate::contract::simulated::broker::{Broker, Port};
use crate::contract::simulated::chance::Dice;
use crate::contract::simulated::life::{Chaos, Life, Odds};

pub struct Model {
    chaos: Arc<Chaos>,
    broker: Arc<Broker>,
}

impl Bench for Model {
    type Port = Port;

    async fn start() -> Self {
        let chaos = Chaos::new(Arc::new(Dice::new(1)), Odds::default());
        Self { broker: Broker::new(chaos.clone(), &queue::places()), chaos }
    }

    async fn connect(&self) -> Arc<Port> {
        let (life, _) = Life::new(self.chaos.clone());
        Arc::new(Port(self.broker.connect(life)))
    }
}
