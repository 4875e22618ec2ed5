//! An account's health, for one of its limits: faults, pauses, suspects. Pure: as the store that
//! workers share has it in `redis/health.lua`, `suspect.lua` and `pause.lua`.
//!
//! All times are milliseconds of the steady clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::CircuitConfig;
use crate::ports::{Pause, PauseCause, Suspicion};
use crate::verdict::Signal;

/// How long a worker leaves an account that a person paused before it looks again.
const OPERATOR_WAIT: i64 = 10_000;

/// How long a claim waits while another one probes.
pub(super) const PROBE_WAIT: i64 = 1_000;

const DAY: i64 = 86_400_000;

/// Why all requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Trouble {
    Circuit,
    Credentials,
}

impl Trouble {
    const fn cause(self) -> PauseCause {
        match self {
            Self::Circuit => PauseCause::Circuit,
            Self::Credentials => PauseCause::Credentials,
        }
    }
}

/// A pause for trouble: from its end on one claim at a time probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Troubled {
    why: Trouble,
    until: i64,
    /// The length of the circuit's present pause.
    length: i64,
    /// The token of the claim that probes, and the end of its lease: a probe that died with its
    /// worker blocks nobody longer.
    probe: Option<(String, i64)>,
}

/// The health of an account for one of its limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    /// A person has paused the whole account; in the main limit's health only.
    pub(super) paused_by_person: bool,
    trouble: Option<Troubled>,
    /// Faults in a row, while not paused.
    faults: u32,
    /// Until when the provider asked for a pause of work that has no limit.
    throttled_until: i64,
    /// Deliveries for which the account was found at fault.
    suspects: Vec<String>,
    /// Those, once another delivery was accepted, and until when they are remembered.
    cleared: Vec<String>,
    cleared_until: i64,
}

/// The lengths that health goes by, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths {
    failures: u32,
    pause: i64,
    pause_max: i64,
    credentials_pause: i64,
}

impl From<&CircuitConfig> for Lengths {
    fn from(circuit: &CircuitConfig) -> Self {
        Self {
            failures: circuit.failures.max(1),
            pause: millis(circuit.pause),
            pause_max: millis(circuit.pause_max),
            credentials_pause: millis(circuit.credentials_pause),
        }
    }
}

impl Lengths {
    /// The longest pause that is set for trouble.
    fn longest(&self) -> i64 {
        self.pause_max.max(self.credentials_pause)
    }
}

/// Whether a claim to send may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It may; `probe` as the one that finds out whether a paused account works again.
    Open { probe: bool },
    /// It must wait.
    Closed(Pause),
}

/// A length in whole milliseconds.
pub(super) fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Milliseconds as a length; none is below 0.
pub(super) fn from_millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn pause(wait: i64, cause: PauseCause) -> Pause {
    Pause { wait: from_millis(wait), cause }
}

/// A person's pause, as whoever asks is told of it.
pub(super) fn persons_pause() -> Pause {
    pause(OPERATOR_WAIT, PauseCause::Operator)
}

/// The rest of a pause. No pause is set longer than `longest`: a longer rest means that the clock
/// went back, and the pause counts as over rather than lasting for the length of that step.
fn rest_until(until: i64, now: i64, longest: i64) -> i64 {
    let rest = until - now;
    if rest < 0 || rest > longest { 0 } else { rest }
}

impl Health {
    /// Whether the claim `token` on the delivery `id` may be had to send.
    pub(super) fn admit(&self, token: &str, id: &str, now: i64, lengths: &Lengths) -> Admission {
        let throttled = rest_until(self.throttled_until, now, DAY);
        if throttled > 0 {
            return Admission::Closed(pause(throttled, PauseCause::Throttled));
        }
        let Some(trouble) = &self.trouble else { return Admission::Open { probe: false } };
        let rest = rest_until(trouble.until, now, lengths.longest());
        if rest > 0 {
            return Admission::Closed(pause(rest, trouble.why.cause()));
        }
        let probed = trouble.probe.as_ref().is_some_and(|(probe, ends)| probe != token && now < *ends);
        // The suspect itself probes only if no other delivery did for one more pause.
        let suspect = trouble.why == Trouble::Credentials
            && now < trouble.until + lengths.credentials_pause
            && self.suspects.iter().any(|suspect| suspect == id);
        if probed || suspect {
            return Admission::Closed(pause(PROBE_WAIT, trouble.why.cause()));
        }
        Admission::Open { probe: true }
    }

    /// A claim probes from now on.
    pub(super) fn probe(&mut self, token: &str, lease_ends: i64) {
        if let Some(trouble) = &mut self.trouble {
            trouble.probe = Some((token.to_owned(), lease_ends));
        }
    }

    /// What an answer of the provider says. While the account is paused only the probe has a say:
    /// other answers belong to requests that were under way when the pause began.
    pub(super) fn apply(&mut self, signal: Signal, token: &str, now: i64, lengths: &Lengths) {
        let probes = self
            .trouble
            .as_ref()
            .and_then(|trouble| trouble.probe.as_ref())
            .is_some_and(|(probe, _)| probe == token);
        match (signal, &mut self.trouble) {
            (Signal::Healthy, Some(_)) if probes => self.heal(now),
            (Signal::Healthy, None) => self.faults = 0,
            (Signal::Faulty, Some(trouble)) if probes => {
                trouble.probe = None;
                match trouble.why {
                    Trouble::Credentials => trouble.until = now + lengths.credentials_pause,
                    Trouble::Circuit => {
                        trouble.length = (trouble.length * 2).min(lengths.pause_max);
                        trouble.until = now + trouble.length;
                    }
                }
            }
            (Signal::Faulty, None) => self.fault(now, lengths),
            (Signal::Neutral, Some(trouble)) if probes => trouble.probe = None,
            (Signal::Healthy | Signal::Faulty | Signal::Neutral, _) => {}
        }
    }

    fn heal(&mut self, now: i64) {
        let was = self.trouble.take();
        self.faults = 0;
        let credentials = was.is_some_and(|trouble| trouble.why == Trouble::Credentials);
        if credentials && !self.suspects.is_empty() {
            self.cleared = std::mem::take(&mut self.suspects);
            self.cleared_until = now + DAY;
        }
    }

    fn fault(&mut self, now: i64, lengths: &Lengths) {
        self.faults += 1;
        if self.faults >= lengths.failures {
            self.faults = 0;
            let length = lengths.pause.min(lengths.pause_max);
            self.trouble = Some(Troubled { why: Trouble::Circuit, until: now + length, length, probe: None });
        }
    }

    /// The provider found the account at fault while the delivery `id` was sent under `token`.
    pub(super) fn suspect(&mut self, token: &str, id: &str, now: i64, lengths: &Lengths) -> Suspicion {
        if now < self.cleared_until && self.cleared.iter().any(|cleared| cleared == id) {
            return Suspicion::Delivery;
        }
        self.cleared.clear();
        if !self.suspects.iter().any(|suspect| suspect == id) {
            self.suspects.push(id.to_owned());
        }
        let probe = self.trouble.take().and_then(|trouble| trouble.probe).filter(|(probe, _)| probe != token);
        let length = lengths.credentials_pause;
        self.faults = 0;
        self.trouble =
            Some(Troubled { why: Trouble::Credentials, until: now + length, length: lengths.pause, probe });
        Suspicion::Paused(pause(length, PauseCause::Credentials))
    }

    /// What a caller learns whose claim is no longer its own: it has no say.
    pub(super) fn suspect_in_vain(&self, now: i64, lengths: &Lengths) -> Suspicion {
        let rest = self
            .trouble
            .as_ref()
            .map_or(0, |trouble| rest_until(trouble.until, now, lengths.credentials_pause));
        Suspicion::Paused(pause(rest.max(PROBE_WAIT), PauseCause::Credentials))
    }

    /// The provider asked for a pause; a longer one in force stays.
    pub(super) fn throttle(&mut self, wait: Duration, now: i64) {
        self.throttled_until = now + millis(wait).max(rest_until(self.throttled_until, now, DAY));
    }

    /// The pause in force, but for a person's.
    pub(super) fn pause(&self, now: i64, lengths: &Lengths) -> Option<Pause> {
        if let Some(trouble) = &self.trouble {
            let rest = rest_until(trouble.until, now, lengths.longest());
            return Some(pause(rest, trouble.why.cause()));
        }
        let throttled = rest_until(self.throttled_until, now, DAY);
        (throttled > 0).then(|| pause(throttled, PauseCause::Throttled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths { failures: 3, pause: 300, pause_max: 1_000, credentials_pause: 400 };
    const PROBE: Admission = Admission::Open { probe: true };
    const OPEN: Admission = Admission::Open { probe: false };

    fn closed(wait: i64, cause: PauseCause) -> Admission {
        Admission::Closed(pause(wait, cause))
    }

    fn admit(health: &Health, token: &str, id: &str, now: i64) -> Admission {
        health.admit(token, id, now, &LENGTHS)
    }

    #[test]
    fn faults_in_a_row_open_the_circuit_and_a_probe_decides() {
        let mut health = Health::default();
        for (signal, now) in [(Signal::Faulty, 0), (Signal::Faulty, 1), (Signal::Healthy, 2)] {
            health.apply(signal, "t", now, &LENGTHS);
        }
        for now in 3..6 {
            assert_eq!(admit(&health, "t", "a", now), OPEN, "{now}");
            health.apply(Signal::Faulty, "t", now, &LENGTHS);
        }
        assert_eq!(admit(&health, "t", "a", 5), closed(300, PauseCause::Circuit));
        // Late answers of others have no say.
        health.apply(Signal::Healthy, "late", 6, &LENGTHS);
        assert_eq!(admit(&health, "t", "a", 305), PROBE);
        health.probe("p", 900);
        assert_eq!(admit(&health, "t", "a", 306), closed(PROBE_WAIT, PauseCause::Circuit));
        assert_eq!(admit(&health, "p", "a", 306), PROBE);
        assert_eq!(admit(&health, "t", "a", 900), PROBE, "the probe died");
        // Each fault of a probe doubles the pause, up to the longest.
        let mut now = 400;
        for expected in [600, 1_000, 1_000] {
            health.probe("p", now + 900);
            health.apply(Signal::Faulty, "p", now, &LENGTHS);
            assert_eq!(admit(&health, "t", "a", now), closed(expected, PauseCause::Circuit));
            now += expected;
        }
        health.probe("p", now + 900);
        health.apply(Signal::Neutral, "p", now, &LENGTHS);
        assert_eq!(admit(&health, "t", "a", now), PROBE, "somebody else probes");
        health.probe("p", now + 900);
        health.apply(Signal::Healthy, "p", now, &LENGTHS);
        assert_eq!(health, Health::default());
    }

    #[test]
    fn a_suspect_is_probed_for_by_another_delivery_and_then_blamed() {
        let mut health = Health::default();
        let paused = Suspicion::Paused(pause(400, PauseCause::Credentials));
        assert_eq!(health.suspect("t", "a", 0, &LENGTHS), paused);
        assert_eq!(health.suspect("u", "a", 0, &LENGTHS), paused);
        assert_eq!(admit(&health, "t", "a", 399), closed(1, PauseCause::Credentials));
        assert_eq!(admit(&health, "t", "a", 400), closed(PROBE_WAIT, PauseCause::Credentials));
        assert_eq!(admit(&health, "t", "b", 400), PROBE);
        assert_eq!(admit(&health, "t", "a", 800), PROBE, "nobody else did");
        health.probe("p", 1_500);
        health.apply(Signal::Healthy, "p", 500, &LENGTHS);
        assert_eq!(health.suspect("t", "a", 501, &LENGTHS), Suspicion::Delivery);
        assert_eq!(health.suspect("t", "b", 502, &LENGTHS), paused);
        // The one that was cleared may be innocent after all, now that another is suspected.
        assert_eq!(health.suspect("t", "a", 503, &LENGTHS), paused);
        health.probe("p", 1_500);
        health.apply(Signal::Faulty, "p", 1_000, &LENGTHS);
        assert_eq!(admit(&health, "t", "c", 1_399), closed(1, PauseCause::Credentials));
        health.probe("p", 3_000);
        health.apply(Signal::Healthy, "p", 1_500, &LENGTHS);
        assert_eq!(health.suspect("t", "a", 1_500 + DAY, &LENGTHS), paused, "forgotten after a day");
    }

    #[test]
    fn a_throttling_ends_by_itself_and_a_longer_one_stays() {
        let mut health = Health::default();
        health.throttle(Duration::from_secs(3), 0);
        health.throttle(Duration::from_secs(1), 500);
        assert_eq!(admit(&health, "t", "a", 1_000), closed(2_000, PauseCause::Throttled));
        assert_eq!(health.pause(1_000, &LENGTHS), Some(pause(2_000, PauseCause::Throttled)));
        assert_eq!(admit(&health, "t", "a", 3_000), OPEN);
        assert_eq!(health.pause(3_000, &LENGTHS), None);
    }

    #[test]
    fn a_pause_does_not_last_longer_because_the_clock_went_back() {
        let mut health = Health::default();
        health.suspect("t", "a", 10_000_000, &LENGTHS);
        assert_eq!(health.pause(10_000_000, &LENGTHS), Some(pause(400, PauseCause::Credentials)));
        assert_eq!(admit(&health, "t", "b", 0), PROBE);
        let vain = health.suspect_in_vain(0, &LENGTHS);
        assert_eq!(vain, Suspicion::Paused(pause(PROBE_WAIT, PauseCause::Credentials)));
    }
}
