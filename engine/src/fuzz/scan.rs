//! The walk through a segment's batches and frames.

use std::path::Path;

use super::{Choices, keep_seeds, slow_crc32c};
use crate::frame::Frame;
use crate::io::sim::SimIo;
use crate::io::{Io, OpenMode};
use crate::offset::Offset;
use crate::segment::scan::{Found, Scanner};
use crate::shard::{Shard, ShardSettings};

const FILE: &str = "/segment";

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// The length and the base and last offset of the batch or frame at the front of `bytes`, if its
/// framing and checksum are right.
fn batch_at(bytes: &[u8]) -> Option<(usize, i64, i64)> {
    let least = if *bytes.get(16)? == 0x7d { 29 } else { 61 };
    let header = bytes.get(..least)?;
    let length = u32::try_from(be(&header[8..12])).ok()?.cast_signed();
    let total = usize::try_from(length).ok()? + 12;
    let right = total >= least && [2, 0x7d].contains(&header[16]) && total <= bytes.len();
    let mask = if least == 29 { 0x7d7d_7d7d } else { 0 };
    let sum = u32::try_from(be(&header[17..21])).ok()? ^ mask;
    let base = be(&header[..8]).cast_signed();
    let delta = if least == 29 { 0 } else { be(&header[23..27]) };
    let delta = u32::try_from(delta).ok()?.cast_signed();
    (right && slow_crc32c(&bytes[21..total]) == sum)
        .then(|| (total, base, base.saturating_add(i64::from(delta))))
}

/// Batches and then frames end to end, of contiguous offsets, some of them damaged, and a ragged end.
fn made(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = 0_i64;
    for _ in 0..1 + choices.below(6) {
        let mut batch = choices.batch();
        if choices.byte() % 16 == 1 {
            next = choices.offset().value();
        }
        batch[..8].copy_from_slice(&next.to_be_bytes());
        next = next.saturating_add(1 + i64::from(u32::try_from(be(&batch[23..27])).unwrap()));
        bytes.extend_from_slice(&batch);
    }
    for _ in 0..choices.below(4) {
        let frame = Frame::new(choices.timestamp(), choices.bytes(200)).unwrap();
        let at = bytes.len();
        bytes.extend(frame.to_vec());
        bytes[at..at + 8].copy_from_slice(&next.to_be_bytes());
        next = next.saturating_add(1);
    }
    if choices.flag() {
        choices.damage(&mut bytes);
    }
    let reserved = choices.below(6_000);
    bytes.resize(bytes.len() + reserved, 0);
    bytes
}

#[test]
fn a_segment_is_walked_as_the_slow_oracle_walks_it() {
    let two = [0, 2, 0, 0, 0, 1, 1, 0, 3, 65, 66, 67, 0, 0, 0, 0, 0, 0, 0];
    let segment = made(&mut Choices::new(&two));
    let seeds = [
        ("whole", [&[1][..], &segment].concat()),
        ("torn", [&[1][..], &segment[..segment.len() - 9]].concat()),
        ("made", [&[0][..], &two].concat()),
        ("made-and-damaged", [&[0][..], &two, &[1; 40]].concat()),
        ("made-of-frames", [&[0][..], &two, &[0, 3], &[0, 7, 0, 2, 65, 66].repeat(3)].concat()),
    ];
    keep_seeds("segment_scan", seeds);
    bolero::check!(name = "segment_scan").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let bytes = if choices.flag() { choices.rest.to_vec() } else { made(&mut choices) };
        let io = SimIo::new(1);
        io.write_file(Path::new(FILE), &bytes).unwrap();
        io.run(async {
            let memory = ShardSettings {
                buffer_pool_bytes: 4 << 20,
                cache_bytes: 0,
                ..ShardSettings::default()
            };
            let shard = Shard::new(io.clone(), memory);
            let file = io.open(Path::new(FILE), OpenMode::ReadDirect).await.unwrap();
            let length = u64::try_from(bytes.len()).unwrap();
            let mut scanner = Scanner::new(&shard, file, length, 0, Offset::ZERO);
            let (mut at, mut expected) = (0, 0);
            loop {
                let rest = &bytes[at..];
                let known = batch_at(rest).filter(|(_, base, last)| {
                    *base == expected && *last >= *base && *last < i64::MAX
                });
                match scanner.next().await.unwrap() {
                    Found::Batch(header, position) => {
                        let (total, base, last) = known.expect("the oracle sees no batch");
                        assert_eq!((header.base_offset, header.last_offset()), (base, last));
                        assert_eq!(position, u64::try_from(at).unwrap());
                        at += total;
                        expected = last + 1;
                    }
                    Found::End => break assert!(rest.is_empty()),
                    Found::Invalid(_) => break assert!(!rest.is_empty() && known.is_none()),
                }
            }
            assert_eq!(scanner.position(), u64::try_from(at).unwrap());
            assert_eq!(scanner.expected().value(), expected);
            let end =
                bytes[at..].iter().rposition(|&byte| byte != 0).map_or(at, |last| at + last + 1);
            assert_eq!(scanner.content_end().await.unwrap(), u64::try_from(end).unwrap());
            let from = (at + 1).min(bytes.len());
            let later = (from..bytes.len()).find_map(|place| {
                let (_, base, _) = batch_at(&bytes[place..])?;
                let ahead = base.checked_sub(expected)?;
                let follows = (1..=i64::from(i32::MAX)).contains(&ahead);
                follows.then(|| (base, u64::try_from(place).unwrap()))
            });
            let from = u64::try_from(from).unwrap();
            assert_eq!(scanner.find_later(from).await.unwrap(), later);
        });
    });
}
