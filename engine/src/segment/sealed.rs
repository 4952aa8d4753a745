//! A segment that is complete.

use std::num::NonZeroU32;

use crate::offset::{Offset, Timestamp};
use crate::segment::active::Summary;
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;

/// Both indexes of a sealed segment.
#[derive(Debug)]
pub(crate) struct Indexes {
    pub(crate) offsets: OffsetIndex,
    pub(crate) times: TimeIndex,
}

impl Indexes {
    /// Bytes of memory they take.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.offsets.bytes() + self.times.bytes()
    }
}

/// A checksum over the files of both indexes of a segment: Kafka's formats have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexSum(NonZeroU32);

impl IndexSum {
    /// The checksum of what both files hold. One that is 0 counts as the largest.
    pub(crate) fn of(offsets: &[u8], times: &[u8]) -> Self {
        let sum = crc32c::crc32c_append(crc32c::crc32c(offsets), times);
        Self(NonZeroU32::new(sum).unwrap_or(NonZeroU32::MAX))
    }

    /// The checksum in a file's number: 0 says that none is known.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The number that stands for it in a file.
    pub(crate) fn number(sum: Option<Self>) -> u32 {
        sum.map_or(0, |sum| sum.0.get())
    }
}

/// A sealed segment: what its log remembers of it as long as it is open. Its file and indexes are
/// in the shard's [store](crate::segment::store), while they are used.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    /// The file's exact length in bytes.
    pub(crate) size: u64,
    /// The largest timestamp, or [`Timestamp::NONE`].
    latest: Timestamp,
    /// The last offset of the batch with it, from `base` on.
    latest_offset: u32,
    /// What its indexes' files should hold; `None` if nobody has checked them against the batches.
    pub(crate) indexes: Option<IndexSum>,
}

/// A log may have tens of thousands of them.
const _: () = assert!(size_of::<Sealed>() == 40);

impl Sealed {
    /// `latest` is the largest timestamp and the last offset of the batch with it.
    pub(crate) fn new(
        base: Offset,
        end: Offset,
        size: u64,
        latest: Option<(Timestamp, Offset)>,
        indexes: Option<IndexSum>,
    ) -> Self {
        let (latest, offset) = latest.unwrap_or((Timestamp::NONE, base));
        // All offsets of a segment lie within 31 bits of its base.
        let latest_offset = u32::try_from(offset.since(base)).unwrap_or(u32::MAX);
        Self { base, end, size, latest, latest_offset, indexes }
    }

    /// The segment that was summed up so far, once its last time entry is added, and the checksum of
    /// its indexes.
    pub(crate) fn of(summary: &Summary, indexes: Option<IndexSum>) -> Self {
        let latest = summary.times.last();
        let latest = latest.map(|entry| (entry.timestamp, summary.base.plus(entry.relative)));
        Self::new(summary.base, summary.end, summary.size, latest, indexes)
    }

    /// The largest timestamp of the segment's batches, and the last offset of the batch with it, if
    /// any has one.
    pub(crate) fn latest(&self) -> Option<(Timestamp, Offset)> {
        let latest = (self.latest, self.base.plus(self.latest_offset));
        (self.latest != Timestamp::NONE).then_some(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_either_index_changes_their_checksum() {
        let (offsets, times) = ([1_u8; 16], [2_u8; 24]);
        let sum = IndexSum::of(&offsets, &times);
        assert_eq!(IndexSum::from_number(IndexSum::number(Some(sum))), Some(sum));
        assert_eq!(IndexSum::from_number(IndexSum::number(None)), None);
        for bit in 0..8 {
            for at in 0..offsets.len() {
                let mut flipped = offsets;
                flipped[at] ^= 1 << bit;
                assert_ne!(IndexSum::of(&flipped, &times), sum);
            }
            for at in 0..times.len() {
                let mut flipped = times;
                flipped[at] ^= 1 << bit;
                assert_ne!(IndexSum::of(&offsets, &flipped), sum);
            }
        }
    }
}
