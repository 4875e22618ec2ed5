//! The parts of the simulation that play servers.

#[path = "../simulation/broker.rs"]
pub mod broker;
#[path = "../simulation/chance.rs"]
pub mod chance;
#[path = "../simulation/life.rs"]
pub mod life;
#[path = "../simulation/store.rs"]
pub mod store;
