//! The last offset of each key, in bounded memory.
//!
//! A table of fixed size with open addressing. A slot holds 128 bits of the key's hash and an
//! offset, 24 bytes; the key itself is not kept. Two keys of one log with the same hash would be
//! taken for one, and the older record lost: among 10^9 keys the odds are 10^-21. The hash begins
//! with numbers that nobody else knows, so that such keys cannot be made on purpose.

use std::hash::{DefaultHasher, Hasher};

use crate::limits::{KEY_MAP_BYTES_MIN, KEY_MAP_SLOT_BYTES};
use crate::offset::Offset;
use crate::planted::{self, Bug};

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: [u64; 2],
    /// The offset plus one; 0 in a free slot.
    next: u64,
}

const _: () = assert!(size_of::<Slot>() == KEY_MAP_SLOT_BYTES);

/// Keys and the last offset of each.
pub(super) struct KeyMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    seeds: [u64; 2],
}

impl KeyMap {
    /// A map that takes at most `bytes` of memory, and no more than `keys` keys need.
    pub(super) fn new(bytes: usize, keys: u64, seeds: [u64; 2]) -> Self {
        let most = bytes.max(KEY_MAP_BYTES_MIN) / KEY_MAP_SLOT_BYTES;
        // A tenth stays free, so that searches are short.
        let wanted = keys.saturating_add(keys / 8).saturating_add(16);
        let count = usize::try_from(wanted).unwrap_or(usize::MAX).min(most);
        let slots = vec![Slot::default(); count];
        Self { slots, used: 0, used_max: count - count.div_ceil(10), seeds }
    }

    /// Notes that `key` stands at `offset`, which is higher than any noted before. `false` if the
    /// map is full and the key is not in it: then nothing has changed.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let index = self.find(hash);
        let Some(slot) = self.slots.get_mut(index) else { return false };
        if slot.next == 0 {
            if self.used == self.used_max {
                return false;
            }
            self.used += 1;
        }
        *slot = Slot { hash, next: offset.value().unsigned_abs() + 1 };
        true
    }

    /// Whether a record of `key` at `offset` is the key's last that is known.
    pub(super) fn is_last(&self, key: &[u8], offset: Offset) -> bool {
        let index = self.find(self.hash(key));
        if planted::active(Bug::CompactDropsUnknownKeys)
            && self.used == self.used_max
            && self.slots.get(index).is_none_or(|slot| slot.next == 0)
        {
            return false;
        }
        self.slots.get(index).is_none_or(|slot| offset.value().unsigned_abs() + 1 >= slot.next)
    }

    /// Keys in the map.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.seeds.map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        })
    }

    /// The slot that holds the hash, or the free one where it belongs.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        let start = usize::try_from(hash[0] % (count as u64)).unwrap_or(0);
        // Some slot is always free, so the search ends.
        let probe = (start..count).chain(0..start);
        let mut held = probe.filter(|&index| {
            let slot = &self.slots[index];
            slot.next == 0 || slot.hash == hash
        });
        held.next().unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    #[test]
    fn a_record_is_the_last_of_its_key_unless_a_later_one_was_noted() {
        let mut map = KeyMap::new(4096, 100, [1, 2]);
        assert!(map.put(b"a", at(0)));
        assert!(map.put(b"b", at(1)));
        assert!(map.put(b"a", at(7)));
        assert_eq!(map.len(), 2);
        assert!(!map.is_last(b"a", at(0)));
        assert!(map.is_last(b"a", at(7)));
        assert!(map.is_last(b"b", at(1)));
        assert!(map.is_last(b"never seen", at(0)));
    }

    #[test]
    fn a_full_map_refuses_new_keys_and_takes_known_ones() {
        let mut map = KeyMap::new(KEY_MAP_BYTES_MIN, u64::MAX, [3, 4]);
        let mut taken = 0_i64;
        while map.put(&taken.to_be_bytes(), at(taken)) {
            taken += 1;
        }
        assert!(map.slots.len() * KEY_MAP_SLOT_BYTES <= KEY_MAP_BYTES_MIN);
        assert_eq!(map.len(), map.used_max);
        assert!(map.put(&0_i64.to_be_bytes(), at(taken + 1)));
        for key in 1..taken {
            assert!(map.is_last(&key.to_be_bytes(), at(key)));
            assert!(!map.is_last(&key.to_be_bytes(), at(key - 1)));
        }
        assert!(!map.is_last(&0_i64.to_be_bytes(), at(taken)));
    }

    #[test]
    fn a_map_is_no_larger_than_its_keys_need() {
        let map = KeyMap::new(128 << 20, 10, [1, 2]);
        assert!(map.slots.len() < 40);
        assert!(map.used_max >= 10);
    }
}
