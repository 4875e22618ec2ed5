//! Who subscribed to what, and which messages are in whose hands. In memory only: the file keeps
//! which messages are in hand, and a worker that starts puts those back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::sync::mpsc;

use crate::ports::{Message, Place};

/// Bits of a message's key that hold its order within its place.
const ORDER_BITS: u32 = 44;

/// The key of a message.
pub(super) const fn key(place: i64, order: i64) -> i64 {
    (place << ORDER_BITS) | order
}

/// The place of a key.
pub(super) const fn place_of(key: i64) -> i64 {
    key >> ORDER_BITS
}

/// One subscription.
struct Subscription {
    number: u64,
    id: i64,
    place: Place,
    prefetch: u64,
    held: u64,
    messages: mpsc::Sender<Box<Message>>,
}

/// What was given out of a place.
#[derive(Debug, Default, PartialEq, Eq)]
struct Given {
    /// Everything up to this key was given out once.
    up_to: i64,
    /// Keys at or below it that came back.
    returned: BTreeSet<i64>,
    /// How many are in hands.
    held: u64,
}

/// A wish for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    /// Whose.
    pub(super) subscription: u64,
    /// Of which place.
    pub(super) place: i64,
    /// How many more it may hold.
    pub(super) room: u64,
}

/// Subscriptions and hands.
#[derive(Default)]
pub(super) struct Desk {
    stopped: bool,
    subscriptions: Vec<Subscription>,
    next_number: u64,
    /// The subscription that each message in hand was given to.
    hands: HashMap<i64, u64>,
    places: BTreeMap<i64, Given>,
}

impl Desk {
    /// Adds a subscription; one that comes after the stop ends at once.
    pub(super) fn subscribe(
        &mut self,
        id: i64,
        place: Place,
        prefetch: u16,
        messages: mpsc::Sender<Box<Message>>,
    ) {
        if self.stopped {
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        let prefetch = u64::from(prefetch.max(1));
        self.subscriptions.push(Subscription { number, id, place, prefetch, held: 0, messages });
    }

    /// Ends all subscriptions; what is in hand stays there.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
        self.subscriptions.clear();
    }

    /// Whether anybody could be given anything.
    pub(super) fn wants(&self) -> bool {
        self.subscriptions.iter().any(|one| one.held < one.prefetch)
    }

    /// Who may be given how much. Subscriptions whose receiver is gone end here.
    pub(super) fn wishes(&mut self) -> Vec<Wish> {
        self.subscriptions.retain(|one| !one.messages.is_closed());
        let free = self.subscriptions.iter().filter(|one| one.held < one.prefetch);
        free.map(|one| Wish { subscription: one.number, place: one.id, room: one.prefetch - one.held })
            .collect()
    }

    /// How many messages of a place are in hands.
    pub(super) fn held(&self, place: i64) -> u64 {
        self.places.get(&place).map_or(0, |given| given.held)
    }

    /// The keys that came back to a place, first ones first, at most so many.
    pub(super) fn returned(&self, place: i64, most: u64) -> Vec<i64> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.places
            .get(&place)
            .map_or_else(Vec::new, |given| given.returned.iter().take(most).copied().collect())
    }

    /// The key after which nothing of a place was given out yet.
    pub(super) fn up_to(&self, place: i64) -> i64 {
        self.places.get(&place).map_or_else(|| key(place, 0), |given| given.up_to.max(key(place, 0)))
    }

    /// A message is in hand now.
    pub(super) fn take(&mut self, message: i64, subscription: u64) {
        let given = self.places.entry(place_of(message)).or_default();
        if !given.returned.remove(&message) {
            given.up_to = given.up_to.max(message);
        }
        given.held += 1;
        self.hands.insert(message, subscription);
        if let Some(one) = self.subscription(subscription) {
            one.held += 1;
        }
    }

    /// A message left its hand, to come again (`back`) or for good.
    pub(super) fn leave(&mut self, message: i64, back: bool) {
        let Some(subscription) = self.hands.remove(&message) else { return };
        let given = self.places.entry(place_of(message)).or_default();
        given.held -= 1;
        if back {
            given.returned.insert(message);
        }
        if let Some(one) = self.subscription(subscription) {
            one.held -= 1;
        }
    }

    /// A message that came back is no longer in the file.
    pub(super) fn forget(&mut self, message: i64) {
        if let Some(given) = self.places.get_mut(&place_of(message)) {
            given.returned.remove(&message);
        }
    }

    /// Whether a message is in hand.
    pub(super) fn has(&self, message: i64) -> bool {
        self.hands.contains_key(&message)
    }

    /// All that is in hand.
    pub(super) fn hands(&self) -> Vec<i64> {
        self.hands.keys().copied().collect()
    }

    /// The place of a subscription, and the way to whoever made it.
    pub(super) fn receiver(&self, subscription: u64) -> Option<(Place, mpsc::Sender<Box<Message>>)> {
        let one = self.subscriptions.iter().find(|one| one.number == subscription)?;
        Some((one.place.clone(), one.messages.clone()))
    }

    fn subscription(&mut self, number: u64) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|one| one.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(prefetch: u16) -> (Desk, mpsc::Receiver<Box<Message>>) {
        let mut desk = Desk::default();
        let (messages, receiver) = mpsc::channel(8);
        desk.subscribe(3, Place::Due, prefetch, messages);
        (desk, receiver)
    }

    #[test]
    fn keys_are_in_the_order_of_their_places() {
        assert_eq!(place_of(key(7, 12)), 7);
        assert!(key(7, (1 << ORDER_BITS) - 1) < key(8, 0));
        assert!(key((1 << 18) - 1, 1) > 0);
    }

    #[test]
    fn no_more_is_wished_for_than_the_prefetch_leaves_room() {
        let (mut desk, receiver) = desk(2);
        let wish = |room| vec![Wish { subscription: 0, place: 3, room }];
        assert_eq!(desk.wishes(), wish(2));
        desk.take(key(3, 1), 0);
        assert_eq!(desk.wishes(), wish(1));
        desk.take(key(3, 2), 0);
        assert_eq!((desk.wishes(), desk.wants()), (vec![], false));
        desk.leave(key(3, 1), false);
        assert_eq!((desk.wishes(), desk.held(3)), (wish(1), 1));
        // Nobody settles a message twice.
        desk.leave(key(3, 1), true);
        assert_eq!((desk.wishes(), desk.held(3)), (wish(1), 1));
        drop(receiver);
        assert_eq!(desk.wishes(), vec![]);
        assert!(desk.has(key(3, 2)));
    }

    #[test]
    fn what_comes_back_is_given_out_before_what_is_new() {
        let (mut desk, _receiver) = desk(9);
        assert_eq!(desk.up_to(3), key(3, 0));
        for order in 1..=3 {
            desk.take(key(3, order), 0);
        }
        desk.leave(key(3, 2), true);
        desk.leave(key(3, 1), true);
        assert_eq!((desk.up_to(3), desk.returned(3, 9)), (key(3, 3), vec![key(3, 1), key(3, 2)]));
        assert_eq!(desk.returned(3, 1), [key(3, 1)]);
        desk.take(key(3, 1), 0);
        assert_eq!((desk.up_to(3), desk.returned(3, 9)), (key(3, 3), vec![key(3, 2)]));
        desk.forget(key(3, 2));
        assert!(desk.returned(3, 9).is_empty());
        assert_eq!(desk.hands().len(), 2);
    }
}
