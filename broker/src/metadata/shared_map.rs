//! A map whose copies share all that they have in common.
//!
//! The entries lie in a fixed number of buckets, each behind its own [`Arc`]. A copy of the map is
//! one reference; a change to a copy duplicates the table of buckets and the one bucket that is
//! touched: with 10,000 topics some 40 entries, each an `Arc` itself. A map that nobody shares is
//! changed in place.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// 256 buckets keep them small for 100,000 entries, and the table small for few.
const BUCKETS: usize = 256;

type Bucket<K, V> = Arc<Vec<(K, V)>>;

pub(super) struct SharedMap<K, V> {
    buckets: Arc<[Bucket<K, V>; BUCKETS]>,
    len: usize,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { buckets: self.buckets.clone(), len: self.len }
    }
}

impl<K, V> fmt::Debug for SharedMap<K, V> {
    /// How many entries there are: all of them would fill a screen many times over.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} entries)", self.len)
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        let empty = Bucket::default();
        Self { buckets: Arc::new(std::array::from_fn(|_| empty.clone())), len: 0 }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> SharedMap<K, V> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let bucket = self.buckets.get(bucket_of(key))?;
        bucket.iter().find(|(known, _)| known.borrow() == key).map(|(_, value)| value)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        let Some(bucket) = Arc::make_mut(&mut self.buckets).get_mut(bucket_of(&key)) else {
            return;
        };
        let bucket = Arc::make_mut(bucket);
        match bucket.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => {
                bucket.push((key, value));
                self.len += 1;
            }
        }
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(bucket) = Arc::make_mut(&mut self.buckets).get_mut(bucket_of(key)) else {
            return;
        };
        let bucket = Arc::make_mut(bucket);
        if let Some(index) = bucket.iter().position(|(known, _)| known.borrow() == key) {
            bucket.swap_remove(index);
            self.len -= 1;
        }
    }

    /// All values, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.buckets.iter().flat_map(|bucket| bucket.iter().map(|(_, value)| value))
    }
}

/// Which bucket a key lies in. The same in every process: nothing may depend on chance here, and
/// a client that chooses names to fill one bucket only slows a search of some thousand entries.
fn bucket_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    let hash = hasher.finish();
    usize::from((hash ^ (hash >> 32)).to_le_bytes()[0])
}

/// FNV-1a of 64 bits.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_keeps_what_it_had_when_the_other_changes() {
        let mut map = SharedMap::default();
        for number in 0..1000_u32 {
            map.insert(number, number);
        }
        let copy = map.clone();
        map.remove(&7);
        map.insert(8, 80);
        map.insert(1000, 1000);
        assert_eq!((copy.len(), map.len()), (1000, 1000));
        assert_eq!((copy.get(&7), map.get(&7)), (Some(&7), None));
        assert_eq!((copy.get(&8), map.get(&8)), (Some(&8), Some(&80)));
        assert_eq!((copy.get(&1000), map.get(&1000)), (None, Some(&1000)));
        assert_eq!(copy.values().count(), 1000);
    }

    #[test]
    fn a_change_copies_one_bucket_and_shares_the_others() {
        let mut map = SharedMap::default();
        for number in 0..1000_u32 {
            map.insert(number, number);
        }
        let copy = map.clone();
        map.insert(5, 50);
        let pairs = map.buckets.iter().zip(copy.buckets.iter());
        assert_eq!(pairs.filter(|(a, b)| !Arc::ptr_eq(a, b)).count(), 1);
    }

    #[test]
    fn the_buckets_fill_evenly() {
        let mut map = SharedMap::default();
        for number in 0..10_240 {
            map.insert(format!("topic-{number}"), ());
        }
        let fullest = map.buckets.iter().map(|bucket| bucket.len()).max();
        assert!(fullest.is_some_and(|count| count < 100), "{fullest:?} of 40 on average");
    }
}
