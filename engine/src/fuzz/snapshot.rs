//! Producer snapshots.

use std::time::Duration;

use super::{Choices, bounded, keep_seeds, seal, slow_crc32c};
use crate::batch::BatchHeader;
use crate::offset::{Offset, Timestamp};
use crate::producer::{Producers, snapshot};

const EXPIRY: Duration = Duration::from_secs(86_400);

/// The state after some batches, by the way that appends take.
fn made(choices: &mut Choices<'_>) -> (Producers, Offset) {
    let mut producers = Producers::default();
    let mut end = 0;
    for _ in 0..choices.below(12) {
        let batch = choices.batch();
        let mut header = BatchHeader::read(&batch).unwrap();
        header.base_offset = end;
        end = header.end_offset().unwrap().value();
        let now = Timestamp::from_millis(i64::from(choices.byte()));
        producers.appended(&header, None, now, EXPIRY);
    }
    (producers, Offset::new(end).unwrap())
}

#[test]
fn a_snapshot_is_read_back_or_ignored() {
    let story = [0, 3, 1, 1, 9, 4, 0, 0, 0, 0, 1, 0, 5, 65, 66, 67, 68, 69, 0, 0, 0, 0, 0, 0];
    let (producers, offset) = made(&mut Choices::new(&story));
    let raw = [
        vec![1, 0, 0, u8::try_from(offset.value()).unwrap()],
        snapshot::encode(&producers, offset),
    ];
    let many = {
        // Counts more producers than there are.
        let mut bytes = snapshot::encode(&Producers::default(), Offset::ZERO);
        bytes[16..20].fill(0xff);
        seal(&mut bytes);
        [vec![1, 0, 0, 0], bytes].concat()
    };
    let seeds = [
        ("one-producer", raw.concat()),
        (
            "empty",
            [vec![1, 0, 0, 0], snapshot::encode(&Producers::default(), Offset::ZERO)].concat(),
        ),
        ("counts-too-many", many),
        (
            "damaged-and-sealed",
            [&[0, 1][..], &story, &[9, 9, 2, 0, 0, 0, 1, 0, 0, 0, 0, 3]].concat(),
        ),
    ];
    keep_seeds("producer_snapshot", seeds);
    bolero::check!(name = "producer_snapshot").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let (raw, sealed) = (choices.flag(), choices.flag());
        let (bytes, offset) = if raw {
            let offset = choices.offset();
            let mut bytes = choices.rest.to_vec();
            if sealed {
                seal(&mut bytes);
            }
            (bytes, offset)
        } else {
            let (producers, offset) = made(&mut choices);
            let mut bytes = snapshot::encode(&producers, offset);
            assert_eq!(snapshot::decode(&bytes, offset), Some(producers));
            let damaged = choices.damage(&mut bytes);
            let noticed = snapshot::decode(&bytes, offset).is_none();
            assert!(!damaged || noticed, "unnoticed damage");
            if sealed {
                seal(&mut bytes);
            }
            (bytes, offset)
        };
        // A producer without batches is 19 bytes here and a few hundred in memory.
        let Some(producers) = bounded(bytes.len(), 64, || snapshot::decode(&bytes, offset)) else {
            return;
        };
        let (content, sum) = bytes.split_last_chunk::<4>().unwrap();
        assert_eq!(slow_crc32c(content).to_be_bytes(), *sum);
        assert_eq!(content[8..16], offset.value().to_be_bytes());
        let again = snapshot::encode(&producers, offset);
        // Version 1 has no transactions: 8 bytes less a producer, of 19 at least.
        let version_1 = content[4..8] == 1_u32.to_be_bytes();
        let grown = if version_1 { bytes.len() / 19 * 8 } else { 0 };
        assert!(again.len() <= bytes.len() + grown);
        assert_eq!(snapshot::decode(&again, offset), Some(producers));
    });
}
