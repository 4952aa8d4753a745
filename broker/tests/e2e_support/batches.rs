//! Batches to send, and what is to come back.

use bytes::Bytes;
use ringlog_engine::batch::{
    BatchBuilder, BatchHeader, BatchOptions, CheckedBatch, HEADER_BYTES, ProducerId, RecordIter,
};
use ringlog_engine::offset::Timestamp;

use super::Compression;
use ringlog_broker::compression::decompress_to_vec;

/// The timestamp of every first record, long past so that it is never refused.
pub const BASE_MS: i64 = 1_700_000_000_000;

/// Every codec.
pub const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Records with keys, a millisecond apart.
pub fn keyed(options: BatchOptions, records: &[(Option<&str>, &str)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for ((key, value), at) in records.iter().zip(BASE_MS..) {
        let (key, value) = (key.map(str::as_bytes), value.as_bytes());
        builder.push(Timestamp::from_millis(at), key, Some(value), &[("trace", Some(b"1"))]);
    }
    builder.finish().expect("a batch")
}

/// Records without keys.
pub fn batch(values: &[&str]) -> Vec<u8> {
    let records: Vec<_> = values.iter().map(|value| (None, *value)).collect();
    keyed(BatchOptions::default(), &records)
}

/// One record without key at a time.
pub fn batch_at(millis: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for at in millis {
        builder.push(Timestamp::from_millis(*at), None, Some(at.to_string().as_bytes()), &[]);
    }
    builder.finish().expect("a batch")
}

/// `count` records of an idempotent producer, from sequence number `sequence` on.
pub fn sequenced(producer: i64, epoch: i16, sequence: i32, count: usize) -> Vec<u8> {
    let options = BatchOptions {
        producer_id: ProducerId::new(producer),
        producer_epoch: epoch,
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    keyed(options, &vec![(Some("key"), "value"); count])
}

/// One record of `bytes` bytes that no codec makes smaller.
pub fn large(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let value: Vec<u8> = (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(Timestamp::from_millis(BASE_MS), None, Some(&value), &[]);
    builder.finish().expect("a batch")
}

/// A batch with some bytes changed, and length and checksum made right again.
pub fn changed(batch: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut batch = batch.to_vec();
    change(&mut batch);
    let length = i32::try_from(batch.len() - 12).expect("small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch
}

/// The batches that lie one after the other in `bytes`, each checked.
pub fn split(bytes: &Bytes) -> Vec<Vec<u8>> {
    let mut rest: &[u8] = bytes;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (batch, after) = CheckedBatch::check_first_stored(rest).expect("whole batches only");
        batches.push(batch.bytes().to_vec());
        rest = after;
    }
    batches
}

pub fn header(batch: &[u8]) -> BatchHeader {
    BatchHeader::read(batch).expect("a header")
}

/// Offset and value of every record, decompressed; a tombstone's is empty.
pub fn values(bytes: &Bytes) -> Vec<(i64, String)> {
    let mut values = Vec::new();
    for batch in split(bytes) {
        let header = header(&batch);
        let codec = header.attributes.compression().expect("a codec");
        let body = decompress_to_vec(codec, &batch[HEADER_BYTES..], 64 << 20).expect("a body");
        let count = u32::try_from(header.record_count).expect("a count");
        for record in RecordIter::sparse(&body, count, header.last_offset_delta) {
            let record = record.expect("a record");
            let offset = header.base_offset + i64::from(record.offset_delta);
            let value = record.value.unwrap_or_default();
            values.push((offset, String::from_utf8_lossy(value).into_owned()));
        }
    }
    values
}

/// Asserts that `got` is what was sent, at its place in the log: nothing but base offset and
/// leader epoch may differ.
#[track_caller]
pub fn assert_stored(got: &[u8], sent: &[u8], base_offset: i64) {
    assert_eq!(header(got).base_offset, base_offset);
    assert!(header(got).leader_epoch.value() >= 0, "the leader stamps its epoch");
    assert_eq!(got[8..12], sent[8..12], "the length stays");
    assert!(got[16..] == sent[16..], "the batch at {base_offset} comes back byte for byte");
}
