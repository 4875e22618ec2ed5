//! What this worker knows of an account's pause.
//!
//! The pause itself lives in the store, for all workers; it travels here in the answers to claims.
//! The gate only keeps deliveries from asking again and again: while the account is paused nobody
//! asks, and when the pause has run out one asks at a time, until one of them was accepted.

use std::sync::Mutex;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ports::{Pause, PauseCause};

/// What the gate lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateState {
    /// Everything.
    Open,
    /// Nothing before this moment.
    Closed(Instant),
    /// One at a time; `free` when none is under way.
    HalfOpen {
        /// Whether one may go now.
        free: bool,
    },
}

impl GateState {
    /// What two gates in a row let through.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Closed(one), Self::Closed(two)) => Self::Closed(one.max(two)),
            (Self::Closed(until), Self::Open | Self::HalfOpen { .. })
            | (Self::Open | Self::HalfOpen { .. }, Self::Closed(until)) => Self::Closed(until),
            (Self::HalfOpen { free: one }, Self::HalfOpen { free: two }) => {
                Self::HalfOpen { free: one && two }
            }
            (half @ Self::HalfOpen { .. }, Self::Open) | (Self::Open, half @ Self::HalfOpen { .. }) => half,
            (Self::Open, Self::Open) => Self::Open,
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    pause: Option<(Instant, PauseCause)>,
    probing: bool,
}

/// One account's gate.
#[derive(Debug, Default)]
pub struct Gate {
    known: Mutex<Known>,
    changed: Notify,
}

impl Gate {
    /// What it lets through now.
    pub fn state(&self, now: Instant) -> GateState {
        state_of(&self.lock(), now)
    }

    /// Why it is not open, if so.
    pub fn cause(&self) -> Option<PauseCause> {
        self.lock().pause.map(|(_, cause)| cause)
    }

    /// Remembers a pause that the store told of. Returns whether the gate was open before.
    pub fn learn(&self, pause: Pause, now: Instant) -> bool {
        let mut known = self.lock();
        let was_open = known.pause.is_none();
        let until = now + pause.wait;
        known.pause = Some(match known.pause {
            // What a provider asked for is not the store's to shorten.
            Some((longer, PauseCause::Throttled)) if longer > until => (longer, PauseCause::Throttled),
            Some(_) | None => (until, pause.cause),
        });
        drop(known);
        self.changed.notify_waiters();
        was_open
    }

    /// Opens it: a request was accepted. Returns whether it was not open before.
    pub fn open(&self) -> bool {
        let was_open = std::mem::take(&mut *self.lock()).pause.is_none();
        self.changed.notify_waiters();
        !was_open
    }

    /// Goes through, if it lets through now: `Some(true)` as the one that goes while it is half
    /// open, which must [`Gate::leave`] when its result is known.
    pub fn enter(&self, now: Instant) -> Option<bool> {
        let mut known = self.lock();
        match state_of(&known, now) {
            GateState::Open => Some(false),
            GateState::Closed(_) | GateState::HalfOpen { free: false } => None,
            GateState::HalfOpen { free: true } => {
                known.probing = true;
                Some(true)
            }
        }
    }

    /// The one that went while it was half open is done.
    pub fn leave(&self) {
        self.lock().probing = false;
        self.changed.notify_waiters();
    }

    /// Waits until [`Gate::enter`] succeeds.
    pub async fn pass(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Listen first, look second: a change in between must not be missed.
            changed.as_mut().enable();
            let now = Instant::now();
            if let Some(probing) = self.enter(now) {
                return probing;
            }
            match self.state(now) {
                GateState::Closed(until) => {
                    tokio::select! {
                        biased;
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                GateState::Open | GateState::HalfOpen { .. } => changed.await,
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // No code panics while it holds the lock, and the plain values in it are valid at any time.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn state_of(known: &Known, now: Instant) -> GateState {
    match known.pause {
        None => GateState::Open,
        Some((until, _)) if now < until => GateState::Closed(until),
        Some(_) => GateState::HalfOpen { free: !known.probing },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn pause(seconds: u64) -> Pause {
        Pause { wait: Duration::from_secs(seconds), cause: PauseCause::Circuit }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_closes_then_lets_one_through_at_a_time() {
        let gate = Gate::default();
        assert_eq!(gate.state(Instant::now()), GateState::Open);
        assert!(gate.learn(pause(5), Instant::now()));
        assert_eq!(gate.enter(Instant::now()), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(gate.enter(Instant::now()), Some(true));
        assert_eq!(gate.state(Instant::now()), GateState::HalfOpen { free: false });
        assert_eq!(gate.enter(Instant::now()), None);
        gate.leave();
        assert_eq!(gate.enter(Instant::now()), Some(true));
        assert!(gate.open());
        assert_eq!(gate.enter(Instant::now()), Some(false));
        assert_eq!(gate.state(Instant::now()), GateState::Open);
        assert!(!gate.open());
    }

    #[tokio::test(start_paused = true)]
    async fn two_gates_let_through_what_both_do() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let half = |free| GateState::HalfOpen { free };
        let (open, closed) = (GateState::Open, GateState::Closed);
        for (one, two, both) in [
            (open, open, open),
            (open, half(true), half(true)),
            (open, closed(now), closed(now)),
            (half(true), half(true), half(true)),
            (half(true), half(false), half(false)),
            (half(true), closed(now), closed(now)),
            (closed(now), closed(later), closed(later)),
        ] {
            assert_eq!((one.and(two), two.and(one)), (both, both), "{one:?} {two:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_pass_when_it_opens_and_one_when_it_is_half_open() {
        let gate = Arc::new(Gate::default());
        gate.learn(pause(5), Instant::now());
        let passed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..10 {
            let (gate, passed) = (gate.clone(), passed.clone());
            tokio::spawn(async move {
                gate.pass().await;
                passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        let count = || passed.load(std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(count(), 0);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(count(), 1);
        gate.open();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(count(), 10);
    }
}
