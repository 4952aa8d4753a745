//! From a timestamp to an offset before which nothing is as late: the `.timeindex` file.
//!
//! An entry is 12 bytes, big endian: the largest timestamp so far, and the last offset of the
//! batch that has it, minus the segment's base offset. Both strictly increase.

use crate::offset::Timestamp;

/// Bytes of an entry in the file.
pub(crate) const ENTRY_BYTES: usize = 12;

/// One entry: a timestamp, and the last offset of the batch with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) relative: u32,
}

/// The sparse time index of one segment, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TimeIndex {
    entries: Vec<TimeEntry>,
}

impl TimeIndex {
    /// Adds an entry, unless it would not increase.
    pub(crate) fn push(&mut self, timestamp: Timestamp, relative: u32) {
        if timestamp >= Timestamp::from_millis(0)
            && self
                .entries
                .last()
                .is_none_or(|last| last.timestamp < timestamp && last.relative < relative)
        {
            self.entries.push(TimeEntry { timestamp, relative });
        }
    }

    /// The last entry with a timestamp before `timestamp`: up to its offset, every batch is
    /// earlier than `timestamp`.
    pub(crate) fn last_before(&self, timestamp: Timestamp) -> Option<TimeEntry> {
        let after = self.entries.partition_point(|entry| entry.timestamp < timestamp);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    /// The last entry below `relative`.
    pub(crate) fn last_below(&self, relative: u64) -> Option<TimeEntry> {
        let after = self.entries.partition_point(|entry| u64::from(entry.relative) < relative);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    pub(crate) fn last(&self) -> Option<TimeEntry> {
        self.entries.last().copied()
    }

    /// Bytes of memory the entries take.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<TimeEntry>()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.timestamp.millis().to_be_bytes());
            bytes.extend_from_slice(&entry.relative.to_be_bytes());
        }
        bytes
    }

    /// An index from a file's bytes, for a segment whose last offset is `relative_max` above its
    /// base; `None` if it cannot be one.
    pub(crate) fn decode(bytes: &[u8], relative_max: u64) -> Option<Self> {
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let mut previous: Option<TimeEntry> = None;
        for &[a, b, c, d, e, f, g, h, i, j, k, l] in chunks {
            let entry = TimeEntry {
                timestamp: Timestamp::from_millis(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
                relative: u32::from_be_bytes([i, j, k, l]),
            };
            let increases = previous.is_none_or(|previous| {
                previous.timestamp < entry.timestamp && previous.relative < entry.relative
            });
            if !increases || u64::from(entry.relative) > relative_max {
                return None;
            }
            previous = Some(entry);
            entries.push(entry);
        }
        Some(Self { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_only_increase_and_are_found_by_time_and_offset() {
        let mut index = TimeIndex::default();
        index.push(Timestamp::from_millis(50), 4);
        index.push(Timestamp::from_millis(50), 9);
        index.push(Timestamp::from_millis(70), 12);
        assert_eq!(index.last_before(Timestamp::from_millis(50)), None);
        assert_eq!(index.last_before(Timestamp::from_millis(51)).unwrap().relative, 4);
        assert_eq!(index.last_below(12).unwrap().relative, 4);
        assert_eq!(index.last().unwrap().relative, 12);
        let bytes = index.encode();
        assert_eq!(TimeIndex::decode(&bytes, 12), Some(index));
        assert_eq!(TimeIndex::decode(&bytes, 11), None);
        assert_eq!(TimeIndex::decode(&bytes[1..], 12), None);
    }
}
