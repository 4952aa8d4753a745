//! From an offset to a place at or before it: the `.index` file.
//!
//! An entry is 8 bytes, big endian: the last offset of a batch minus the segment's base offset,
//! and the position where that batch begins. Entries are sparse, one per index interval.
//! Invariant `index.never_overshoots`: what a lookup gives begins at or before what was sought.

use crate::offset::Offset;

/// Bytes of an entry in the file.
pub(crate) const ENTRY_BYTES: usize = 8;

/// One entry: a batch's last offset and where the batch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative: u32,
    pub(crate) position: u32,
}

/// The sparse index of one segment, in memory: 8 bytes per index interval of data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OffsetIndex {
    entries: Vec<OffsetEntry>,
}

/// `last_offset - base`, if a 31-bit number, as Kafka reads it.
pub(crate) fn relative(base: Offset, last_offset: i64) -> Option<u32> {
    let difference = last_offset.checked_sub(base.value())?;
    i32::try_from(difference).ok()?.try_into().ok()
}

impl OffsetIndex {
    /// Adds the entry of a batch. Entries that would not increase are left out.
    pub(crate) fn push(&mut self, relative: u32, position: u64) {
        let Ok(position) = u32::try_from(position) else { return };
        if self
            .entries
            .last()
            .is_none_or(|last| last.relative < relative && last.position < position)
        {
            self.entries.push(OffsetEntry { relative, position });
        }
    }

    /// The last entry at or before `offset`.
    pub(crate) fn lookup(&self, base: Offset, offset: Offset) -> Option<OffsetEntry> {
        let sought = offset.since(base);
        let after = self.entries.partition_point(|entry| u64::from(entry.relative) <= sought);
        let found = self.entries.get(after.checked_sub(1)?).copied()?;
        assert!(u64::from(found.relative) <= sought, "index.never_overshoots");
        Some(found)
    }

    /// The last entry whose batch begins at or before `position`.
    pub(crate) fn at_position(&self, position: u64) -> Option<OffsetEntry> {
        let after = self.entries.partition_point(|entry| u64::from(entry.position) <= position);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    pub(crate) fn last(&self) -> Option<OffsetEntry> {
        self.entries.last().copied()
    }

    /// Bytes of memory the entries take.
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<OffsetEntry>()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            bytes.extend_from_slice(&entry.relative.to_be_bytes());
            bytes.extend_from_slice(&entry.position.to_be_bytes());
        }
        bytes
    }

    /// An index from a file's bytes, for a segment of `size` bytes; `None` if it cannot be one.
    pub(crate) fn decode(bytes: &[u8], size: u64) -> Option<Self> {
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        let (chunks, rest) = bytes.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return None;
        }
        let mut previous: Option<OffsetEntry> = None;
        for &[a, b, c, d, e, f, g, h] in chunks {
            let entry = OffsetEntry {
                relative: u32::from_be_bytes([a, b, c, d]),
                position: u32::from_be_bytes([e, f, g, h]),
            };
            let increases = previous.is_none_or(|previous| {
                previous.relative < entry.relative && previous.position < entry.position
            });
            if !increases || u64::from(entry.position) >= size {
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

    fn at(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    #[test]
    fn a_lookup_finds_the_last_entry_at_or_before_the_offset() {
        let mut index = OffsetIndex::default();
        index.push(9, 100);
        index.push(19, 200);
        let base = at(1000);
        assert_eq!(index.lookup(base, at(1008)), None);
        assert_eq!(index.lookup(base, at(1009)).unwrap().position, 100);
        assert_eq!(index.lookup(base, at(1018)).unwrap().position, 100);
        assert_eq!(index.lookup(base, at(9999)).unwrap().position, 200);
        assert_eq!(index.at_position(199).unwrap().relative, 9);
    }

    #[test]
    fn an_index_survives_the_trip_and_a_garbled_one_is_refused() {
        let mut index = OffsetIndex::default();
        index.push(9, 100);
        index.push(19, 200);
        let bytes = index.encode();
        assert_eq!(OffsetIndex::decode(&bytes, 300), Some(index));
        assert_eq!(OffsetIndex::decode(&bytes, 200), None);
        assert_eq!(OffsetIndex::decode(&bytes[..15], 300), None);
        let swapped: Vec<u8> = bytes[8..].iter().chain(&bytes[..8]).copied().collect();
        assert_eq!(OffsetIndex::decode(&swapped, 300), None);
        assert_eq!(OffsetIndex::decode(&[0; 16], 300), None);
    }
}
