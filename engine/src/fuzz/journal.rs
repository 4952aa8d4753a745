//! The journal's frames, and the heads of its files.

use super::{Choices, bounded, keep_seeds, slow_crc32c};
use crate::buffer::BufferPool;
use crate::journal::files::decode_head;
use crate::journal::frame::{Entry, FrameHead, FrameWriter, decode, one_bit_off, peek};
use crate::limits::SEGMENT_BYTES_MAX;
use crate::offset::Offset;

/// An entry that owns what it says.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    Name(u32, String),
    Bytes(u32, i64, u64, Vec<u8>),
    Settled(u32, i64),
}

impl Known {
    fn of(entry: Entry<'_>) -> Self {
        match entry {
            Entry::Name { number, path } => Self::Name(number, path.to_owned()),
            Entry::Bytes { number, base, position, bytes } => {
                Self::Bytes(number, base.value(), position, bytes.to_vec())
            }
            Entry::Settled { number, below } => {
                Self::Settled(number, below.map_or(-1, Offset::value))
            }
        }
    }
}

/// A frame by the text of its format: the five numbers of its head, and its entries.
fn oracle(bytes: &[u8]) -> Option<([u64; 5], Vec<Known>)> {
    fn number(bytes: &mut &[u8], width: usize) -> Option<u64> {
        let (digits, rest) = bytes.split_at_checked(width)?;
        *bytes = rest;
        Some(digits.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }
    let mut rest = bytes;
    let sum = number(&mut rest, 4)?;
    let is_ours = number(&mut rest, 4)? == 0x524c_4a46;
    let mut head = [0; 5];
    for field in &mut head {
        *field = number(&mut rest, 8)?;
    }
    let [_, _, sequence, floor, confirmed] = head;
    let length = usize::try_from(number(&mut rest, 4)?).ok()?;
    let count = number(&mut rest, 4)?;
    let fits = (56..=256 * 1024).contains(&length) && length <= bytes.len();
    if !is_ours || !fits || floor > sequence || confirmed >= sequence {
        return None;
    }
    if u64::from(slow_crc32c(&bytes[4..length])) != sum {
        return None;
    }
    let mut rest = &bytes[56..length];
    let mut entries = Vec::new();
    for _ in 0..count {
        let (kind, log) = (number(&mut rest, 1)?, u32::try_from(number(&mut rest, 4)?).unwrap());
        entries.push(match kind {
            1 => {
                let (path, after) =
                    rest[..].split_at_checked(2).and_then(|(mut size, after)| {
                        after.split_at_checked(usize::try_from(number(&mut size, 2)?).ok()?)
                    })?;
                rest = after;
                let path = std::str::from_utf8(path).ok()?;
                let odd = |name| matches!(name, "" | "." | "..");
                if path.len() > 4095 || path.contains('\0') || path.split('/').any(odd) {
                    return None;
                }
                Known::Name(log, path.to_owned())
            }
            2 => {
                let (base, position) = (number(&mut rest, 8)?.cast_signed(), number(&mut rest, 8)?);
                let length = number(&mut rest, 4)?;
                let (bytes, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = after;
                if base < 0 || position.checked_add(length)? > SEGMENT_BYTES_MAX {
                    return None;
                }
                Known::Bytes(log, base, position, bytes.to_vec())
            }
            3 => {
                let below = number(&mut rest, 8)?.cast_signed();
                if below < -1 {
                    return None;
                }
                Known::Settled(log, below)
            }
            _ => return None,
        });
    }
    rest.is_empty().then_some((head, entries))
}

fn made(choices: &mut Choices<'_>) -> (Vec<u8>, Vec<Known>) {
    let pool = BufferPool::new(1 << 20);
    let sequence = 1 + (choices.u64() >> 1);
    let head = FrameHead {
        journal: choices.u64(),
        generation: choices.u64(),
        sequence,
        floor: choices.u64() % (sequence + 1),
        confirmed: choices.u64() % sequence,
    };
    let mut frame = FrameWriter::begin(pool.try_acquire(64 << 10).unwrap(), &head, 16 << 10);
    let mut known = Vec::new();
    for _ in 0..choices.below(6) {
        let log = u32::from(choices.byte());
        match choices.byte() % 3 {
            0 => {
                let path = ["orders-0", "a/b/c", "topic.with.dots-17"][choices.below(3)];
                frame.name(log, path);
                known.push(Known::Name(log, path.to_owned()));
            }
            1 => {
                let (base, position) = (choices.offset(), u64::from(choices.byte()) << 12);
                let bytes = choices.bytes(900);
                let parts = bytes.split_at(bytes.len() / 2);
                frame.bytes(log, base, position, bytes.len(), [parts.0, parts.1]);
                known.push(Known::Bytes(log, base.value(), position, bytes.to_vec()));
            }
            _ => {
                let below = choices.flag().then(|| choices.offset());
                frame.settled(log, below);
                known.push(Known::Settled(log, below.map_or(-1, Offset::value)));
            }
        }
    }
    (frame.finish().to_vec(), known)
}

/// Makes the checksum right, so that what it guards is looked at.
fn seal(bytes: &mut [u8]) {
    let Some(length) = bytes.get(48..52) else { return };
    let length = u32::from_be_bytes(length.try_into().unwrap());
    let end = bytes.len().min(usize::try_from(length).unwrap()).max(4);
    let sum = slow_crc32c(&bytes[4..end]);
    bytes[..4].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn a_frame_of_the_journal_is_read_as_the_slow_oracle_reads_it() {
    let head = [[0; 8], [1; 8], [2; 8], [0; 8], [0; 8]].concat();
    let entries = [0, 3, 7, 0, 0, 0, 7, 1, 0, 5, 2, 0, 4, 9, 9, 9, 9, 7, 2, 1, 0, 6];
    let (bytes, _) = made(&mut Choices::new(&[&head[..], &entries].concat()));
    let seeds = [
        ("three-entries", [&[1, 0][..], &bytes].concat()),
        ("padded", [&[1, 0][..], &bytes, &[0; 100]].concat()),
        ("made", [&[0, 0][..], &head, &entries].concat()),
        ("made-and-damaged", [&[0, 1][..], &head, &entries, &[0, 2, 9, 9, 3, 3]].concat()),
    ];
    keep_seeds("journal_frame", seeds);
    bolero::check!(name = "journal_frame").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let (raw, sealed) = (choices.flag(), choices.flag());
        let mut bytes = if raw {
            choices.rest.to_vec()
        } else {
            let (mut bytes, known) = made(&mut choices);
            assert_eq!(oracle(&bytes).map(|(_, entries)| entries), Some(known));
            if choices.flag() {
                one_bit(&mut choices, &bytes);
            }
            let damaged = choices.damage(&mut bytes);
            // What stands behind the frame is not its own.
            let length = bytes.len();
            assert!(!damaged || length > 56 || oracle(&bytes).is_none());
            bytes
        };
        if sealed {
            seal(&mut bytes);
        }
        let decoded = bounded(0, 0, || decode(&bytes));
        let known = oracle(&bytes);
        assert_eq!(decoded.is_ok(), known.is_some(), "{decoded:?}");
        let _ = bounded(0, 0, || one_bit_off(&bytes));
        let (Ok(frame), Some((head, entries))) = (decoded, known) else { return };
        assert_eq!(peek(&bytes).map(|(head, _)| head), Some(frame.head));
        let FrameHead { journal, generation, sequence, floor, confirmed } = frame.head;
        assert_eq!([journal, generation, sequence, floor, confirmed], head);
        assert_eq!(frame.entries().map(Known::of).collect::<Vec<_>>(), entries);
    });
}

/// A single wrong bit is told from a torn frame, wherever it is.
fn one_bit(choices: &mut Choices<'_>, bytes: &[u8]) {
    let (at, bit) = (choices.place(bytes.len()), choices.byte() % 8);
    let mut wrong = bytes.to_vec();
    wrong[at] ^= 1 << bit;
    let found = one_bit_off(&wrong);
    // In a number of the head, the frame may contradict itself, and nothing is said.
    if !(4..48).contains(&at) || found.is_some() {
        let head = decode(bytes).unwrap().head;
        assert_eq!(found, Some((head, at)), "bit {bit} of byte {at}");
    }
}

#[test]
fn the_head_of_a_journal_file_is_its_own_checksum_or_nothing() {
    let seeds = [("empty", Vec::new()), ("zeros", vec![0; 20])];
    keep_seeds("journal_file_head", seeds);
    bolero::check!(name = "journal_file_head").for_each(|given: &[u8]| {
        let mut bytes = given.to_vec();
        bytes.resize(20, 0);
        bytes[4..12].copy_from_slice(b"RLJH\0\0\0\x01");
        let sum = slow_crc32c(&bytes[4..20]);
        bytes[..4].copy_from_slice(&sum.to_be_bytes());
        let journal = u64::from_be_bytes(bytes[12..].try_into().unwrap());
        assert_eq!(decode_head(&bytes), Some(journal));
        let mut wrong = bytes.clone();
        if Choices::new(given).damage(&mut wrong) && wrong.get(..20) != Some(&bytes[..]) {
            assert_eq!(decode_head(&wrong), None);
        }
        let stated = given.len() >= 20 && given[..4] == slow_crc32c(&given[4..20]).to_be_bytes();
        assert!(decode_head(given).is_none() || stated);
    });
}
