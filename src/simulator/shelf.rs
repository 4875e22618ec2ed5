//! What a provider stores for an account, within a bound.

use std::collections::BTreeMap;

/// Numbered things, the oldest of which go when all together are too large.
pub struct Shelf<T> {
    kept: BTreeMap<u64, Kept<T>>,
    next: u64,
    bytes: usize,
    most_bytes: usize,
}

struct Kept<T> {
    thing: T,
    bytes: usize,
}

impl<T> Shelf<T> {
    /// An empty one that numbers from `first` on and holds at most so many bytes.
    pub const fn new(first: u64, most_bytes: usize) -> Self {
        Self { kept: BTreeMap::new(), next: first, bytes: 0, most_bytes }
    }

    /// Puts a thing of this size there; its number.
    pub fn add(&mut self, thing: T, bytes: usize) -> u64 {
        let number = self.next;
        self.next += 1;
        self.put(number, thing, bytes);
        number
    }

    /// Puts a thing in another's place, if that is still there.
    pub fn replace(&mut self, number: u64, thing: T, bytes: usize) {
        if self.remove(number).is_some() {
            self.put(number, thing, bytes);
        }
    }

    /// Takes a thing away.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let kept = self.kept.remove(&number)?;
        self.bytes -= kept.bytes;
        Some(kept.thing)
    }

    /// A thing by its number.
    pub fn get(&self, number: u64) -> Option<&T> {
        self.kept.get(&number).map(|kept| &kept.thing)
    }

    /// A thing by its number, to change it; its size must stay.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.kept.get_mut(&number).map(|kept| &mut kept.thing)
    }

    /// All, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = (u64, &T)> {
        self.kept.iter().rev().map(|(&number, kept)| (number, &kept.thing))
    }

    fn put(&mut self, number: u64, thing: T, bytes: usize) {
        self.kept.insert(number, Kept { thing, bytes });
        self.bytes += bytes;
        while self.bytes > self.most_bytes
            && let Some((_, oldest)) = self.kept.pop_first()
        {
            self.bytes -= oldest.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shelf: &Shelf<&str>) -> Vec<u64> {
        shelf.newest_first().map(|(number, _)| number).collect()
    }

    #[test]
    fn the_oldest_go_when_it_is_full() {
        let mut shelf = Shelf::new(7, 100);
        for thing in ["a", "b", "c"] {
            shelf.add(thing, 40);
        }
        assert_eq!((numbers(&shelf), shelf.get(7), shelf.get(8)), (vec![9, 8], None, Some(&"b")));
        shelf.remove(9);
        assert_eq!(shelf.add("d", 60), 10);
        assert_eq!(numbers(&shelf), [10, 8]);
        shelf.add("too large for all of it", 101);
        assert!(numbers(&shelf).is_empty());
        assert_eq!(shelf.add("e", 100), 12);
        assert_eq!(numbers(&shelf), [12]);
    }

    #[test]
    fn a_replaced_thing_keeps_its_number_and_counts_anew() {
        let mut shelf = Shelf::new(1, 100);
        shelf.add("a", 40);
        shelf.add("b", 40);
        shelf.replace(2, "c", 60);
        assert_eq!((numbers(&shelf), shelf.get(2)), (vec![2, 1], Some(&"c")));
        shelf.replace(2, "d", 61);
        assert_eq!(numbers(&shelf), [2]);
        shelf.replace(1, "gone", 1);
        assert_eq!(numbers(&shelf), [2]);
    }
}
