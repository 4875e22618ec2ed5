//! One suite for every adapter of a port.
mod claims;
mod permits;
mod queue;
mod sightings;
