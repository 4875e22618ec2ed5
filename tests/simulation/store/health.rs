//! An account's health, as `health.lua` keeps it.

use std::collections::BTreeSet;
use std::time::Duration;

use paceline::config::CircuitConfig;
use paceline::job::DeliveryId;
use paceline::ports::{Pause, PauseCause};
use paceline::verdict::Signal;

use super::millis;

const DAY_MS: i64 = 86_400_000;

#[derive(Debug, Clone, Default)]
pub struct Health {
    pub cause: Option<PauseCause>,
    pub until: i64,
    pub backoff: Option<i64>,
    pub faults: u32,
    pub probe: Option<(String, i64)>,
    pub throttled_until: i64,
    pub suspects: BTreeSet<DeliveryId>,
    pub cleared: BTreeSet<DeliveryId>,
}

impl Health {
    pub fn throttled(&self, now: i64) -> Option<Pause> {
        let rest = self.throttled_until - now;
        let lasts = rest > 0 && rest <= DAY_MS;
        lasts.then(|| Pause { wait: millis(rest), cause: PauseCause::Throttled })
    }

    pub fn apply(&mut self, circuit: &CircuitConfig, signal: Signal, token: &str, now: i64) {
        let ms = |length: Duration| i64::try_from(length.as_millis()).expect("a sane length");
        let probes = self.cause.is_some() && self.probe.as_ref().is_some_and(|(probe, _)| probe == token);
        match signal {
            Signal::Healthy if probes => {
                let suspects = std::mem::take(&mut self.suspects);
                let cleared = std::mem::take(&mut self.cleared);
                let (was, throttled_until) = (self.cause, self.throttled_until);
                *self = Self { suspects, cleared, throttled_until, ..Self::default() };
                if was == Some(PauseCause::Credentials) && !self.suspects.is_empty() {
                    self.cleared = std::mem::take(&mut self.suspects);
                }
            }
            Signal::Healthy => {
                if self.cause.is_none() {
                    self.faults = 0;
                }
            }
            Signal::Faulty if probes => {
                self.probe = None;
                if self.cause == Some(PauseCause::Credentials) {
                    self.until = now + ms(circuit.credentials_pause);
                } else {
                    let length = (self.backoff.unwrap_or(ms(circuit.pause)) * 2).min(ms(circuit.pause_max));
                    (self.until, self.backoff) = (now + length, Some(length));
                }
            }
            Signal::Faulty => {
                if self.cause.is_none() {
                    self.faults += 1;
                    if self.faults >= circuit.failures.max(1) {
                        let length = ms(circuit.pause.min(circuit.pause_max));
                        self.faults = 0;
                        self.cause = Some(PauseCause::Circuit);
                        (self.until, self.backoff) = (now + length, Some(length));
                    }
                }
            }
            Signal::Neutral => {
                if probes {
                    self.probe = None;
                }
            }
        }
    }
}
