//! What a log stores: entries, in one of two formats behind one prefix.
//!
//! ```text
//! 0             8        12       16      17    21
//! | base offset | length | epoch  | magic | CRC | ...          every entry
//! |             |        |        |   2   |     | attributes, counts, records: a record batch
//! |             |        |        | 0x7d  |     | timestamp i64, payload: a frame
//! ```
//!
//! All numbers are big-endian. `length` counts the bytes behind itself, and the CRC-32C covers
//! everything from byte 21 on; in a frame it stands XORed with 0x7d7d7d7d, so that no other magic
//! byte makes a record batch of it, or a frame of a record batch. So whatever stores, scans, indexes, checks, recovers, serves and cuts
//! entries works on the prefix and never asks for the format. The magic byte names it, and with it
//! what differs: how long the header is, how many offsets the entry takes, its largest timestamp and
//! its producer. [`BatchHeader`] answers those, in the words of record batches.
//!
//! - A **record batch** ([`crate::batch`]) is Kafka's: many records, perhaps compressed, perhaps of
//!   an idempotent producer or a transaction.
//! - A **frame** ([`crate::frame`]) is a payload as it is: one record, one offset, 29 bytes of
//!   header. What the payload means is its owner's business, so a format of your own goes into a
//!   frame.
//!
//! # Why the set is closed
//!
//! A recovery has to tell an entry from torn bytes years after it was written. A format that only
//! some programs know would be cut off as torn by all others; so there are two formats, and
//! everything that opens a log knows both.
//!
//! # Both in one log
//!
//! A log takes both, in any order, since each entry says what it is. Who wants one kind only appends
//! one kind only: Ringlog's broker appends nothing but [`CheckedBatch`](crate::batch::CheckedBatch),
//! which is never a frame, so that no Kafka client can be sent one.

use crate::batch::{BatchHeader, HEADER_BYTES};
use crate::frame::FRAME_HEADER_BYTES;

/// The format of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Kafka's record batch, format 2.
    RecordBatch,
    /// A payload with a length, a checksum and a timestamp.
    Frame,
}

impl Format {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::RecordBatch, Self::Frame];

    /// The format's magic byte. Kafka used 0 to 2; that of a frame differs from each of them in at
    /// least five bits, so that no single flipped bit turns one format into another.
    #[must_use]
    pub const fn magic(self) -> i8 {
        match self {
            Self::RecordBatch => 2,
            Self::Frame => 0x7d,
        }
    }

    /// Bytes of the format's header, the prefix included.
    #[must_use]
    pub const fn header_bytes(self) -> usize {
        match self {
            Self::RecordBatch => HEADER_BYTES,
            Self::Frame => FRAME_HEADER_BYTES,
        }
    }

    /// What the CRC-32C is XORed with in the format's header: the magic byte is not under it, and
    /// with this an entry whose magic byte became that of the other format does not check.
    pub(crate) const fn checksum_mask(self) -> u32 {
        match self {
            Self::RecordBatch => 0,
            Self::Frame => 0x7d7d_7d7d,
        }
    }

    /// The format that a magic byte names; `None` if it names none.
    #[must_use]
    pub fn of_magic(magic: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.magic() == magic)
    }

    /// The format whose magic byte is this one, or this one with one bit flipped.
    pub(crate) fn nearest(magic: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| (format.magic() ^ magic).count_ones() <= 1)
    }
}

/// Bytes of the shortest header of all formats.
pub(crate) const HEADER_BYTES_MIN: usize = FRAME_HEADER_BYTES;
/// Bytes in which the header of every format fits.
pub(crate) const HEADER_BYTES_MAX: usize = HEADER_BYTES;

const _: () = assert!(HEADER_BYTES_MIN <= HEADER_BYTES_MAX);

/// Something that a log takes: a [`CheckedBatch`](crate::batch::CheckedBatch), a
/// [`Frame`](crate::frame::Frame) or a [`CheckedFrame`](crate::frame::CheckedFrame).
///
/// The trait is sealed: whoever holds an entry knows that its length, counts and checksum are right.
pub trait Entry: sealed::Sealed {
    /// The whole entry, header included, in two pieces that follow one another. Either may be
    /// empty, and they need not be neighbours in memory.
    fn pieces(&self) -> [&[u8]; 2];

    /// Its header.
    fn header(&self) -> &BatchHeader;

    /// Bytes of the whole entry: what [`Log::reserve`](crate::log::Log::reserve) wants to know.
    fn size_bytes(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum()
    }
}

pub(crate) mod sealed {
    /// Keeps [`super::Entry`] to this crate.
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_turns_a_format_into_another_or_into_one_that_kafka_used() {
        for format in Format::ALL {
            assert_eq!(Format::of_magic(format.magic()), Some(format));
            for bit in 0..8 {
                let flipped = format.magic() ^ i8::from_ne_bytes([1 << bit]);
                assert_eq!(Format::of_magic(flipped), None);
                assert_eq!(Format::nearest(flipped), Some(format));
            }
        }
        for old in 0..=2_i8 {
            assert!((Format::Frame.magic() ^ old).count_ones() >= 5);
        }
        assert_eq!(Format::nearest(0x55), None);
    }
}
