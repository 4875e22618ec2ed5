//! Time and chance as the system has them.

use jiff::Timestamp;

use crate::ports::{Chance, Clock};

/// The host's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The system's random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn unit(&self) -> f64 {
        rand::random()
    }

    fn unique(&self) -> String {
        // From the thread's generator, which asks the system for a seed now and then and not each time.
        uuid::Builder::from_random_bytes(rand::random()).into_uuid().to_string()
    }
}
