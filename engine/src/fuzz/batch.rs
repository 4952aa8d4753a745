//! Record batches: the check, and the records inside.

use super::{Choices, bounded, keep_seeds, slow_crc32c};
use crate::batch::{BatchHeader, CheckedBatch, RecordIter};
use crate::limits::RECORD_HEADERS_MAX;

fn number(bytes: &[u8]) -> i64 {
    let first = bytes[0].cast_signed();
    bytes[1..].iter().fold(i64::from(first), |sum, &byte| sum << 8 | i64::from(byte))
}

/// Whether `bytes` are a batch that is taken, judged apart from the code that takes it.
fn is_batch(bytes: &[u8]) -> bool {
    if bytes.len() < 61 {
        return false;
    }
    let field = |from: usize, to: usize| number(&bytes[from..to]);
    let attributes = field(21, 23);
    let (count, last_delta) = (field(57, 61), field(23, 27));
    let (producer, epoch, sequence) = (field(43, 51), field(51, 53), field(53, 57));
    let is_control = attributes & 0x20 != 0;
    field(8, 12) == i64::try_from(bytes.len()).unwrap() - 12
        && bytes[16] == 2
        && number(&[&[0; 4][..], &bytes[17..21]].concat()) == i64::from(slow_crc32c(&bytes[21..]))
        && (1..=1 << 30).contains(&count)
        && count == last_delta + 1
        && attributes & 7 <= 4
        && attributes & !0x7f == 0
        && (producer < 0 || (epoch >= 0 && (sequence >= 0 || is_control)))
}

/// One record: key, value, headers, and both deltas.
type Known = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>, i64);

/// A reader of records that keeps to the text of the format and to nothing else.
struct Oracle<'a>(&'a [u8]);

impl Oracle<'_> {
    fn varint(&mut self) -> Option<i64> {
        let length = self.0.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let (digits, rest) = self.0.split_at(length);
        self.0 = rest;
        let digits = digits.iter().rev();
        let value = digits.take(20).fold(0_u128, |sum, byte| sum << 7 | u128::from(byte & 0x7f));
        let value = u64::try_from(value).ok().filter(|_| length <= 10)?;
        let half = i64::try_from(value / 2).ok()?;
        Some(if value % 2 == 0 { half } else { -half - 1 })
    }

    fn small(&mut self) -> Option<i32> {
        self.varint()?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<Option<Vec<u8>>> {
        let length = self.small()?;
        if length == -1 {
            return Some(None);
        }
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(taken.to_vec()))
    }

    fn record(&mut self, index: u32) -> Option<Known> {
        let body = usize::try_from(self.small()?).ok()?;
        let (body, after) = self.0.split_at_checked(body)?;
        let mut inner = Oracle(body.get(1..)?);
        let time = inner.varint()?;
        if i64::from(inner.small()?) != i64::from(index) {
            return None;
        }
        let (key, value) = (inner.bytes()?, inner.bytes()?);
        let count = usize::try_from(inner.small()?).ok().filter(|n| *n <= RECORD_HEADERS_MAX)?;
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((inner.bytes()??, inner.bytes()?));
        }
        self.0 = after;
        inner.0.is_empty().then_some((key, value, headers, time))
    }
}

fn records_agree(body: &[u8], count: u32) {
    let mut oracle = Oracle(body);
    let mut read = 0;
    for (index, record) in (0..).zip(RecordIter::new(body, count)) {
        let known = if index < count { oracle.record(index) } else { None };
        assert_eq!(record.is_ok(), known.is_some(), "record {index}: {record:?}");
        let (Ok(record), Some((key, value, headers, time))) = (record, known) else {
            return;
        };
        assert_eq!((record.key, record.value), (key.as_deref(), value.as_deref()));
        assert_eq!(record.timestamp_delta, time);
        assert_eq!(record.header_count(), headers.len());
        for (header, (name, value)) in record.headers().zip(&headers) {
            assert_eq!((header.key, header.value), (&name[..], value.as_deref()));
        }
        read += 1;
    }
    assert_eq!(read, count);
    assert!(oracle.0.is_empty(), "bytes after the last record");
}

#[test]
fn a_batch_is_judged_and_read_as_the_slow_oracle_does_it() {
    let story = [
        3, 0, 0, 3, 1, 1, 0, 3, 107, 101, 121, 0, 5, 118, 97, 108, 117, 101, 0, 2, 1, 2, 0, 2, 0,
        50,
    ];
    let raw = |choices: &[u8]| [vec![1, 0], Choices::new(choices).batch()].concat();
    let seeds = [
        ("plain", raw(&story)),
        ("idempotent", raw(&[1, 1, 0, 9, 3, 0, 7, 0, 1, 0, 1, 0, 1, 65, 0, 1, 66])),
        ("four-records", raw(&[0, 0, 0, 3])),
        ("two-batches", [raw(&story), Choices::new(&[0]).batch()].concat()),
        ("damaged", [&[0, 0][..], &story].concat()),
        (
            "damaged-and-sealed",
            [&[0, 1][..], &story, &[0; 40], &[2, 0, 0, 1, 0, 77, 3, 3, 3]].concat(),
        ),
    ];
    keep_seeds("batch", seeds);
    bolero::check!(name = "batch").for_each(|given: &[u8]| {
        let mut choices = Choices::new(given);
        let (raw, sealed) = (choices.flag(), choices.flag());
        let mut bytes = if raw {
            choices.rest.to_vec()
        } else {
            let mut bytes = choices.batch();
            assert!(is_batch(&bytes));
            let before = bytes.clone();
            let damaged = choices.damage(&mut bytes);
            // Base offset and leader epoch are the log's to set.
            let guarded = before.len() != bytes.len()
                || [8..12, 16..before.len()]
                    .iter()
                    .any(|part| before[part.clone()] != bytes[part.clone()]);
            assert!(
                !damaged || !guarded || CheckedBatch::check(&bytes).is_err(),
                "unnoticed damage"
            );
            bytes
        };
        if sealed && bytes.len() >= 61 {
            let length = i32::try_from(bytes.len() - 12).unwrap().to_be_bytes();
            bytes[8..12].copy_from_slice(&length);
            bytes[16] = 2;
            let sum = slow_crc32c(&bytes[21..]).to_be_bytes();
            bytes[17..21].copy_from_slice(&sum);
        }
        let checked = bounded(0, 0, || CheckedBatch::check(&bytes));
        assert_eq!(checked.is_ok(), is_batch(&bytes), "{checked:?}");
        match CheckedBatch::check_first(&bytes) {
            Ok((first, rest)) => {
                assert!(is_batch(first.bytes()));
                assert_eq!([first.bytes(), rest].concat(), bytes);
            }
            Err(_) => assert!(checked.is_err()),
        }
        if let Some(header) = BatchHeader::read(&bytes) {
            assert_eq!(header.base_offset, number(&bytes[..8]));
            if let Some(end) = header.end_offset() {
                assert_eq!(end.value(), header.last_offset() + 1);
            }
        }
        if let Ok(batch) = checked {
            bounded(bytes.len(), 0, || batch.records().map(Iterator::count));
            if let Some(body) = batch.records().map(|_| batch.body()) {
                records_agree(body, batch.record_count());
            }
        }
        // Decompressed bodies are as foreign as batches.
        records_agree(bytes.get(61..).unwrap_or(&bytes), u32::from(choices.byte() % 8));
    });
}
