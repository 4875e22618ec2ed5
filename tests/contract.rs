//! One suite for every adapter of a port.
mod claims;
mod letters;
mod permits;
mod queue;
mod queues;
mod sightings;
#[allow(dead_code, reason = "the simulation uses all of it")]
mod simulated;
mod stores;
