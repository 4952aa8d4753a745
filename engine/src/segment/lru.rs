//! A map that knows in which order its entries were last used.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use crate::offset::Offset;

/// No slot.
const NONE: usize = usize::MAX;

/// What an entry is found by: the number of a log in its shard, and an offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) log: u64,
    pub(crate) offset: Offset,
}

/// Entries in the order of their last use, each with what it costs. Finding, adding, removing and
/// touching one takes constant time, and no allocation unless there are more than ever before.
///
/// Bounds are the caller's: it [pops](Lru::pop_oldest) while [`Lru::cost`] is too much.
#[derive(Debug)]
pub(crate) struct Lru<T> {
    /// Seeded alike in every process, so that a simulation repeats exactly.
    slots_by_key: HashMap<Key, usize, BuildHasherDefault<DefaultHasher>>,
    slots: Vec<Slot<T>>,
    vacant: Vec<usize>,
    newest: usize,
    oldest: usize,
    cost: usize,
}

#[derive(Debug)]
struct Slot<T> {
    key: Key,
    value: Option<T>,
    cost: usize,
    newer: usize,
    older: usize,
}

impl<T> Default for Lru<T> {
    fn default() -> Self {
        Self {
            slots_by_key: HashMap::default(),
            slots: Vec::new(),
            vacant: Vec::new(),
            newest: NONE,
            oldest: NONE,
            cost: 0,
        }
    }
}

impl<T> Lru<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots_by_key.len()
    }

    /// What all entries cost together.
    pub(crate) const fn cost(&self) -> usize {
        self.cost
    }

    /// The entry of `key`, which counts as used now.
    pub(crate) fn get(&mut self, key: Key) -> Option<&mut T> {
        let slot = *self.slots_by_key.get(&key)?;
        self.unlink(slot);
        self.link_newest(slot);
        self.slots[slot].value.as_mut()
    }

    /// The entry of `key`, without counting it as used.
    pub(crate) fn peek(&mut self, key: Key) -> Option<&mut T> {
        let slot = *self.slots_by_key.get(&key)?;
        self.slots[slot].value.as_mut()
    }

    /// The entry that was used least recently.
    pub(crate) fn oldest(&self) -> Option<&T> {
        self.slots.get(self.oldest)?.value.as_ref()
    }

    /// Adds an entry as the one used last, and gives the one that had its key.
    pub(crate) fn insert(&mut self, key: Key, value: T, cost: usize) -> Option<T> {
        let replaced = self.remove(key);
        let entry = Slot { key, value: Some(value), cost, newer: NONE, older: NONE };
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.slots[slot] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                self.slots.len() - 1
            }
        };
        self.slots_by_key.insert(key, slot);
        self.link_newest(slot);
        self.cost += cost;
        replaced
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots_by_key.remove(&key)?;
        self.unlink(slot);
        self.vacant.push(slot);
        let entry = &mut self.slots[slot];
        self.cost -= entry.cost;
        entry.value.take()
    }

    /// Removes the entry that was used least recently.
    pub(crate) fn pop_oldest(&mut self) -> Option<T> {
        let key = self.slots.get(self.oldest)?.key;
        self.remove(key)
    }

    /// Removes an entry of this log; looks at all of them.
    pub(crate) fn pop_of(&mut self, log: u64) -> Option<T> {
        let held = |slot: &&Slot<T>| slot.value.is_some() && slot.key.log == log;
        let key = self.slots.iter().find(held)?.key;
        self.remove(key)
    }

    /// Where the entry of `key` stays until it is removed.
    pub(crate) fn slot(&self, key: Key) -> Option<usize> {
        self.slots_by_key.get(&key).copied()
    }

    /// The entry in a slot, which may be another than when the slot was asked for.
    pub(crate) fn at(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.value.as_mut()
    }

    /// Gives the entry of `from` the key `to`, which no entry has, in the same slot. `false` if
    /// there is none.
    pub(crate) fn rekey(&mut self, from: Key, to: Key) -> bool {
        debug_assert!(!self.slots_by_key.contains_key(&to), "the new key is vacant");
        let Some(slot) = self.slots_by_key.remove(&from) else { return false };
        self.slots_by_key.insert(to, slot);
        self.slots[slot].key = to;
        true
    }

    fn link_newest(&mut self, slot: usize) {
        let older = std::mem::replace(&mut self.newest, slot);
        self.slots[slot].older = older;
        self.slots[slot].newer = NONE;
        match self.slots.get_mut(older) {
            Some(older) => older.newer = slot,
            None => self.oldest = slot,
        }
    }

    fn unlink(&mut self, slot: usize) {
        let (newer, older) = (self.slots[slot].newer, self.slots[slot].older);
        match self.slots.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: i64) -> Key {
        Key { log: 1, offset: Offset::new(value).unwrap() }
    }

    #[test]
    fn the_entry_used_least_recently_goes_first() {
        let mut lru = Lru::default();
        for n in 0..4 {
            assert_eq!(lru.insert(key(n), n, 10), None);
        }
        assert_eq!(lru.get(key(0)), Some(&mut 0));
        assert_eq!(lru.peek(key(1)), Some(&mut 1));
        assert_eq!(lru.remove(key(2)), Some(2));
        assert_eq!((lru.len(), lru.cost()), (3, 30));
        assert_eq!(lru.oldest(), Some(&1));
        assert_eq!([lru.pop_oldest(), lru.pop_oldest()], [Some(1), Some(3)]);
        assert_eq!(lru.insert(key(0), 7, 5), Some(0));
        assert_eq!((lru.len(), lru.cost()), (1, 5));
        assert_eq!([lru.pop_oldest(), lru.pop_oldest()], [Some(7), None]);
        assert_eq!((lru.len(), lru.cost()), (0, 0));
    }

    #[test]
    fn it_agrees_with_a_plain_list_under_random_use() {
        let mut lru = Lru::default();
        let mut list: Vec<(Key, u64)> = Vec::new();
        let mut state = 7_u64;
        for step in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = key(i64::try_from(state >> 60).unwrap());
            let held = list.iter().position(|(other, _)| *other == key);
            match (state >> 40) % 4 {
                0 => {
                    let replaced = lru.insert(key, step, 1);
                    assert_eq!(replaced, held.map(|at| list.remove(at).1));
                    list.push((key, step));
                }
                1 => {
                    assert_eq!(lru.remove(key), held.map(|at| list.remove(at).1));
                }
                2 if state >> 50 & 3 == 0 => {
                    let oldest = (!list.is_empty()).then(|| list.remove(0).1);
                    assert_eq!(lru.pop_oldest(), oldest);
                }
                _ => {
                    let found = held.map(|at| {
                        let entry = list.remove(at);
                        list.push(entry);
                        entry.1
                    });
                    assert_eq!(lru.get(key).copied(), found);
                }
            }
            assert_eq!((lru.len(), lru.cost()), (list.len(), list.len()));
            assert_eq!(lru.oldest(), list.first().map(|(_, value)| value));
        }
    }
}
