//! How many unsettled messages to take from a queue, by what they weigh.
//!
//! The broker counts messages, not bytes: a prefetch that keeps a worker busy with ordinary bodies
//! would be a gigabyte of the largest ones. So each subscription consumes narrowly, always: few
//! enough for the largest bodies. While bodies are small a second consumer on the same channel takes
//! the rest of the prefetch; it is cancelled when what is unsettled weighs too much, and comes back,
//! as wide as the bodies allow, when what it took is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the unsettled messages of one queue are to weigh at most, about.
const WEIGHT: usize = 4 << 20;

/// The largest body that a job may have, about.
const LARGEST: usize = 1 << 20;

/// The part of the newest body in the mean.
const NEWEST: f64 = 1.0 / 32.0;

/// What is given out and not yet settled.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// A message's part of what is unsettled, until it is dropped.
pub(super) struct Burden {
    all: Arc<Unsettled>,
    bytes: usize,
}

impl Burden {
    pub(super) fn new(all: &Arc<Unsettled>, bytes: usize) -> Self {
        all.messages.fetch_add(1, Ordering::Relaxed);
        all.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { all: all.clone(), bytes }
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.all.messages.fetch_sub(1, Ordering::Relaxed);
        self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What to do about the second consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Stay,
    /// Cancel it.
    Narrow,
    /// Begin it, with this prefetch.
    Widen(u16),
}

/// How wide one subscription is.
#[derive(Debug)]
pub(super) struct Width {
    most: u16,
    /// The mean weight of a body, once any was seen.
    mean: f64,
    seen: u32,
    /// The prefetch of the second consumer, while there is one.
    beside: Option<u16>,
    unsettled: Arc<Unsettled>,
}

impl Width {
    pub(super) fn new(most: u16) -> Self {
        // None at all would mean that there is no limit.
        Self { most: most.max(1), mean: 0.0, seen: 0, beside: None, unsettled: Arc::default() }
    }

    /// The prefetch of the consumer that is always there.
    pub(super) fn narrow(&self) -> u16 {
        self.most.min(u16::try_from(WEIGHT / LARGEST).unwrap_or(u16::MAX))
    }

    /// Counts a message as unsettled until the burden is dropped.
    pub(super) fn take(&mut self, bytes: usize) -> Burden {
        self.seen = self.seen.saturating_add(1);
        let part = (1.0 / f64::from(self.seen)).max(NEWEST);
        self.mean += (bytes as f64 - self.mean) * part;
        Burden::new(&self.unsettled, bytes)
    }

    /// What to do about the second consumer now.
    pub(super) fn step(&self) -> Step {
        let messages = self.unsettled.messages.load(Ordering::Relaxed);
        let bytes = self.unsettled.bytes.load(Ordering::Relaxed);
        let (narrow, wanted) = (self.narrow(), self.wanted());
        match self.beside {
            // Not at once when it is too much: the mean follows slowly, and must not swing.
            Some(_) if bytes > 2 * WEIGHT => Step::Narrow,
            Some(beside) => {
                let now = narrow.saturating_add(beside);
                let wider = wanted / 2 >= now || (wanted == self.most && now < self.most);
                // Also where what is heavy is settled at once: when it is no longer, all of it is in hand.
                // One heavy body among many light ones is no reason, and nothing but heavy ones always.
                let narrower = wanted == narrow || wanted <= now / 4;
                if wider || narrower { Step::Narrow } else { Step::Stay }
            }
            // All that an earlier one took is settled, so that both together keep to the prefetch.
            None if self.is_worth(wanted) && messages <= usize::from(narrow) => Step::Widen(wanted - narrow),
            None => Step::Stay,
        }
    }

    /// Notes that a step was done.
    pub(super) fn done(&mut self, step: Step) {
        match step {
            Step::Stay => {}
            Step::Narrow => self.beside = None,
            Step::Widen(prefetch) => self.beside = Some(prefetch),
        }
    }

    /// Whether a second consumer brings much. Bodies that hardly allow it would begin and end it again
    /// and again.
    fn is_worth(&self, wanted: u16) -> bool {
        let narrow = self.narrow();
        wanted > narrow && wanted >= self.most.min(2 * narrow)
    }

    fn wanted(&self) -> u16 {
        let narrow = self.narrow();
        if self.seen < u32::from(narrow) {
            return narrow;
        }
        let fits = WEIGHT as f64 / self.mean.max(1.0);
        // A number of messages: what a fraction of one is does not matter.
        (fits.min(f64::from(self.most)) as u16).max(narrow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;

    fn take(width: &mut Width, messages: usize, bytes: usize) -> Vec<Burden> {
        (0..messages).map(|_| width.take(bytes)).collect()
    }

    #[test]
    fn it_begins_narrow_and_widens_as_far_as_bodies_allow() {
        for (most, bytes, step) in [
            (480, KIB, Step::Widen(476)),
            (480, 64 * KIB, Step::Widen(60)),
            (480, MIB, Step::Stay),
            (480, 20 * MIB, Step::Stay),
            (480, 0, Step::Widen(476)),
            (4, KIB, Step::Stay),
            (1, KIB, Step::Stay),
            (0, KIB, Step::Stay),
        ] {
            let mut width = Width::new(most);
            assert_eq!(width.step(), Step::Stay, "nothing is known yet");
            let narrow = usize::from(width.narrow());
            let _held = take(&mut width, narrow, bytes);
            assert_eq!(width.step(), step, "{most} {bytes}");
        }
    }

    #[test]
    fn it_narrows_when_what_is_unsettled_weighs_too_much_and_comes_back_when_that_is_settled() {
        let mut width = Width::new(128);
        let small = take(&mut width, 4, KIB);
        assert_eq!(width.step(), Step::Widen(124));
        width.done(Step::Widen(124));
        let mut large = take(&mut width, 8, MIB);
        assert_eq!(width.step(), Step::Narrow);
        width.done(Step::Narrow);
        assert_eq!(width.step(), Step::Stay, "the heavy ones are unsettled");
        drop(small);
        large.truncate(4);
        assert_eq!(width.step(), Step::Stay, "and bodies are heavier than it is worth");
        drop(take(&mut width, 8, KIB));
        assert_eq!(width.step(), Step::Widen(width.wanted() - 4));
        drop(take(&mut width, 300, MIB));
        assert_eq!(width.step(), Step::Stay, "bodies are heavy now");
        drop(take(&mut width, 300, KIB));
        assert!(matches!(width.step(), Step::Widen(_)), "and light again");
    }

    #[test]
    fn it_narrows_when_bodies_become_heavy_however_soon_they_are_settled() {
        for most in [64, 256] {
            let mut width = Width::new(most);
            drop(take(&mut width, 40, KIB));
            assert_eq!(width.step(), Step::Widen(most - 4));
            width.done(Step::Widen(most - 4));
            drop(take(&mut width, 1, MIB));
            assert_eq!(width.step(), Step::Stay, "one is no reason: {most}");
            drop(take(&mut width, 30, MIB));
            assert_eq!(width.step(), Step::Narrow, "{most}");
        }
    }

    #[test]
    fn it_narrows_from_any_width_when_bodies_are_as_heavy_as_they_may_be() {
        for light in [KIB, 100 * KIB, 300 * KIB, 500 * KIB] {
            let mut width = Width::new(64);
            drop(take(&mut width, 4, light));
            let Step::Widen(prefetch) = width.step() else { panic!("it widens for {light}") };
            width.done(Step::Widen(prefetch));
            assert_eq!(width.step(), Step::Stay, "{light}");
            drop(take(&mut width, 90, MIB));
            assert_eq!(width.step(), Step::Narrow, "{light}");
            width.done(Step::Narrow);
            assert_eq!(width.step(), Step::Stay, "{light}");
        }
    }

    #[test]
    fn a_second_consumer_that_is_too_narrow_begins_anew() {
        for heavy in [100 * KIB, 12 * KIB] {
            let mut width = Width::new(480);
            drop(take(&mut width, 4, heavy));
            let Step::Widen(prefetch) = width.step() else { panic!("it widens") };
            width.done(Step::Widen(prefetch));
            assert_eq!(width.step(), Step::Stay);
            drop(take(&mut width, 400, KIB));
            assert_eq!(width.step(), Step::Narrow);
            width.done(Step::Narrow);
            assert_eq!(width.step(), Step::Widen(476));
            width.done(Step::Widen(476));
            assert_eq!(width.step(), Step::Stay);
        }
    }
}
