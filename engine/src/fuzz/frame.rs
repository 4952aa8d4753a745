//! Frames: the check, and many of them in a row.

use super::{Choices, bounded, keep_seeds, slow_crc32c};
use crate::batch::BatchHeader;
use crate::frame::{CheckedFrame, Frame, frames};
use crate::offset::Timestamp;

fn field(bytes: &[u8], from: usize, to: usize) -> u64 {
    bytes[from..to].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The length of the frame that `bytes` begin with and that is taken, judged apart from the code
/// that takes it.
fn frame_at(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 29 {
        return None;
    }
    let total = usize::try_from(field(bytes, 8, 12)).unwrap() + 12;
    let right = (29..=bytes.len()).contains(&total)
        && bytes[0] < 0x80
        && bytes[16] == 0x7d
        && field(bytes, 17, 21) == u64::from(slow_crc32c(&bytes[21..total]) ^ 0x7d7d_7d7d);
    right.then_some(total)
}

#[test]
fn frames_are_taken_as_the_slow_oracle_takes_them() {
    let made = Frame::new(Timestamp::from_millis(7), b"payload").unwrap().to_vec();
    let seeds = [
        ("empty", [&[1, 0][..], &Frame::new(Timestamp::NONE, b"").unwrap().to_vec()].concat()),
        ("two", [&[1, 0][..], &made, &made].concat()),
        ("sealed", [&[1, 1][..], &made].concat()),
        ("made-and-damaged", [&[0, 1, 2, 0, 5][..], b"bytes", &[1; 40]].concat()),
    ];
    keep_seeds("frame", seeds);
    bolero::check!(name = "frame").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let (raw, sealed) = (choices.flag(), choices.flag());
        let mut bytes = if raw {
            choices.rest.to_vec()
        } else {
            let (timestamp, payload) = (choices.timestamp(), choices.bytes(900));
            let made = Frame::new(timestamp, payload).unwrap();
            let mut bytes = made.to_vec();
            assert_eq!(frame_at(&bytes), Some(made.size_bytes()));
            let read = CheckedFrame::check(&bytes).unwrap();
            assert_eq!((read.timestamp(), read.payload()), (timestamp, payload));
            choices.damage(&mut bytes);
            bytes
        };
        if sealed && bytes.len() >= 29 {
            bytes[16] = 0x7d;
            let sum = (slow_crc32c(&bytes[21..]) ^ 0x7d7d_7d7d).to_be_bytes();
            bytes[17..21].copy_from_slice(&sum);
        }
        let first = bounded(0, 0, || CheckedFrame::check_first(&bytes));
        assert_eq!(first.as_ref().ok().map(|(frame, _)| frame.bytes().len()), frame_at(&bytes));
        let whole = CheckedFrame::check(&bytes).is_ok();
        assert_eq!(whole, frame_at(&bytes) == Some(bytes.len()));
        if let Ok((frame, rest)) = first {
            assert_eq!([frame.bytes(), rest].concat(), bytes);
            let header = BatchHeader::read(&bytes).unwrap();
            assert_eq!(header.last_offset(), frame.offset().value());
            assert_eq!(header.total_bytes(), Some(frame.bytes().len()));
        }
        let mut at = 0;
        for frame in frames(&bytes) {
            let known = frame_at(&bytes[at..]);
            assert_eq!(frame.as_ref().ok().map(|frame| frame.bytes().len()), known);
            at += known.unwrap_or(0);
        }
        assert_eq!(at == bytes.len(), frames(&bytes).all(|frame| frame.is_ok()));
    });
}
