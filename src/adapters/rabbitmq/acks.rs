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
//! 3. An ack is begun within [`PATIENCE`], unless its channel is gone.
//! 4. What is kept grows with what is open, and not with what is acked meanwhile.

use std::collections::BTreeMap;
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

/// What is known of a message of which the broker has not been told.
#[derive(Debug)]
enum Slot<A> {
    /// It is in hand, or on its way there.
    Open,
    /// It is to be acked, since then.
    Done(A, Instant),
}

/// What to write next.
#[derive(Debug, PartialEq, Eq)]
enum Step<A> {
    /// One ack for all messages up to this one.
    Run(A),
    /// An ack for each of these.
    Each(Vec<A>),
    /// Nothing before then, unless the oldest message is done.
    Wait(Instant),
    /// Nothing is to be acked.
    Rest,
}

/// The messages that a channel gave out and of which the broker has not been told, by number. However long
/// one of them stays open, those behind it that are told of take no room.
#[derive(Debug)]
struct Window<A> {
    /// The number of the next message. A channel numbers them from 1, without gaps.
    next: u64,
    slots: BTreeMap<u64, Slot<A>>,
    /// Whether there is somebody who writes what is to be acked.
    attended: bool,
}

impl<A> Default for Window<A> {
    fn default() -> Self {
        Self { next: 1, slots: BTreeMap::new(), attended: false }
    }
}

impl<A> Window<A> {
    fn give_out(&mut self, tag: u64) {
        // With those before it that a channel's other consumer has not handed over yet: no run may cover
        // them.
        while self.next <= tag {
            self.slots.insert(self.next, Slot::Open);
            self.next += 1;
        }
    }

    /// An open message is to be acked; any other is settled already.
    fn done(&mut self, tag: u64, acker: A, now: Instant) {
        if let Some(slot @ Slot::Open) = self.slots.get_mut(&tag) {
            *slot = Slot::Done(acker, now);
        }
    }

    /// The broker was told of an open message in another way.
    fn told(&mut self, tag: u64) {
        if let Some(Slot::Open) = self.slots.get(&tag) {
            self.slots.remove(&tag);
        }
    }

    fn is_front_done(&self) -> bool {
        matches!(self.slots.first_key_value(), Some((_, Slot::Done(..))))
    }

    fn step(&mut self, now: Instant) -> Step<A> {
        if let Some(end) = self.take_run() {
            return Step::Run(end);
        }
        match self.oldest_done() {
            None => Step::Rest,
            Some(oldest) if now < oldest + PATIENCE => Step::Wait(oldest + PATIENCE),
            Some(_) => Step::Each(self.take_done()),
        }
    }

    /// Since when the first of those that are to be acked waits.
    fn oldest_done(&self) -> Option<Instant> {
        let since = self.slots.values().filter_map(|slot| match slot {
            Slot::Done(_, since) => Some(*since),
            Slot::Open => None,
        });
        since.min()
    }

    /// The end of the run of messages to be acked at the front.
    fn take_run(&mut self) -> Option<A> {
        let mut end = None;
        while self.is_front_done() {
            if let Some((_, Slot::Done(acker, _))) = self.slots.pop_first() {
                end = Some(acker);
            }
        }
        end
    }

    /// All that is to be acked, also behind open messages.
    fn take_done(&mut self) -> Vec<A> {
        let done = |_: &u64, slot: &mut Slot<A>| matches!(slot, Slot::Done(..));
        let acker = |(_, slot)| match slot {
            Slot::Done(acker, _) => Some(acker),
            Slot::Open => None,
        };
        self.slots.extract_if(.., done).filter_map(acker).collect()
    }
}

/// The acks of one channel.
pub(super) struct Acks {
    window: Mutex<Window<Acker>>,
    /// Says that the oldest message is done.
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
        window.done(tag, acker, Instant::now());
        let attended = std::mem::replace(&mut window.attended, true);
        let moved = window.is_front_done();
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
        let mut window = lock(&self.window);
        window.told(tag);
        let moved = window.is_front_done();
        drop(window);
        if moved {
            self.moved.notify_one();
        }
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
        window.done(tag, tag, at(milliseconds));
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
        assert_eq!(window.step(at(10)), Step::Each(vec![2, 3]), "with what would be soon");
        assert_eq!(window.step(at(10)), Step::Rest);
        done(&mut window, 4, 11);
        done(&mut window, 1, 12);
        assert_eq!(window.step(at(12)), Step::Run(4), "and what was acked alone is passed over");
        assert!(window.slots.is_empty());
    }

    #[test]
    fn one_that_stays_open_keeps_no_room_for_those_behind_it() {
        let mut window = given_out(1..=1);
        for tag in 2..10_000 {
            window.give_out(tag);
            done(&mut window, tag, 20 * tag);
            assert_eq!(window.step(at(20 * tag + 10)), Step::Each(vec![tag]));
        }
        assert_eq!(window.slots.len(), 1);
    }

    #[test]
    fn a_run_never_ends_at_a_message_that_the_broker_was_told_of_otherwise() {
        let mut window = given_out(1..=4);
        window.told(1);
        done(&mut window, 2, 0);
        window.told(3);
        assert_eq!(window.step(at(0)), Step::Run(2));
        assert_eq!(window.step(at(0)), Step::Rest);
        assert_eq!(window.slots.keys().collect::<Vec<_>>(), [&4]);
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
        window.told(1);
        done(&mut window, 1, 0);
        assert_eq!(window.step(at(20)), Step::Rest);
        done(&mut window, 2, 20);
        assert_eq!(window.step(at(20)), Step::Run(2));
        done(&mut window, 2, 20);
        assert_eq!(window.step(at(20)), Step::Rest);
    }
}
