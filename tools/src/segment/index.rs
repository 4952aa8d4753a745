//! The sparse indexes beside a segment.
//!
//! ```text
//! .index      offset - base u32, position u32            8 bytes, big endian
//! .timeindex  timestamp i64, offset - base u32          12 bytes, big endian
//! ```

/// Bytes of an entry of an `.index` file.
pub const OFFSET_ENTRY_BYTES: usize = 8;
/// Bytes of an entry of a `.timeindex` file.
pub const TIME_ENTRY_BYTES: usize = 12;

/// An entry of an `.index` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct OffsetEntry {
    /// An offset, minus the segment's base offset.
    pub relative_offset: u32,
    /// Where a batch begins that no earlier one is needed for to find that offset.
    pub position: u32,
}

/// An entry of a `.timeindex` file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct TimeEntry {
    /// The largest timestamp up to the offset, in milliseconds.
    pub timestamp: i64,
    /// The offset that it stands at, minus the segment's base offset.
    pub relative_offset: u32,
}

/// The entries of an `.index` file, and how many bytes after them are no whole entry. A file that
/// was reserved ahead ends in zeros, which are no entries.
#[must_use]
pub fn offset_entries(bytes: &[u8]) -> (Vec<OffsetEntry>, usize) {
    let (chunks, rest) = used(bytes, OFFSET_ENTRY_BYTES).as_chunks::<OFFSET_ENTRY_BYTES>();
    let entry = |&[a, b, c, d, e, f, g, h]: &[u8; OFFSET_ENTRY_BYTES]| OffsetEntry {
        relative_offset: u32::from_be_bytes([a, b, c, d]),
        position: u32::from_be_bytes([e, f, g, h]),
    };
    (chunks.iter().map(entry).collect(), rest.len())
}

/// The entries of a `.timeindex` file, and how many bytes after them are no whole entry.
#[must_use]
pub fn time_entries(bytes: &[u8]) -> (Vec<TimeEntry>, usize) {
    let (chunks, rest) = used(bytes, TIME_ENTRY_BYTES).as_chunks::<TIME_ENTRY_BYTES>();
    let entry = |&[a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; TIME_ENTRY_BYTES]| TimeEntry {
        timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        relative_offset: u32::from_be_bytes([i, j, k, l]),
    };
    (chunks.iter().map(entry).collect(), rest.len())
}

/// The part of a file before whole entries of zeros at its end; its first entry may be zeros.
fn used(bytes: &[u8], entry_bytes: usize) -> &[u8] {
    let mut used = bytes;
    while used.len() > entry_bytes && used.len().is_multiple_of(entry_bytes) {
        let (before, last) = used.split_at(used.len() - entry_bytes);
        if last.iter().any(|byte| *byte != 0) {
            break;
        }
        used = before;
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_where_reserved_zeros_begin() {
        let mut bytes = vec![0, 0, 0, 9, 0, 0, 1, 0];
        bytes.extend([0; 24]);
        let entry = OffsetEntry { relative_offset: 9, position: 256 };
        assert_eq!(offset_entries(&bytes), (vec![entry], 0));
        bytes.truncate(11);
        assert_eq!(offset_entries(&bytes), (vec![entry], 3));
    }

    #[test]
    fn a_single_entry_of_zeros_is_an_entry() {
        assert_eq!(time_entries(&[0; 12]).0.len(), 1);
        assert!(time_entries(&[]).0.is_empty());
    }
}
