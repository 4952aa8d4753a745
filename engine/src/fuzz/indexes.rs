//! The offset index and the time index.

use super::{Choices, bounded, keep_seeds};
use crate::offset::{Offset, Timestamp};
use crate::segment::offset_index::OffsetIndex;
use crate::segment::time_index::TimeIndex;

/// All entries of a file of `WIDTH`-byte entries with a number of `N` bytes first; `None` for a
/// ragged file.
fn entries(bytes: &[u8], split: usize, width: usize) -> Option<Vec<(i64, u32)>> {
    if !bytes.len().is_multiple_of(width) {
        return None;
    }
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
    Some(
        bytes
            .chunks(width)
            .map(|entry| {
                let (first, second) = entry.split_at(split);
                let first = number(first).cast_signed();
                (first, u32::try_from(number(second)).unwrap())
            })
            .collect(),
    )
}

fn increases(entries: &[(i64, u32)]) -> bool {
    entries.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1)
}

fn made(choices: &mut Choices<'_>, wide: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut first, mut second) = (0_u64, 0_u32);
    for _ in 0..choices.below(40) {
        first += 1 + u64::from(choices.byte());
        second += 1 + u32::from(choices.byte());
        let first = first.to_be_bytes();
        bytes.extend_from_slice(if wide { &first } else { &first[4..] });
        bytes.extend_from_slice(&second.to_be_bytes());
    }
    bytes
}

fn input(choices: &mut Choices<'_>, wide: bool) -> Vec<u8> {
    if choices.flag() {
        return choices.rest.to_vec();
    }
    let mut bytes = made(choices, wide);
    if choices.flag() {
        choices.damage(&mut bytes);
    }
    bytes
}

#[test]
fn an_offset_index_is_read_as_the_slow_oracle_reads_it() {
    let seeds = [
        ("empty", vec![1, 0, 0]),
        (
            "two-entries",
            [&[1, 1, 44][..], &[0, 0, 0, 9, 0, 0, 0, 100, 0, 0, 0, 19, 0, 0, 0, 200]].concat(),
        ),
        ("made", vec![0, 255, 0, 8, 3, 4, 3, 4, 3, 4, 200, 200, 1, 1]),
    ];
    keep_seeds("offset_index", seeds);
    bolero::check!(name = "offset_index").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let size = u64::try_from(choices.below(20_000)).unwrap();
        let bytes = input(&mut choices, false);
        let decoded = bounded(bytes.len(), 2, || OffsetIndex::decode(&bytes, size));
        let known = entries(&bytes, 4, 8)
            .filter(|known| increases(known))
            .filter(|known| known.iter().all(|(_, position)| u64::from(*position) < size));
        assert_eq!(decoded.is_some(), known.is_some());
        let (Some(index), Some(known)) = (decoded, known) else { return };
        assert_eq!(index.encode(), bytes);
        let base = Offset::new(1_000).unwrap();
        for sought in 0..known.last().map_or(2, |(last, _)| last + 2).min(400) {
            let found = index.lookup(base, base.plus(u32::try_from(sought).unwrap()));
            let expected = known.iter().rfind(|(relative, _)| *relative <= sought);
            assert_eq!(
                found.map(|found| (i64::from(found.relative), found.position)),
                expected.copied(),
                "index.never_overshoots"
            );
            let found = index.at_position(u64::try_from(sought).unwrap());
            let expected = known.iter().rfind(|(_, position)| i64::from(*position) <= sought);
            assert_eq!(found.map(|found| found.position), expected.map(|(_, position)| *position));
        }
        let mut again = OffsetIndex::default();
        known.iter().for_each(|(relative, position)| {
            again.push(u32::try_from(*relative).unwrap(), u64::from(*position));
        });
        assert_eq!(again, index);
    });
}

#[test]
fn a_time_index_is_read_as_the_slow_oracle_reads_it() {
    let seeds = [
        ("empty", vec![1, 0, 0]),
        ("one-entry", [&[1, 1, 44][..], &[0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 4]].concat()),
        ("made", vec![0, 255, 0, 8, 3, 4, 3, 4, 3, 4, 200, 200, 1, 1]),
    ];
    keep_seeds("time_index", seeds);
    bolero::check!(name = "time_index").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let last = u64::try_from(choices.below(20_000)).unwrap();
        let bytes = input(&mut choices, true);
        let decoded = bounded(bytes.len(), 2, || TimeIndex::decode(&bytes, last));
        let known = entries(&bytes, 8, 12)
            .filter(|known| increases(known))
            .filter(|known| known.iter().all(|(_, relative)| u64::from(*relative) <= last));
        assert_eq!(decoded.is_some(), known.is_some());
        let (Some(index), Some(known)) = (decoded, known) else { return };
        assert_eq!(index.encode(), bytes);
        let times = known.iter().flat_map(|(time, _)| [*time, time.saturating_add(1)]);
        for sought in times.chain([0, i64::MIN, i64::MAX]) {
            let found = index.last_before(Timestamp::from_millis(sought));
            let expected = known.iter().rfind(|(time, _)| *time < sought);
            assert_eq!(
                found.map(|found| (found.timestamp.millis(), found.relative)),
                expected.copied()
            );
        }
        for sought in 0..300 {
            let found = index.last_below(sought).map(|found| found.relative);
            let expected = known.iter().rfind(|(_, relative)| u64::from(*relative) < sought);
            assert_eq!(found, expected.map(|(_, relative)| *relative));
        }
    });
}
