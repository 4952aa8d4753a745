//! Frames: what one write of the journal holds.
//!
//! ```text
//! 0     4       8         16           24         32      40          48      52        56
//! | crc | magic | journal | generation | sequence | floor | confirmed | bytes | entries | entry ...
//! ```
//!
//! All numbers are big endian. `crc` is the CRC-32C of everything behind it, up to `bytes`, the
//! whole length of the frame; zeros follow up to a whole block. The head says
//!
//! - `journal`: which journal wrote it, a number drawn when the journal was made. Without it, bytes
//!   that a client had written into a log could pass for a frame where a write was torn;
//! - `generation`: which use of which file. The numbers of logs hold within one generation;
//! - `sequence`: one more than the frame before, over the whole life of the journal. A recycled
//!   file's old frames are told from new ones by it;
//! - `floor`: the first sequence that still counts. What comes before is in the segments, synced;
//! - `confirmed`: the highest sequence of which this and all before were durable when the frame
//!   was built. If one of those cannot be read, it was not torn: it is damaged.
//!
//! An entry begins with its kind:
//!
//! ```text
//! 0   1        5        7
//! | 1 | number | length | path                          Name: the log of this number
//!
//! 0   1        5              13         21       25
//! | 2 | number | segment base | position | length | bytes     Bytes: they stand there in its file
//!
//! 0   1        5       13
//! | 3 | number | below |                                Settled: -1 for all segments
//! ```

use thiserror::Error;

use crate::buffer::BufferMut;
use crate::decode::take;
use crate::limits::{BLOCK, JOURNAL_PATH_BYTES_MAX, JOURNAL_WRITE_BYTES_MAX, SEGMENT_BYTES_MAX};
use crate::offset::Offset;

const MAGIC: u32 = 0x524c_4a46;
/// Bytes before the part that is checksummed.
const CHECKSUM_BYTES: usize = 4;
/// Where the length stands.
const LENGTH_AT: usize = 48;
/// Where the count of entries stands.
const ENTRIES_AT: usize = LENGTH_AT + 4;
/// Bytes of a frame without entries.
pub(crate) const FRAME_HEAD_BYTES: usize = ENTRIES_AT + 4;

const NAME: u8 = 1;
const BYTES: u8 = 2;
const SETTLED: u8 = 3;
/// Bytes of a `Name` entry beside its path.
pub(crate) const NAME_ENTRY_BYTES: usize = 7;
/// Bytes of a `Bytes` entry beside its bytes.
pub(crate) const BYTES_ENTRY_BYTES: usize = 25;
/// Bytes of a `Settled` entry.
pub(crate) const SETTLED_ENTRY_BYTES: usize = 13;

const _: () = assert!(JOURNAL_WRITE_BYTES_MAX.is_multiple_of(BLOCK));
const _: () = assert!(
    FRAME_HEAD_BYTES + NAME_ENTRY_BYTES + JOURNAL_PATH_BYTES_MAX + BYTES_ENTRY_BYTES
        < JOURNAL_WRITE_BYTES_MAX
);
const _: () = assert!(JOURNAL_PATH_BYTES_MAX <= u16::MAX as usize);

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// The journal's own number.
    pub(crate) journal: u64,
    /// The use of the file it stands in.
    pub(crate) generation: u64,
    /// Its number, one more than that of the frame before.
    pub(crate) sequence: u64,
    /// The first sequence that still counts.
    pub(crate) floor: u64,
    /// This sequence, and all before, were durable when the frame was built.
    pub(crate) confirmed: u64,
}

/// One entry of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// In this generation, `number` stands for the log in the folder `path` under the root.
    Name {
        /// The log's number.
        number: u32,
        /// Its folder, relative, of ordinary names only.
        path: &'a str,
    },
    /// A segment's file holds these bytes at this position.
    Bytes {
        /// The log's number.
        number: u32,
        /// The segment.
        base: Offset,
        /// Where in its file, in bytes.
        position: u64,
        /// What stands there.
        bytes: &'a [u8],
    },
    /// All earlier entries of this log for segments with a base below `below` are void.
    Settled {
        /// The log's number.
        number: u32,
        /// The first segment whose entries still count; `None` if none do.
        below: Option<Offset>,
    },
}

/// Why bytes are no frame. Which byte is wrong does not matter to anybody: a torn frame has
/// anything anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotAFrame {
    /// The head is none, or the frame is longer than the bytes.
    #[error("no frame of the journal begins here")]
    Head,
    /// The checksum does not match.
    #[error("the frame has checksum {stated:#010x}, but its bytes give {actual:#010x}")]
    Checksum {
        /// What the head says.
        stated: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// The checksum matches, but the entries are none: nobody but another program wrote that.
    #[error("the frame's entries do not fit together")]
    Entries,
}

/// Fills a buffer with one frame. Allocates nothing.
pub(crate) struct FrameWriter {
    buffer: BufferMut,
    /// Bytes at which the frame ends at the latest.
    limit: usize,
    entries: u32,
}

impl FrameWriter {
    /// Begins a frame in an empty buffer. It takes up to `limit` bytes, or the buffer's capacity,
    /// or [`JOURNAL_WRITE_BYTES_MAX`], whichever is the least.
    ///
    /// # Panics
    ///
    /// If not even the head fits, or the head contradicts itself.
    pub(crate) fn begin(mut buffer: BufferMut, head: &FrameHead, limit: usize) -> Self {
        assert!(head.floor <= head.sequence, "journal.floor_counts: a frame counts for itself");
        assert!(head.confirmed < head.sequence, "a frame cannot know itself to be durable");
        let limit = limit.min(buffer.capacity()).min(JOURNAL_WRITE_BYTES_MAX);
        assert!(limit >= FRAME_HEAD_BYTES, "a frame needs {FRAME_HEAD_BYTES} bytes, not {limit}");
        buffer.clear();
        buffer.extend_from_slice(&[0; CHECKSUM_BYTES]);
        buffer.extend_from_slice(&MAGIC.to_be_bytes());
        for number in [head.journal, head.generation, head.sequence, head.floor, head.confirmed] {
            buffer.extend_from_slice(&number.to_be_bytes());
        }
        // The length and the count of entries, which `finish` knows.
        buffer.extend_from_slice(&[0; 8]);
        Self { buffer, limit, entries: 0 }
    }

    /// Bytes that still fit, those that entries need beside their content included.
    pub(crate) fn room(&self) -> usize {
        self.limit - self.buffer.len()
    }

    /// Whether the frame has no entry yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Says which log `number` stands for in this generation: before its first other entry.
    ///
    /// # Panics
    ///
    /// If `path` is longer than [`JOURNAL_PATH_BYTES_MAX`], or
    /// [`NAME_ENTRY_BYTES`] + `path.len()` exceed [`FrameWriter::room`].
    pub(crate) fn name(&mut self, number: u32, path: &str) {
        let length = u16::try_from(path.len()).ok();
        let length = length.filter(|length| usize::from(*length) <= JOURNAL_PATH_BYTES_MAX);
        let length = length.expect("whoever opens a log checks the length of its path");
        self.begin_entry(NAME, number, NAME_ENTRY_BYTES + path.len());
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(path.as_bytes());
    }

    /// Says that the file of segment `base` holds `parts`, end to end and `total` bytes, at
    /// `position`.
    ///
    /// # Panics
    ///
    /// If [`BYTES_ENTRY_BYTES`] and `total` exceed [`FrameWriter::room`], or the parts are not
    /// `total` bytes.
    pub(crate) fn bytes<'a>(
        &mut self,
        number: u32,
        base: Offset,
        position: u64,
        total: usize,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) {
        self.begin_entry(BYTES, number, BYTES_ENTRY_BYTES + total);
        let length = u32::try_from(total).expect("what fits into a frame has a 32-bit length");
        let mut head = [0; 20];
        head[..8].copy_from_slice(&base.value().to_be_bytes());
        head[8..16].copy_from_slice(&position.to_be_bytes());
        head[16..].copy_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(&head);
        let begun = self.buffer.len();
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        assert_eq!(self.buffer.len() - begun, total, "an entry is as long as it says");
    }

    /// Says that all earlier entries of this log for segments below `below` are void; for all of
    /// its segments if there is no `below`.
    ///
    /// # Panics
    ///
    /// If [`SETTLED_ENTRY_BYTES`] exceed [`FrameWriter::room`].
    pub(crate) fn settled(&mut self, number: u32, below: Option<Offset>) {
        self.begin_entry(SETTLED, number, SETTLED_ENTRY_BYTES);
        self.buffer.extend_from_slice(&below.map_or(-1, Offset::value).to_be_bytes());
    }

    fn begin_entry(&mut self, kind: u8, number: u32, bytes: usize) {
        let room = self.room();
        assert!(bytes <= room, "an entry of {bytes} bytes does not fit into {room} bytes");
        self.entries += 1;
        self.buffer.extend_from_slice(&[kind]);
        self.buffer.extend_from_slice(&number.to_be_bytes());
    }

    /// The whole frame, to be frozen and written.
    pub(crate) fn finish(self) -> BufferMut {
        let mut buffer = self.buffer;
        let length = u32::try_from(buffer.len()).expect("a frame has a 32-bit length");
        buffer[LENGTH_AT..ENTRIES_AT].copy_from_slice(&length.to_be_bytes());
        buffer[ENTRIES_AT..FRAME_HEAD_BYTES].copy_from_slice(&self.entries.to_be_bytes());
        let sum = crc32c::crc32c(&buffer[CHECKSUM_BYTES..]);
        buffer[..CHECKSUM_BYTES].copy_from_slice(&sum.to_be_bytes());
        buffer
    }
}

/// The head that stands at the beginning of `bytes`, and the length of the frame; `None` if no
/// frame begins like that. Nothing has been checksummed: it may be anything.
pub(crate) fn peek(bytes: &[u8]) -> Option<(FrameHead, usize)> {
    let (head, bytes, _) = read_head(bytes)?;
    Some((head, bytes))
}

fn read_head(bytes: &[u8]) -> Option<(FrameHead, usize, u32)> {
    let mut rest = bytes.get(CHECKSUM_BYTES..)?;
    if u32::from_be_bytes(take(&mut rest)?) != MAGIC {
        return None;
    }
    let mut number = || Some(u64::from_be_bytes(take(&mut rest)?));
    let head = FrameHead {
        journal: number()?,
        generation: number()?,
        sequence: number()?,
        floor: number()?,
        confirmed: number()?,
    };
    let length = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?;
    let entries = u32::from_be_bytes(take(&mut rest)?);
    let is_sensible = (FRAME_HEAD_BYTES..=JOURNAL_WRITE_BYTES_MAX).contains(&length)
        && head.floor <= head.sequence
        && head.confirmed < head.sequence;
    is_sensible.then_some((head, length, entries))
}

/// A frame whose checksum matches and whose entries fit together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// What it says of itself.
    pub(crate) head: FrameHead,
    entries: &'a [u8],
}

/// The frame at the beginning of `bytes`, which may be anything. Allocates nothing.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame<'_>, NotAFrame> {
    let (head, length, count) = read_head(bytes).ok_or(NotAFrame::Head)?;
    let whole = bytes.get(..length).ok_or(NotAFrame::Head)?;
    let (stated, checked) = whole.split_first_chunk::<CHECKSUM_BYTES>().ok_or(NotAFrame::Head)?;
    let (stated, actual) = (u32::from_be_bytes(*stated), crc32c::crc32c(checked));
    if stated != actual {
        return Err(NotAFrame::Checksum { stated, actual });
    }
    let entries = whole.get(FRAME_HEAD_BYTES..).ok_or(NotAFrame::Head)?;
    let mut rest = entries;
    for _ in 0..count {
        take_entry(&mut rest).ok_or(NotAFrame::Entries)?;
    }
    if rest.is_empty() { Ok(Frame { head, entries }) } else { Err(NotAFrame::Entries) }
}

impl<'a> Frame<'a> {
    /// The entries, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut rest = self.entries;
        std::iter::from_fn(move || take_entry(&mut rest))
    }
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let [kind] = take(rest)?;
    let number = u32::from_be_bytes(take(rest)?);
    match kind {
        NAME => {
            let length = usize::from(u16::from_be_bytes(take(rest)?));
            let path = std::str::from_utf8(take_slice(rest, length)?).ok()?;
            is_plain(path).then_some(Entry::Name { number, path })
        }
        BYTES => {
            let base = Offset::new(i64::from_be_bytes(take(rest)?))?;
            let position = u64::from_be_bytes(take(rest)?);
            let length = u32::from_be_bytes(take(rest)?);
            let end = position.checked_add(u64::from(length))?;
            let bytes = take_slice(rest, usize::try_from(length).ok()?)?;
            (end <= SEGMENT_BYTES_MAX).then_some(Entry::Bytes { number, base, position, bytes })
        }
        SETTLED => {
            let below = match i64::from_be_bytes(take(rest)?) {
                -1 => None,
                below => Some(Offset::new(below)?),
            };
            Some(Entry::Settled { number, below })
        }
        _ => None,
    }
}

/// Whether a path can be a journaled log's: relative, of ordinary names, so that it cannot lead
/// out of the root, and not too long.
pub(crate) fn is_plain(path: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name != "." && name != "..";
    path.len() <= JOURNAL_PATH_BYTES_MAX && !path.contains('\0') && path.split('/').all(is_name)
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// The frame that one changed bit has made invalid: what its head was, and which byte of it has
/// changed; `None` if no single bit makes `bytes` begin a frame.
///
/// Costs up to one pass over the frame, and one for each bit of the length field.
pub(crate) fn one_bit_off(bytes: &[u8]) -> Option<(FrameHead, usize)> {
    let stated = u32::from_be_bytes(*bytes.first_chunk::<CHECKSUM_BYTES>()?);
    let length_field = bytes.get(LENGTH_AT..ENTRIES_AT)?;
    let length = u32::from_be_bytes(*length_field.first_chunk::<4>()?);
    let whole = |length: u32| {
        let length = usize::try_from(length).ok()?;
        let is_sensible = (FRAME_HEAD_BYTES..=JOURNAL_WRITE_BYTES_MAX).contains(&length);
        bytes.get(..length).filter(|_| is_sensible)
    };
    let head_with = |at: usize, bit: usize| {
        let mut head = *bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
        if let Some(byte) = head.get_mut(at) {
            *byte ^= 1 << bit;
        }
        read_head(&head).map(|(head, _, _)| (head, at))
    };
    if let Some(checked) = whole(length).and_then(|whole| whole.get(CHECKSUM_BYTES..)) {
        let syndrome = stated ^ crc32c::crc32c(checked);
        if syndrome.count_ones() == 1 {
            let byte = 3 - usize::try_from(syndrome.trailing_zeros() / 8).ok()?;
            return head_with(byte, 0);
        }
        if let Some(after) = crate::syndrome::bits_after(syndrome, 8 * checked.len()) {
            let at = CHECKSUM_BYTES + checked.len() - 1 - after / 8;
            return head_with(at, 7 - after % 8);
        }
    }
    for bit in 0..u32::BITS {
        let flipped = length ^ (1 << bit);
        let Some(whole) = whole(flipped) else { continue };
        let (before, rest) = whole.split_at_checked(LENGTH_AT)?;
        let (_, after) = rest.split_at_checked(4)?;
        let mut sum = crc32c::crc32c(before.get(CHECKSUM_BYTES..)?);
        sum = crc32c::crc32c_append(sum, &flipped.to_be_bytes());
        if crc32c::crc32c_append(sum, after) == stated {
            let byte = 3 - usize::try_from(bit / 8).ok()?;
            return head_with(LENGTH_AT + byte, usize::try_from(bit % 8).ok()?);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferPool;

    const HEAD: FrameHead = FrameHead {
        journal: 0x0123_4567_89ab_cdef,
        generation: 3,
        sequence: 4711,
        floor: 4000,
        confirmed: 4709,
    };

    fn base(value: i64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn writer(limit: usize) -> FrameWriter {
        let pool = BufferPool::new(4 << 20);
        FrameWriter::begin(pool.try_acquire(JOURNAL_WRITE_BYTES_MAX).unwrap(), &HEAD, limit)
    }

    fn sample() -> Vec<u8> {
        let mut writer = writer(usize::MAX);
        writer.name(7, "orders-0");
        let parts: [&[u8]; 3] = [b"one ", b"", b"batch and another"];
        writer.bytes(7, base(9000), 81_920, 21, parts);
        writer.settled(7, Some(base(9001)));
        writer.name(u32::MAX, "deep/er/log");
        writer.settled(u32::MAX, None);
        writer.finish().to_vec()
    }

    /// A frame with a checksum that matches, whose entries are `entries`.
    fn forged(entries: &[u8], count: u32) -> Vec<u8> {
        let mut bytes = writer(usize::MAX).finish().to_vec();
        bytes.extend_from_slice(entries);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[LENGTH_AT..ENTRIES_AT].copy_from_slice(&length.to_be_bytes());
        bytes[ENTRIES_AT..FRAME_HEAD_BYTES].copy_from_slice(&count.to_be_bytes());
        let sum = crc32c::crc32c(&bytes[CHECKSUM_BYTES..]);
        bytes[..CHECKSUM_BYTES].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[test]
    fn a_frame_survives_the_trip() {
        let bytes = sample();
        assert_eq!(peek(&bytes), Some((HEAD, bytes.len())));
        let mut padded = bytes.clone();
        padded.resize(BLOCK, 0xff);
        let frame = decode(&padded).unwrap();
        assert_eq!(frame.head, HEAD);
        let entries: Vec<Entry<'_>> = frame.entries().collect();
        let bytes = &b"one batch and another"[..];
        assert_eq!(
            entries,
            [
                Entry::Name { number: 7, path: "orders-0" },
                Entry::Bytes { number: 7, base: base(9000), position: 81_920, bytes },
                Entry::Settled { number: 7, below: Some(base(9001)) },
                Entry::Name { number: u32::MAX, path: "deep/er/log" },
                Entry::Settled { number: u32::MAX, below: None },
            ]
        );
    }

    #[test]
    fn a_frame_takes_just_what_there_is_room_for() {
        let mut writer = writer(FRAME_HEAD_BYTES + BYTES_ENTRY_BYTES + 10);
        assert!(writer.is_empty());
        assert_eq!(writer.room(), BYTES_ENTRY_BYTES + 10);
        writer.bytes(1, base(0), 0, 10, [&[1; 10][..]]);
        assert_eq!((writer.room(), writer.is_empty()), (0, false));
        let frame = writer.finish();
        assert_eq!(decode(&frame).unwrap().entries().count(), 1);
        let full = self::writer(usize::MAX);
        assert_eq!(full.room(), JOURNAL_WRITE_BYTES_MAX - FRAME_HEAD_BYTES);
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_named() {
        let bytes = sample();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut broken = bytes.clone();
                broken[at] ^= 1 << bit;
                assert!(decode(&broken).is_err(), "bit {bit} of byte {at}");
                assert_eq!(one_bit_off(&broken), Some((HEAD, at)), "bit {bit} of byte {at}");
            }
        }
        let mut broken = bytes;
        broken[70] ^= 1;
        broken[90] ^= 1;
        assert_eq!(one_bit_off(&broken), None);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
            let mut torn = bytes.clone();
            torn[length..].fill(0);
            assert!(decode(&torn).is_err() || torn == bytes, "{length} bytes, then zeros");
        }
    }

    #[test]
    fn hostile_entries_are_refused() {
        let name = |path: &[u8]| {
            let mut entry = vec![NAME, 0, 0, 0, 1];
            entry.extend_from_slice(&u16::try_from(path.len()).unwrap().to_be_bytes());
            entry.extend_from_slice(path);
            entry
        };
        let piece = |base: i64, position: u64, length: u32, bytes: &[u8]| {
            let mut entry = vec![BYTES, 0, 0, 0, 1];
            entry.extend_from_slice(&base.to_be_bytes());
            entry.extend_from_slice(&position.to_be_bytes());
            entry.extend_from_slice(&length.to_be_bytes());
            entry.extend_from_slice(bytes);
            entry
        };
        assert!(decode(&forged(&name(b"a/b"), 1)).is_ok());
        assert!(decode(&forged(&piece(0, SEGMENT_BYTES_MAX - 1, 1, b"x"), 1)).is_ok());
        let hostile = [
            (name(b"a"), 0),
            (name(b"a"), 2),
            (name(b"a"), u32::MAX),
            (name(b""), 1),
            (name(b"/a"), 1),
            (name(b"a/"), 1),
            (name(b"a//b"), 1),
            (name(b"../a"), 1),
            (name(b"a/./b"), 1),
            (name(b"a\0"), 1),
            (name(b"\xff"), 1),
            (name(&[b'a'; JOURNAL_PATH_BYTES_MAX + 1]), 1),
            (vec![NAME, 0, 0, 0, 1, 255, 255], 1),
            (piece(-1, 0, 1, b"x"), 1),
            (piece(0, u64::MAX, 1, b"x"), 1),
            (piece(0, SEGMENT_BYTES_MAX, 1, b"x"), 1),
            (piece(0, 0, 2, b"x"), 1),
            (piece(0, 0, u32::MAX, b"x"), 1),
            (piece(0, 0, 0, b"x"), 1),
            (vec![SETTLED, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 254], 1),
            (vec![SETTLED, 0, 0, 0, 1], 1),
            (vec![0], 1),
            (vec![4; 64], 1),
        ];
        for (entries, count) in hostile {
            let frame = forged(&entries, count);
            assert_eq!(decode(&frame).err(), Some(NotAFrame::Entries), "{entries:?}");
        }
    }
}
