//! What stands before an entry's content: 61 bytes for a record batch, 29 for a frame.

use std::fmt;

use zerocopy::byteorder::big_endian::{I16, I32, I64, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::compression::{Compression, UnknownCompression};
use crate::entry::{Format, HEADER_BYTES_MIN};
use crate::epoch::LeaderEpoch;
use crate::offset::{Offset, Timestamp};

/// Bytes of a record batch's header.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part of an entry that its length field counts.
pub const LENGTH_PREFIX_BYTES: usize = 12;

/// Where the checksum starts to count: behind the prefix.
pub(crate) const CHECKSUMMED_FROM: usize = 21;
const MAGIC_AT: usize = 16;
const CHECKSUM_AT: std::ops::Range<usize> = 17..21;
const BASE_OFFSET_AT: std::ops::Range<usize> = 0..8;
const LEADER_EPOCH_AT: std::ops::Range<usize> = 12..16;
const ATTRIBUTES_AT: std::ops::Range<usize> = 21..23;
const MAX_TIMESTAMP_AT: std::ops::Range<usize> = 35..43;
const FRAME_TIMESTAMP_AT: std::ops::Range<usize> = 21..29;

/// The identity of an idempotent or transactional producer; -1 for every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(i64);

impl ProducerId {
    /// "Not an idempotent producer", as on Kafka's wire.
    pub const NONE: Self = Self(-1);

    /// A producer id; negative values stand for [`ProducerId::NONE`].
    #[must_use]
    pub const fn new(value: i64) -> Self {
        if value < 0 { Self::NONE } else { Self(value) }
    }

    /// The id as the wire writes it.
    #[must_use]
    pub const fn value(self) -> i64 {
        self.0
    }

    /// Whether this names a producer.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A batch's attribute bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(i16);

impl Attributes {
    const APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;
    const DEFINED: i16 = (1 << 7) - 1;

    /// Attributes from the wire's bits.
    #[must_use]
    pub const fn from_bits(bits: i16) -> Self {
        Self(bits)
    }

    /// The wire's bits.
    #[must_use]
    pub const fn bits(self) -> i16 {
        self.0
    }

    /// The records' codec.
    ///
    /// # Errors
    ///
    /// [`UnknownCompression`] if the bits name none; never for a checked batch.
    pub const fn compression(self) -> Result<Compression, UnknownCompression> {
        Compression::from_bits(self.0)
    }

    /// Whether the timestamp was given by the broker (LogAppendTime) and not by the producer.
    #[must_use]
    pub const fn is_append_time(self) -> bool {
        self.0 & Self::APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker of a coordinator and not a user's records.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp holds the time at which compaction may drop the tombstones.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// The bits that no version of the format defines, 0 in every good batch.
    #[must_use]
    pub const fn undefined_bits(self) -> i16 {
        self.0 & !Self::DEFINED
    }

    /// The same attributes with the given codec.
    #[must_use]
    pub const fn with_compression(self, codec: Compression) -> Self {
        Self(self.0 & !Compression::MASK | codec.bits())
    }

    /// The same attributes, marked as part of a transaction or not.
    #[must_use]
    pub const fn with_transactional(self, on: bool) -> Self {
        Self(if on { self.0 | Self::TRANSACTIONAL } else { self.0 & !Self::TRANSACTIONAL })
    }

    /// The same attributes, marked as a control batch or not.
    #[must_use]
    pub const fn with_control(self, on: bool) -> Self {
        Self(if on { self.0 | Self::CONTROL } else { self.0 & !Self::CONTROL })
    }

    /// The same attributes; the base timestamp then holds a delete horizon.
    #[must_use]
    pub const fn with_delete_horizon(self) -> Self {
        Self(self.0 | Self::DELETE_HORIZON)
    }

    /// The same attributes, without a delete horizon.
    #[must_use]
    pub const fn without_delete_horizon(self) -> Self {
        Self(self.0 & !Self::DELETE_HORIZON)
    }

    /// The same attributes, marked as stamped by the broker.
    #[must_use]
    pub const fn with_append_time(self) -> Self {
        Self(self.0 | Self::APPEND_TIME)
    }
}

/// What every entry begins with, byte for byte.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Prefix {
    pub(crate) base_offset: I64,
    pub(crate) length: I32,
    pub(crate) leader_epoch: I32,
    pub(crate) magic: i8,
    pub(crate) checksum: U32,
}

const _: () = assert!(size_of::<Prefix>() == CHECKSUMMED_FROM);

/// A record batch's header, byte for byte.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Layout {
    pub(super) prefix: Prefix,
    pub(super) attributes: I16,
    pub(super) last_offset_delta: I32,
    pub(super) base_timestamp: I64,
    pub(super) max_timestamp: I64,
    pub(super) producer_id: I64,
    pub(super) producer_epoch: I16,
    pub(super) base_sequence: I32,
    pub(super) record_count: I32,
}

const _: () = assert!(size_of::<Layout>() == HEADER_BYTES);

/// An entry's header, parsed but not judged: every field as it stands in the bytes.
///
/// A frame reads as a batch of one record without a producer, whose timestamps are the frame's;
/// see [`crate::entry`]. Of bytes whose magic byte names no format, only the prefix is read, and
/// the fields behind it are as in a frame without timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset. A producer sends 0; the log sets it.
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    /// The leader epoch the entry was appended under. The log sets it.
    pub leader_epoch: LeaderEpoch,
    /// The format's magic byte; see [`BatchHeader::format`].
    pub magic: i8,
    /// CRC-32C of the bytes behind it; of a frame, without what it is XORed with on disk.
    pub checksum: u32,
    /// Codec, kind of timestamp, transaction bits.
    pub attributes: Attributes,
    /// Last record's offset minus the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the records.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub base_sequence: i32,
    /// How many records follow.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header from the start of `bytes`; `None` if there are fewer bytes than a header of
    /// the format has that the magic byte names. Costs some twenty loads, no allocation.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (prefix, rest) = Prefix::ref_from_prefix(bytes).ok()?;
        match Format::of_magic(prefix.magic) {
            Some(Format::RecordBatch) => {
                let (layout, _) = Layout::ref_from_prefix(bytes).ok()?;
                Some(Self::of_batch(layout))
            }
            Some(Format::Frame) => {
                let (timestamp, _) = I64::ref_from_prefix(rest).ok()?;
                Some(Self::of_frame(prefix, Timestamp::from_millis(timestamp.get())))
            }
            None => {
                let meant = Format::nearest(prefix.magic).unwrap_or(Format::RecordBatch);
                Some(Self::of_prefix(prefix, Timestamp::NONE, meant.checksum_mask()))
            }
        }
    }

    const fn of_batch(layout: &Layout) -> Self {
        let prefix = &layout.prefix;
        Self {
            base_offset: prefix.base_offset.get(),
            length: prefix.length.get(),
            leader_epoch: LeaderEpoch::new(prefix.leader_epoch.get()),
            magic: prefix.magic,
            checksum: prefix.checksum.get(),
            attributes: Attributes::from_bits(layout.attributes.get()),
            last_offset_delta: layout.last_offset_delta.get(),
            base_timestamp: Timestamp::from_millis(layout.base_timestamp.get()),
            max_timestamp: Timestamp::from_millis(layout.max_timestamp.get()),
            producer_id: ProducerId::new(layout.producer_id.get()),
            producer_epoch: layout.producer_epoch.get(),
            base_sequence: layout.base_sequence.get(),
            record_count: layout.record_count.get(),
        }
    }

    /// The header of a frame with this timestamp.
    pub(crate) const fn of_frame(prefix: &Prefix, timestamp: Timestamp) -> Self {
        Self::of_prefix(prefix, timestamp, Format::Frame.checksum_mask())
    }

    const fn of_prefix(prefix: &Prefix, timestamp: Timestamp, mask: u32) -> Self {
        Self {
            base_offset: prefix.base_offset.get(),
            length: prefix.length.get(),
            leader_epoch: LeaderEpoch::new(prefix.leader_epoch.get()),
            magic: prefix.magic,
            checksum: prefix.checksum.get() ^ mask,
            attributes: Attributes::from_bits(0),
            last_offset_delta: 0,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: ProducerId::NONE,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 1,
        }
    }

    /// The entry's format; `None` if the magic byte names none.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        Format::of_magic(self.magic)
    }

    /// The whole entry's length in bytes, this header included; `None` if the length field holds
    /// less than the rest of a header, which no entry has.
    #[must_use]
    pub fn total_bytes(&self) -> Option<usize> {
        let length = usize::try_from(self.length).ok()?;
        let total = length.checked_add(LENGTH_PREFIX_BYTES)?;
        let least = self.format().map_or(HEADER_BYTES_MIN, Format::header_bytes);
        (total >= least).then_some(total)
    }

    /// The last record's offset. Meaningful once the log has set the base offset.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record; `None` if base offset or delta is negative.
    #[must_use]
    pub fn end_offset(&self) -> Option<Offset> {
        if self.last_offset_delta < 0 || self.base_offset < 0 {
            return None;
        }
        Offset::new(self.last_offset().checked_add(1)?)
    }

    /// The last record's sequence number: sequences wrap from 2^31-1 to 0. -1 if the batch has
    /// none.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let sum = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        i32::try_from(sum.rem_euclid(1 << 31)).unwrap_or(0)
    }
}

/// CRC-32C of a whole entry's checksummed part. `entry` holds at least a header.
pub(crate) fn checksum(entry: &[u8]) -> u32 {
    crc32c::crc32c(entry.get(CHECKSUMMED_FROM..).unwrap_or(&[]))
}

/// Sets base offset and leader epoch in place. `entry` holds at least a header.
pub(crate) fn stamp_position(entry: &mut [u8], base_offset: Offset, epoch: LeaderEpoch) {
    entry[BASE_OFFSET_AT].copy_from_slice(&base_offset.value().to_be_bytes());
    entry[LEADER_EPOCH_AT].copy_from_slice(&epoch.value().to_be_bytes());
}

/// Gives the entry the time at which it was appended, and renews its checksum: one pass over the
/// entry. A record batch is also marked as stamped by the broker. `entry` is one whole entry.
pub(crate) fn set_append_time(entry: &mut [u8], time: Timestamp) {
    if !is_frame(entry) {
        let mut bits = [0; 2];
        bits.copy_from_slice(&entry[ATTRIBUTES_AT]);
        let attributes = Attributes::from_bits(i16::from_be_bytes(bits)).with_append_time();
        entry[ATTRIBUTES_AT].copy_from_slice(&attributes.bits().to_be_bytes());
    }
    set_max_timestamp(entry, time);
}

/// Sets the largest timestamp, and renews the checksum: one pass over the entry. `entry` is one
/// whole entry.
pub(crate) fn set_max_timestamp(entry: &mut [u8], time: Timestamp) {
    let (at, format) = match is_frame(entry) {
        true => (FRAME_TIMESTAMP_AT, Format::Frame),
        false => (MAX_TIMESTAMP_AT, Format::RecordBatch),
    };
    entry[at].copy_from_slice(&time.millis().to_be_bytes());
    let renewed = checksum(entry) ^ format.checksum_mask();
    entry[CHECKSUM_AT].copy_from_slice(&renewed.to_be_bytes());
}

fn is_frame(entry: &[u8]) -> bool {
    entry[MAGIC_AT].cast_signed() == Format::Frame.magic()
}
