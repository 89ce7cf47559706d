//! A queue that serves its keys in turn.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Items that wait, each under a key. Items of one key leave in the order in which they came; keys that have items take
/// turns, so that a key with many items delays each other key by one item at a time.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    /// Keys with at least one item, the one whose turn is next in front.
    ring: VecDeque<K>,
    items: HashMap<K, VecDeque<(QueueTicket, T)>>,
    next: u64,
    len: usize,
}

/// Identifies an item of a [`FairQueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueTicket(u64);

impl<K, T> Default for FairQueue<K, T> {
    fn default() -> Self {
        Self {
            ring: VecDeque::new(),
            items: HashMap::new(),
            next: 0,
            len: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, T> FairQueue<K, T> {
    /// The number of items of all keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of items of one key.
    pub fn len_of(&self, key: &K) -> usize {
        self.items.get(key).map_or(0, VecDeque::len)
    }

    /// Adds an item behind the others of its key. A key that had none has its turn after all others.
    pub fn push(&mut self, key: K, item: T) -> QueueTicket {
        let ticket = QueueTicket(self.next);
        self.next += 1;
        let items = self.items.entry(key).or_default();
        if items.is_empty() {
            self.ring.push_back(key);
        }
        items.push_back((ticket, item));
        self.len += 1;
        ticket
    }

    /// Takes the oldest item of the key whose turn it is. Keys that are not allowed keep their places.
    pub fn pop(&mut self, is_allowed: impl Fn(&K) -> bool) -> Option<(K, T)> {
        let place = self.ring.iter().position(is_allowed)?;
        let key = self.ring.remove(place)?;
        let items = self.items.get_mut(&key)?;
        let (_, item) = items.pop_front()?;
        self.len -= 1;
        if items.is_empty() {
            self.items.remove(&key);
        } else {
            self.ring.push_back(key);
        }
        Some((key, item))
    }

    /// Takes an item out of its turn; nothing if it has left already.
    pub fn remove(&mut self, key: &K, ticket: QueueTicket) -> Option<T> {
        let items = self.items.get_mut(key)?;
        // Tickets grow along the queue of a key.
        let place = items
            .binary_search_by_key(&ticket, |(ticket, _)| *ticket)
            .ok()?;
        let (_, item) = items.remove(place)?;
        self.len -= 1;
        if items.is_empty() {
            self.items.remove(key);
            self.ring.retain(|other| other != key);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_take_turns_and_items_of_one_key_keep_their_order() {
        let mut queue = FairQueue::default();
        for item in ["a1", "a2", "a3", "b1", "c1", "b2"] {
            queue.push(item.as_bytes()[0], item);
        }
        let mut order = Vec::new();
        while let Some((_, item)) = queue.pop(|_| true) {
            order.push(item);
        }
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    }

    #[test]
    fn a_key_that_is_not_allowed_keeps_its_turn() {
        let mut queue = FairQueue::default();
        for (key, item) in [(1, "a"), (2, "b"), (3, "c")] {
            queue.push(key, item);
        }
        assert_eq!(queue.pop(|key| *key != 1), Some((2, "b")));
        assert_eq!(queue.pop(|_| true), Some((1, "a")));
        assert_eq!(queue.pop(|_| true), Some((3, "c")));
        assert_eq!(queue.pop(|_| true), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_served_twice(
            steps in prop::collection::vec((0..3_u8, 0..4_u8, any::<prop::sample::Index>()), 0..200)
        ) {
            let mut queue = FairQueue::default();
            let mut inside: Vec<(u8, QueueTicket, usize)> = Vec::new();
            for (number, (action, key, index)) in steps.into_iter().enumerate() {
                match action {
                    0 => {
                        let ticket = queue.push(key, number);
                        inside.push((key, ticket, number));
                    }
                    1 => {
                        let popped = queue.pop(|other| *other != key);
                        let oldest = popped.map(|(other, item)| {
                            let place = inside.iter().position(|(k, ..)| *k == other);
                            let (.., expected) = inside.remove(place.expect("it was inside"));
                            (item, expected)
                        });
                        prop_assert!(oldest.is_some() || inside.iter().all(|(k, ..)| *k == key));
                        prop_assert!(oldest.is_none_or(|(item, expected)| item == expected));
                    }
                    _ if inside.is_empty() => {}
                    _ => {
                        let place = index.index(inside.len());
                        let (key, ticket, item) = inside.remove(place);
                        prop_assert_eq!(queue.remove(&key, ticket), Some(item));
                        prop_assert_eq!(queue.remove(&key, ticket), None);
                    }
                }
                prop_assert_eq!(queue.len(), inside.len());
                let of_key = inside.iter().filter(|(k, ..)| *k == key).count();
                prop_assert_eq!(queue.len_of(&key), of_key);
            }
        }
    }
}
