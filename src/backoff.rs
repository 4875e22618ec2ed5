//! How long a delivery waits before it is tried again: exponential, with full jitter.
//!
//! Full jitter (a wait drawn evenly from zero to the bound) spreads the retries of a provider's
//! outage best. The bound doubles with each retry up to a cap. Chance is passed in.

use std::time::Duration;

use crate::config::RetryConfig;

/// The wait before retry number `retry` (from 1), for a number `unit` in [0, 1).
pub fn wait(policy: &RetryConfig, retry: u32, unit: f64) -> Duration {
    bound(policy.base, policy.cap, retry).mul_f64(unit.clamp(0.0, 1.0))
}

/// `first · 2^(n − 1)`, at most `cap`: the upper bound of wait number `n` (from 1).
pub fn bound(first: Duration, cap: Duration, n: u32) -> Duration {
    let doublings = n.saturating_sub(1).min(30);
    first.saturating_mul(1 << doublings).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryConfig {
        RetryConfig {
            attempts: 10,
            max_age: Duration::from_secs(86_400),
            base: Duration::from_secs(2),
            cap: Duration::from_secs(600),
        }
    }

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let policy = policy();
        for (retry, seconds) in [(0, 2), (1, 2), (2, 4), (3, 8), (9, 512), (10, 600), (u32::MAX, 600)] {
            assert_eq!(bound(policy.base, policy.cap, retry), Duration::from_secs(seconds), "retry {retry}");
        }
    }

    #[test]
    fn the_jitter_is_full() {
        for (unit, milliseconds) in [(0.0, 0), (0.5, 4_000), (0.999, 7_992), (7.0, 8_000)] {
            assert_eq!(wait(&policy(), 3, unit), Duration::from_millis(milliseconds), "unit {unit}");
        }
    }
}
