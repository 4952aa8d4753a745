//! Frames: payloads that are not Kafka's record batches.
//!
//! ```text
//! 0             8        12      16     17    21          29
//! | base offset | length | epoch | 0x7d | CRC | timestamp | payload ...
//! ```
//!
//! A frame is one record, takes one offset, and holds a payload as it is: a command of a write-ahead
//! log, a message of a queue, a block of something else. It may be empty. The CRC is a CRC-32C, XORed
//! with 0x7d7d7d7d. All that a log does to record batches it does to frames; see [`crate::entry`].
//! The log sets the offset and the leader epoch, and the timestamp if the
//! [`Stamp`](crate::log::Stamp) has one.
//!
//! [`Frame`] is one that was made here, to be appended; [`CheckedFrame`] is a view of one in bytes
//! that were read, and [`frames`] goes through many.
//!
//! ```
//! use ringlog_engine::frame::{CheckedFrame, Frame};
//! use ringlog_engine::offset::Timestamp;
//!
//! let frame = Frame::new(Timestamp::from_millis(1_000), b"anything at all")?;
//! let bytes = frame.to_vec();
//! let read = CheckedFrame::check(&bytes)?;
//! assert_eq!(read.payload(), b"anything at all");
//! assert_eq!(read.timestamp(), Timestamp::from_millis(1_000));
//! # Ok::<(), ringlog_engine::frame::FrameError>(())
//! ```

use thiserror::Error;
use zerocopy::byteorder::big_endian::I64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::batch::{BatchHeader, LENGTH_PREFIX_BYTES, Prefix, checksum};
use crate::entry::{Entry, Format, sealed};
use crate::limits::BATCH_BYTES_MAX;
use crate::offset::{Offset, Timestamp};

/// Bytes of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 29;

/// Bytes of the largest payload of a frame.
pub const PAYLOAD_BYTES_MAX: usize = BATCH_BYTES_MAX - FRAME_HEADER_BYTES;

/// Why bytes are no frame, or cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Fewer bytes than a header has.
    #[error("frame of {actual} bytes is shorter than its {FRAME_HEADER_BYTES} byte header")]
    Short {
        /// Bytes there are.
        actual: usize,
    },
    /// The length field does not fit the bytes.
    #[error("frame says it has {stated} bytes after its length field, but {actual} follow it")]
    Length {
        /// What the length field says.
        stated: i32,
        /// Bytes there are after the field.
        actual: usize,
    },
    /// A payload above every limit.
    #[error("payload of {actual} bytes exceeds the limit of {PAYLOAD_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes of the payload.
        actual: usize,
    },
    /// Not a frame.
    #[error("entry has magic byte {actual}; that of a frame is 125")]
    Magic {
        /// The byte found.
        actual: i8,
    },
    /// The checksum does not match.
    #[error("frame has checksum {stated:#010x}, but its bytes give {actual:#010x}")]
    Checksum {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// An offset that no log gives.
    #[error("frame has offset {actual}; it must be 0 or more")]
    Offset {
        /// The offset found.
        actual: i64,
    },
}

/// The header's layout, byte for byte.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct Layout {
    prefix: Prefix,
    timestamp: I64,
}

const _: () = assert!(size_of::<Layout>() == FRAME_HEADER_BYTES);

/// A frame to append: a header for a payload that stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    head: [u8; FRAME_HEADER_BYTES],
    payload: &'a [u8],
    header: BatchHeader,
}

impl<'a> Frame<'a> {
    /// A frame of this payload. Costs one pass for the checksum; nothing is allocated or copied,
    /// before [`Log::append`](crate::log::Log::append) does, once.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] above [`PAYLOAD_BYTES_MAX`]; a log may allow less
    /// ([`LogSettings::batch_bytes_max`](crate::log::LogSettings)).
    pub fn new(timestamp: Timestamp, payload: &'a [u8]) -> Result<Self, FrameError> {
        let actual = payload.len();
        let length = i32::try_from(actual + FRAME_HEADER_BYTES - LENGTH_PREFIX_BYTES)
            .ok()
            .filter(|_| actual <= PAYLOAD_BYTES_MAX)
            .ok_or(FrameError::TooLarge { actual })?;
        let timestamp_field = I64::new(timestamp.millis());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(timestamp_field.as_bytes()), payload);
        let prefix = Prefix {
            base_offset: 0.into(),
            length: length.into(),
            leader_epoch: (-1).into(),
            magic: Format::Frame.magic(),
            checksum: (checksum ^ Format::Frame.checksum_mask()).into(),
        };
        let layout = Layout { prefix, timestamp: timestamp_field };
        let header = BatchHeader::of_frame(&layout.prefix, timestamp);
        Ok(Self { head: zerocopy::transmute!(layout), payload, header })
    }

    /// Bytes of the whole frame, header included: what [`Log::reserve`](crate::log::Log::reserve)
    /// wants to know.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload.len()
    }

    /// The whole frame in a piece of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        [&self.head, self.payload].concat()
    }
}

/// One whole frame whose length and checksum are right, borrowed from the bytes it stands in.
#[derive(Debug, Clone, Copy)]
pub struct CheckedFrame<'a> {
    bytes: &'a [u8],
    offset: Offset,
    header: BatchHeader,
}

impl<'a> CheckedFrame<'a> {
    /// Checks that `bytes` are exactly one frame. Costs one pass for the checksum.
    ///
    /// # Errors
    ///
    /// [`FrameError`], which says what was expected.
    pub fn check(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (frame, rest) = Self::check_first(bytes)?;
        if rest.is_empty() {
            return Ok(frame);
        }
        let actual = bytes.len() - LENGTH_PREFIX_BYTES;
        Err(FrameError::Length { stated: frame.header.length, actual })
    }

    /// Checks the frame at the start of `bytes` and gives it together with what follows it.
    ///
    /// # Errors
    ///
    /// As [`CheckedFrame::check`]; a frame longer than `bytes` is [`FrameError::Length`].
    pub fn check_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), FrameError> {
        let actual = bytes.len();
        let (prefix, _) =
            Prefix::ref_from_prefix(bytes).map_err(|_| FrameError::Short { actual })?;
        if Format::of_magic(prefix.magic) != Some(Format::Frame) {
            return Err(FrameError::Magic { actual: prefix.magic });
        }
        let header = BatchHeader::read(bytes).ok_or(FrameError::Short { actual })?;
        let stated = header.length;
        let length = FrameError::Length { stated, actual: actual - LENGTH_PREFIX_BYTES };
        let total = header.total_bytes().ok_or(length)?;
        if total > BATCH_BYTES_MAX {
            return Err(FrameError::TooLarge { actual: total - FRAME_HEADER_BYTES });
        }
        let (bytes, rest) = bytes.split_at_checked(total).ok_or(length)?;
        let actual = checksum(bytes);
        if actual != header.checksum {
            return Err(FrameError::Checksum { stated: header.checksum, actual });
        }
        let actual = header.base_offset;
        let offset = Offset::new(actual).ok_or(FrameError::Offset { actual })?;
        Ok((Self { bytes, offset, header }, rest))
    }

    /// The frame's offset; [`Offset::ZERO`] for one that no log has taken yet.
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The frame's timestamp, as its maker or the log set it.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.header.max_timestamp
    }

    /// What the frame was made of.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(FRAME_HEADER_BYTES..).unwrap_or(&[])
    }

    /// The whole frame, header included.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// The frames in `bytes`, one after the other, each checked as it comes. After an error it ends.
///
/// A read gives whole entries only, so each piece of its [`Slices`](crate::log::Slices) can be gone
/// through like this. Costs a pass over the bytes, no allocation.
pub fn frames(bytes: &[u8]) -> impl Iterator<Item = Result<CheckedFrame<'_>, FrameError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let checked = CheckedFrame::check_first(std::mem::take(&mut rest));
        Some(checked.map(|(frame, after)| {
            rest = after;
            frame
        }))
    })
}

impl sealed::Sealed for Frame<'_> {}

impl Entry for Frame<'_> {
    fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, self.payload]
    }

    fn header(&self) -> &BatchHeader {
        &self.header
    }
}

impl sealed::Sealed for CheckedFrame<'_> {}

impl Entry for CheckedFrame<'_> {
    fn pieces(&self) -> [&[u8]; 2] {
        [self.bytes, &[]]
    }

    fn header(&self) -> &BatchHeader {
        &self.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, BatchError, BatchOptions, CheckedBatch};

    fn good() -> Vec<u8> {
        Frame::new(Timestamp::from_millis(7), b"payload").unwrap().to_vec()
    }

    #[test]
    fn a_frame_reads_back_and_is_one_record_of_nobody() {
        let bytes = good();
        let frame = CheckedFrame::check(&bytes).unwrap();
        assert_eq!((frame.payload(), frame.timestamp().millis()), (b"payload".as_slice(), 7));
        assert_eq!(frame.offset(), Offset::ZERO);
        let header = BatchHeader::read(&bytes).unwrap();
        assert_eq!(header, Frame::new(Timestamp::from_millis(7), b"payload").unwrap().header);
        assert_eq!((header.record_count, header.last_offset(), header.last_sequence()), (1, 0, -1));
        assert!(!header.producer_id.is_some());
        let empty = Frame::new(Timestamp::NONE, b"").unwrap();
        assert_eq!(empty.size_bytes(), FRAME_HEADER_BYTES);
        assert_eq!(CheckedFrame::check(&empty.to_vec()).unwrap().payload(), b"");
    }

    #[test]
    fn a_record_batch_whose_magic_byte_became_that_of_a_frame_is_refused() {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.push(Timestamp::from_millis(7), None, Some(b"value"), &[]);
        let mut bytes = batch.finish().unwrap();
        bytes[16] = Format::Frame.magic().cast_unsigned();
        let refused = CheckedFrame::check(&bytes).unwrap_err();
        assert!(matches!(refused, FrameError::Checksum { .. }), "{refused}");
    }

    #[test]
    fn every_flipped_bit_outside_of_offset_and_epoch_is_refused() {
        let bytes = good();
        for at in (8..12).chain(16..bytes.len()) {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert!(CheckedFrame::check(&broken).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn each_wrong_field_has_its_error() {
        let bytes = good();
        let cut = |end: usize| CheckedFrame::check(&bytes[..end]).unwrap_err();
        assert_eq!(cut(20), FrameError::Short { actual: 20 });
        assert_eq!(cut(28), FrameError::Short { actual: 28 });
        assert!(matches!(cut(30), FrameError::Length { actual: 18, .. }));
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(CheckedFrame::check(&longer), Err(FrameError::Length { .. })));
        let mut negative = bytes.clone();
        negative[0] = 0x80;
        assert!(matches!(CheckedFrame::check(&negative), Err(FrameError::Offset { .. })));
        let mut huge = bytes;
        huge[8] = 0x7f;
        assert!(matches!(CheckedFrame::check(&huge), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn neither_format_is_taken_for_the_other() {
        let frame = good();
        let refused = CheckedBatch::check(&frame).unwrap_err();
        assert_eq!(refused, BatchError::Magic { actual: 0x7d });
        let long = Frame::new(Timestamp::NONE, &[0; 100]).unwrap().to_vec();
        assert!(matches!(CheckedBatch::check_first(&long), Err(BatchError::Magic { .. })));
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(Timestamp::from_millis(1), None, Some(b"value"), &[]);
        let batch = builder.finish().unwrap();
        assert_eq!(CheckedFrame::check(&batch).unwrap_err(), FrameError::Magic { actual: 2 });
    }

    #[test]
    fn many_frames_are_gone_through_up_to_the_first_wrong_one() {
        let one = good();
        let mut bytes = [one.clone(), one.clone(), one.clone()].concat();
        assert_eq!(frames(&bytes).filter(Result::is_ok).count(), 3);
        bytes[one.len() + 25] ^= 1;
        let seen: Vec<bool> = frames(&bytes).map(|frame| frame.is_ok()).collect();
        assert_eq!(seen, [true, false]);
    }
}
