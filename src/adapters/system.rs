//! Time and chance as the system has them.

use jiff::Timestamp;
use uuid::Uuid;

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
        Uuid::new_v4().to_string()
    }
}
