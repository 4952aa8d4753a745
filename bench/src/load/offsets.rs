//! Checks that no offset of a partition is given twice.

use std::collections::BTreeMap;

/// Ranges kept per partition. Acknowledged ranges join up, so there are few, unless another
/// producer writes to the same partition; beyond this, the lowest are forgotten.
const RANGES_MAX: usize = 64 * 1024;

/// The offsets that one partition has acknowledged, as half-open ranges that do not touch.
#[derive(Debug, Clone, Default)]
pub struct OffsetSet {
    ranges: BTreeMap<i64, i64>,
}

impl OffsetSet {
    /// Adds `start..end`; `false` if a part of it was there already, and then it is not added.
    pub fn insert(&mut self, start: i64, end: i64) -> bool {
        let before = self.ranges.range(..end).next_back().map(|(&start, &end)| (start, end));
        if before.is_some_and(|(_, before_end)| before_end > start) {
            return false;
        }
        let end = self.ranges.remove(&end).unwrap_or(end);
        match before {
            Some((joined, before_end)) if before_end == start => self.ranges.insert(joined, end),
            _ => self.ranges.insert(start, end),
        };
        if self.ranges.len() > RANGES_MAX {
            self.ranges.pop_first();
        }
        true
    }

    /// Adds all of another set, and gives how many of its ranges were there already.
    pub fn merge(&mut self, other: &Self) -> u64 {
        let refused = other.ranges.iter().filter(|&(&start, &end)| !self.insert(start, end));
        refused.count().try_into().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_any_order_join_up() {
        let mut set = OffsetSet::default();
        for start in [0, 20, 10, 40, 30] {
            assert!(set.insert(start, start + 10));
        }
        assert_eq!(set.ranges, BTreeMap::from([(0, 50)]));
    }

    #[test]
    fn an_offset_given_twice_is_found() {
        let mut set = OffsetSet::default();
        assert!(set.insert(10, 20));
        assert!(set.insert(30, 40));
        for (start, end) in [(10, 20), (5, 11), (19, 30), (12, 13), (25, 50), (0, 100)] {
            assert!(!set.insert(start, end), "{start}..{end}");
        }
        assert!(set.insert(20, 30));
    }

    #[test]
    fn merging_counts_the_overlaps() {
        let mut one = OffsetSet::default();
        let mut other = OffsetSet::default();
        one.insert(0, 10);
        other.insert(10, 20);
        other.insert(5, 8);
        assert_eq!(one.merge(&other), 1);
    }
}
