//! What a log writes down of itself: the checkpoint, the catalog of its segments, its aborted
//! transactions, and how far it is clean.

use super::{Choices, bounded, keep_seeds, seal, slow_crc32c};
use crate::batch::BatchHeader;
use crate::checkpoint;
use crate::compaction::checkpoint as cleaner;
use crate::epoch::LeaderEpoch;
use crate::log::epochs::EpochHistory;
use crate::offset::{Offset, Timestamp};
use crate::producer::{AbortedTransaction, Producers, aborted};
use crate::segment::active::Summary;
use crate::segment::catalog::{Catalog, Entry};
use crate::segment::sealed::IndexSum;

/// Whether bytes end in the checksum of what stands before.
fn is_sealed(bytes: &[u8]) -> bool {
    let split = bytes.split_last_chunk::<4>();
    split.is_some_and(|(content, sum)| slow_crc32c(content).to_be_bytes() == *sum)
}

/// A file from an input: as it is, or made by `encoded` and damaged; sealed again or not.
fn file(given: &[u8], encoded: impl FnOnce(&mut Choices<'_>) -> Vec<u8>) -> Vec<u8> {
    let mut choices = Choices::new(given);
    let (raw, sealed) = (choices.flag(), choices.flag());
    let mut bytes = if raw { choices.rest.to_vec() } else { encoded(&mut choices) };
    if !raw {
        choices.damage(&mut bytes);
    }
    if sealed {
        seal(&mut bytes);
    }
    bytes
}

fn made_checkpoint(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut summary = Summary::new(Offset::ZERO);
    let (mut producers, mut epochs) = (Producers::default(), EpochHistory::default());
    for number in 0..1 + choices.below(8) {
        let batch = choices.batch();
        let mut header = BatchHeader::read(&batch).unwrap();
        header.base_offset = summary.end.value();
        epochs.note(LeaderEpoch::new(i32::try_from(number).unwrap() / 2), summary.end);
        producers.appended(&header, None, Timestamp::from_millis(9), std::time::Duration::MAX);
        summary.add(&header, batch.len(), 100);
    }
    checkpoint::encode(&summary, &producers, &epochs, &[])
}

#[test]
fn a_checkpoint_is_read_back_or_ignored() {
    let story = [0, 3, 1, 1, 9, 4, 0, 0, 0, 0, 1, 0, 5, 65, 66, 67, 68, 69, 0, 0, 0, 0, 0, 0];
    let whole = made_checkpoint(&mut Choices::new(&story));
    let seeds = [
        ("whole", [&[1, 0][..], &whole].concat()),
        ("made", [&[0, 0][..], &story].concat()),
        (
            "damaged-and-sealed",
            [&[0, 1][..], &story, &[0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 2, 7]].concat(),
        ),
    ];
    keep_seeds("checkpoint", seeds);
    bolero::check!(name = "checkpoint").for_each(|given: &[u8]| {
        let bytes = file(given, made_checkpoint);
        let decoded = bounded(bytes.len(), 64, || checkpoint::decode(&bytes));
        let Some(held) = decoded else { return };
        assert!(is_sealed(&bytes));
        let summary = &held.summary;
        assert_eq!(summary.base.value().to_be_bytes(), bytes[8..16]);
        assert_eq!(summary.end.value().to_be_bytes(), bytes[16..24]);
        assert_eq!(summary.size.to_be_bytes(), bytes[24..32]);
        assert!(summary.base < summary.end && summary.size > 0);
        let last = summary.offsets.last().map_or(0, |entry| u64::from(entry.position));
        assert!(last < summary.size, "index.never_overshoots");
        let again = checkpoint::encode(summary, &held.producers, &held.epochs, &held.aborted);
        let again = checkpoint::decode(&again).unwrap();
        assert_eq!((again.producers, again.epochs), (held.producers, held.epochs));
        assert_eq!(again.aborted, held.aborted);
        assert_eq!(again.summary.offsets, summary.offsets);
        assert_eq!(again.summary.times, summary.times);
    });
}

fn made_catalog(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut next = Offset::ZERO;
    let entries = (0..choices.below(12)).map(|_| {
        let base = next.plus(u32::from(choices.byte()));
        let end = base.plus(1 + u32::from(choices.byte()));
        next = end;
        let latest = choices.flag().then(|| (choices.timestamp(), base));
        let indexes = choices.flag().then(|| IndexSum::of(&[choices.byte()], &[]));
        Entry { base, end, size: choices.u64(), latest, indexes }
    });
    entries.collect::<Catalog>().encode()
}

#[test]
fn a_catalog_is_read_back_or_ignored_and_knows_only_whole_segments() {
    let story = [0, 3, 0, 9, 1, 1, 7, 0, 0, 0, 0, 0, 0, 16, 0, 3, 4, 0, 0, 0, 0, 0, 0, 0, 32, 0];
    let last = Entry { base: Offset::ZERO, end: Offset::MAX, size: 9, latest: None, indexes: None };
    let seeds = [
        ("ends-at-the-last-offset", [&[1, 0][..], &Catalog::from_iter([last]).encode()].concat()),
        ("empty", [&[1, 0][..], &Catalog::default().encode()].concat()),
        ("whole", [&[1, 0][..], &made_catalog(&mut Choices::new(&story))].concat()),
        ("made", [&[0, 0][..], &story].concat()),
        ("counts-too-many", vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 3, 192, 0, 3]),
    ];
    keep_seeds("catalog", seeds);
    bolero::check!(name = "catalog").for_each(|given: &[u8]| {
        let bytes = file(given, made_catalog);
        let Some(catalog) = bounded(bytes.len(), 8, || Catalog::decode(&bytes)) else { return };
        assert!(is_sealed(&bytes));
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let mut last = -1;
        for at in (12..bytes.len() - 4).step_by(41) {
            let (base, end, size) = (number(at), number(at + 8), number(at + 16).cast_unsigned());
            assert!(last <= base && base < end);
            last = end;
            let [base, end] = [base, end].map(|value| Offset::new(value).unwrap());
            let found = catalog.find(base, size, end).unwrap();
            assert_eq!((found.base, found.end, found.size), (base, end, size));
            assert_eq!(catalog.find(base, size ^ 1, end), None);
            assert_eq!(catalog.find(base, size, base), None);
        }
        assert_eq!(Catalog::decode(&catalog.encode()), Some(catalog));
    });
}

#[test]
fn aborted_transactions_are_read_back_or_refused() {
    let known = |first, last| AbortedTransaction {
        producer_id: crate::batch::ProducerId::new(7),
        first_offset: Offset::new(first).unwrap(),
        last_offset: Offset::new(last).unwrap(),
        last_stable_offset: Offset::new(first).unwrap(),
    };
    let two = aborted::encode(&[known(0, 5), known(6, 9)]);
    let seeds = [
        ("none", vec![0, 0, 0, 100]),
        ("two", [&[0, 0, 0, 100][..], &two].concat()),
        ("past-the-end", [&[0, 0, 0, 9][..], &two].concat()),
    ];
    keep_seeds("aborted", seeds);
    bolero::check!(name = "aborted").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let base = i64::try_from(choices.below(1_000)).unwrap();
        let end = base + i64::try_from(choices.below(1_000)).unwrap();
        let mut bytes = choices.rest.to_vec();
        if !bytes.len().is_multiple_of(34) && choices.flag() {
            bytes = two.clone();
            choices.damage(&mut bytes);
        }
        let (from, to) = (Offset::new(base).unwrap(), Offset::new(end).unwrap());
        let decoded = bounded(bytes.len(), 2, || aborted::decode(&bytes, from, to));
        let number = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        let mut last = -1;
        let is_right = bytes.len().is_multiple_of(34)
            && (0..bytes.len()).step_by(34).all(|at| {
                let [first, end_of, stable] = [10, 18, 26].map(|field| number(at + field));
                let follows = last < end_of;
                last = end_of;
                bytes[at..at + 2] == [0, 0]
                    && follows
                    && (0..end_of).contains(&first)
                    && (base..end).contains(&end_of)
                    && (0..=end_of.saturating_add(1)).contains(&stable)
            });
        assert_eq!(decoded.is_some(), is_right, "{decoded:?}");
        if let Some(entries) = decoded {
            assert_eq!(aborted::decode(&aborted::encode(&entries), from, to), Some(entries));
        }
    });
}

#[test]
fn a_cleaner_checkpoint_is_an_offset_or_nothing() {
    let seeds = [
        ("some", b"0\n4711\n".to_vec()),
        ("negative", b"0\n-1\n".to_vec()),
        ("too-large", b"0\n9223372036854775808\n".to_vec()),
    ];
    keep_seeds("cleaner_checkpoint", seeds);
    bolero::check!(name = "cleaner_checkpoint").for_each(|given: &[u8]| {
        if let Some(offset) = bounded(0, 0, || cleaner::decode(given)) {
            assert_eq!(cleaner::decode(&cleaner::encode(offset)), Some(offset));
            assert!(given.starts_with(b"0\n") && given.len() >= 4);
        }
        let offset = Choices::new(given).offset();
        assert_eq!(cleaner::decode(&cleaner::encode(offset)), Some(offset));
    });
}
