//! Acks in runs.
//!
//! An ack costs the broker an entry in the log of a quorum queue, and the library a trip through two of
//! its tasks, whether it is for one message or for all up to one. So what is settled at about the same
//! moment is acked by one frame, as far as nothing before it is still open. What stands behind an open
//! message waits for it a little, and is then acked by itself: a slow one must not hold up its queue.
//!
//! Invariants:
//! 1. A run ends at a message that is to be acked, and covers none that is open or not seen yet.
//! 2. The acks of a channel are written one after another: the broker closes a channel that acks what an
//!    earlier frame has acked already.
//! 3. Whatever is to be acked is acked within [`PATIENCE`], unless its channel is gone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapin::Acker;
use lapin::options::BasicAckOptions;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::lock;

/// How long an ack waits for those of earlier messages: short beside the time in which a full prefetch
/// is worked off.
const PATIENCE: Duration = Duration::from_millis(10);

/// What is known of a message that was given out.
#[derive(Debug)]
enum Slot<A> {
    /// It is in hand, or on its way there.
    Open,
    /// It is to be acked, since then.
    Done(A, Instant),
    /// The broker has been told what becomes of it.
    Told,
}

/// What to write next.
#[derive(Debug, PartialEq, Eq)]
enum Step<A> {
    /// One ack for all messages up to this one.
    Run(A),
    /// An ack for each of these.
    Each(Vec<A>),
    /// Nothing before then, unless the oldest message is settled.
    Wait(Instant),
    /// Nothing is to be acked.
    Rest,
}

/// The messages that a channel gave out, from the oldest of which the broker has not been told.
#[derive(Debug)]
struct Window<A> {
    /// The number of the first one. A channel numbers its messages from 1, without gaps.
    first: u64,
    slots: VecDeque<Slot<A>>,
    /// Whether there is somebody who writes what is to be acked.
    attended: bool,
}

impl<A> Default for Window<A> {
    fn default() -> Self {
        Self { first: 1, slots: VecDeque::new(), attended: false }
    }
}

impl<A> Window<A> {
    fn give_out(&mut self, tag: u64) {
        // With those before it that a channel's other consumer has not handed over yet: no run may cover
        // them.
        while self.first + (self.slots.len() as u64) <= tag {
            self.slots.push_back(Slot::Open);
        }
    }

    /// Settles an open message; any other is settled already.
    fn settle(&mut self, tag: u64, slot: Slot<A>) {
        let place = tag.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        if let Some(known @ Slot::Open) = place.and_then(|place| self.slots.get_mut(place)) {
            *known = slot;
        }
    }

    fn is_front_settled(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Done(..) | Slot::Told))
    }

    fn step(&mut self, now: Instant) -> Step<A> {
        if let Some(end) = self.take_run() {
            return Step::Run(end);
        }
        let overdue = self.take_overdue(now);
        if !overdue.is_empty() {
            return Step::Each(overdue);
        }
        let since = self.slots.iter().filter_map(|slot| match slot {
            Slot::Done(_, since) => Some(*since),
            Slot::Open | Slot::Told => None,
        });
        since.min().map_or(Step::Rest, |oldest| Step::Wait(oldest + PATIENCE))
    }

    /// The end of the run of settled messages at the front, if any of them is to be acked.
    fn take_run(&mut self) -> Option<A> {
        let mut end = None;
        while self.is_front_settled() {
            self.first += 1;
            if let Some(Slot::Done(acker, _)) = self.slots.pop_front() {
                end = Some(acker);
            }
        }
        end
    }

    /// What has waited long enough behind an open message.
    fn take_overdue(&mut self, now: Instant) -> Vec<A> {
        let overdue = |slot: &&mut Slot<A>| match slot {
            Slot::Done(_, since) => now >= *since + PATIENCE,
            Slot::Open | Slot::Told => false,
        };
        let tell = |slot: &mut Slot<A>| match std::mem::replace(slot, Slot::Told) {
            Slot::Done(acker, _) => Some(acker),
            Slot::Open | Slot::Told => None,
        };
        self.slots.iter_mut().filter(overdue).filter_map(tell).collect()
    }
}

/// The acks of one channel.
pub(super) struct Acks {
    window: Mutex<Window<Acker>>,
    /// Says that the oldest message is settled.
    moved: Notify,
    /// How many channels have acks to write.
    writing: watch::Sender<usize>,
}

impl Acks {
    /// Those of a channel, which is counted there while it has acks to write.
    pub(super) fn new(writing: watch::Sender<usize>) -> Arc<Self> {
        Arc::new(Self { window: Mutex::default(), moved: Notify::new(), writing })
    }

    /// Notes that a message was given out.
    pub(super) fn give_out(&self, tag: u64) {
        lock(&self.window).give_out(tag);
    }

    /// Has a message acked soon. Must be called within a tokio runtime.
    pub(super) fn ack(self: &Arc<Self>, tag: u64, acker: Acker) {
        let mut window = lock(&self.window);
        window.settle(tag, Slot::Done(acker, Instant::now()));
        let attended = std::mem::replace(&mut window.attended, true);
        let moved = window.is_front_settled();
        drop(window);
        if !attended {
            self.writing.send_modify(|channels| *channels += 1);
            tokio::spawn(self.clone().write());
        } else if moved {
            self.moved.notify_one();
        }
    }

    /// Notes that the broker is told of a message in another way.
    pub(super) fn told(&self, tag: u64) {
        lock(&self.window).settle(tag, Slot::Told);
    }

    async fn write(self: Arc<Self>) {
        loop {
            // What is settled at this very moment, by tasks that are ready too, joins the run.
            tokio::task::yield_now().await;
            match self.next() {
                Step::Run(end) => send(&end, true).await,
                Step::Each(ackers) => {
                    for acker in ackers {
                        send(&acker, false).await;
                    }
                }
                Step::Wait(until) => drop(timeout_at(until, self.moved.notified()).await),
                Step::Rest => return self.writing.send_modify(|channels| *channels -= 1),
            }
        }
    }

    fn next(&self) -> Step<Acker> {
        let mut window = lock(&self.window);
        let step = window.step(Instant::now());
        if matches!(step, Step::Rest) {
            window.attended = false;
        }
        step
    }
}

async fn send(acker: &Acker, multiple: bool) {
    // An error means that the channel is gone: its messages come again.
    let _ = acker.ack(BasicAckOptions { multiple }).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START + Duration::from_millis(milliseconds)
    }

    fn given_out(tags: std::ops::RangeInclusive<u64>) -> Window<u64> {
        let mut window = Window::default();
        tags.for_each(|tag| window.give_out(tag));
        window
    }

    fn done(window: &mut Window<u64>, tag: u64, milliseconds: u64) {
        window.settle(tag, Slot::Done(tag, at(milliseconds)));
    }

    #[test]
    fn what_is_settled_in_order_is_acked_by_one_frame() {
        let mut window = given_out(1..=4);
        assert_eq!(window.step(at(0)), Step::Rest);
        for tag in [2, 1, 3] {
            done(&mut window, tag, 0);
        }
        assert_eq!(window.step(at(0)), Step::Run(3));
        assert_eq!(window.step(at(0)), Step::Rest);
        done(&mut window, 4, 1);
        assert_eq!(window.step(at(1)), Step::Run(4));
        assert!(window.slots.is_empty());
    }

    #[test]
    fn what_stands_behind_an_open_message_waits_for_it_and_then_goes_alone() {
        let mut window = given_out(1..=4);
        done(&mut window, 2, 0);
        done(&mut window, 3, 4);
        assert_eq!(window.step(at(4)), Step::Wait(at(10)));
        assert_eq!(window.step(at(10)), Step::Each(vec![2]));
        assert_eq!(window.step(at(10)), Step::Wait(at(14)));
        done(&mut window, 1, 11);
        assert_eq!(window.step(at(11)), Step::Run(3), "and what was acked alone is passed over");
        done(&mut window, 4, 12);
        assert_eq!(window.step(at(12)), Step::Run(4));
    }

    #[test]
    fn a_run_never_ends_at_a_message_that_the_broker_was_told_of_otherwise() {
        let mut window = given_out(1..=4);
        window.settle(1, Slot::Told);
        done(&mut window, 2, 0);
        window.settle(3, Slot::Told);
        assert_eq!(window.step(at(0)), Step::Run(2));
        assert_eq!(window.step(at(0)), Step::Rest);
        assert_eq!((window.first, window.slots.len()), (4, 1));
    }

    #[test]
    fn a_message_that_is_handed_over_late_is_in_no_run() {
        let mut window = given_out(2..=3);
        done(&mut window, 2, 0);
        done(&mut window, 3, 0);
        assert_eq!(window.step(at(0)), Step::Wait(at(10)));
        window.give_out(1);
        assert_eq!(window.step(at(0)), Step::Wait(at(10)));
        done(&mut window, 1, 1);
        assert_eq!(window.step(at(1)), Step::Run(3));
    }

    #[test]
    fn only_an_open_message_can_be_settled() {
        let mut window = given_out(1..=2);
        done(&mut window, 0, 0);
        done(&mut window, 3, 0);
        assert_eq!(window.step(at(0)), Step::Rest);
        window.settle(1, Slot::Told);
        done(&mut window, 1, 0);
        assert_eq!(window.step(at(20)), Step::Rest);
        done(&mut window, 2, 20);
        assert_eq!(window.step(at(20)), Step::Run(2));
        done(&mut window, 2, 20);
        assert_eq!(window.step(at(20)), Step::Rest);
    }
}
