//! What compaction makes of a batch: fewer records, the same offsets.

use zerocopy::IntoBytes;

use super::header::{
    Attributes, BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES, Layout, Prefix, ProducerId,
    checksum,
};
use super::records::Record;
use super::varint::put;
use crate::entry::Format;
use crate::epoch::LeaderEpoch;
use crate::offset::{Offset, Timestamp};

/// A batch without records and without a producer that covers `base..base + last_offset_delta`,
/// the last one included: what remains of batches that are gone.
pub(crate) fn empty(base: Offset, last_offset_delta: i32, epoch: LeaderEpoch) -> Vec<u8> {
    seal(
        &BatchHeader {
            base_offset: base.value(),
            length: 0,
            leader_epoch: epoch,
            magic: Format::RecordBatch.magic(),
            checksum: 0,
            attributes: Attributes::default(),
            last_offset_delta,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
        },
        &[],
    )
}

/// `header`'s batch without its records, its producer's state kept.
pub(crate) fn emptied(header: &BatchHeader) -> Vec<u8> {
    let attributes = header.attributes.without_delete_horizon();
    let attributes = attributes.with_compression(super::Compression::None);
    let header = BatchHeader {
        attributes,
        base_timestamp: Timestamp::NONE,
        max_timestamp: Timestamp::NONE,
        record_count: 0,
        ..*header
    };
    seal(&header, &[])
}

/// Appends a record as it stands, or with its timestamp counted from another base.
pub(crate) fn put_record(out: &mut Vec<u8>, record: &Record<'_>, rebased: Option<i64>) {
    let Some(timestamp_delta) = rebased else {
        out.extend_from_slice(record.whole);
        return;
    };
    // Attributes 1 byte, and two numbers of at most 10 and 5.
    let mut head = Vec::with_capacity(16);
    head.push(record.attributes());
    put(&mut head, timestamp_delta);
    put(&mut head, i64::from(record.offset_delta));
    let length = head.len() + record.content.len();
    put(out, i64::try_from(length).unwrap_or(i64::MAX));
    out.extend_from_slice(&head);
    out.extend_from_slice(record.content);
}

/// A whole batch of this header, whose length and checksum are computed, and this body. Saturates:
/// a body of 2 GiB does not occur, since no batch grows that much.
pub(crate) fn seal(header: &BatchHeader, body: &[u8]) -> Vec<u8> {
    let length = HEADER_BYTES - LENGTH_PREFIX_BYTES + body.len();
    let mut layout = Layout {
        prefix: Prefix {
            base_offset: header.base_offset.into(),
            length: i32::try_from(length).unwrap_or(i32::MAX).into(),
            leader_epoch: header.leader_epoch.value().into(),
            magic: header.magic,
            checksum: 0.into(),
        },
        attributes: header.attributes.bits().into(),
        last_offset_delta: header.last_offset_delta.into(),
        base_timestamp: header.base_timestamp.millis().into(),
        max_timestamp: header.max_timestamp.millis().into(),
        producer_id: header.producer_id.value().into(),
        producer_epoch: header.producer_epoch.into(),
        base_sequence: header.base_sequence.into(),
        record_count: header.record_count.into(),
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(layout.as_bytes());
    bytes.extend_from_slice(body);
    layout.prefix.checksum = checksum(&bytes).into();
    if let Some(head) = bytes.get_mut(..HEADER_BYTES) {
        head.copy_from_slice(layout.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, BatchOptions, CheckedBatch, RecordIter};
    use super::*;

    #[test]
    fn an_emptied_batch_keeps_its_offsets_and_its_producer_and_checks_as_stored_only() {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: ProducerId::new(7),
            producer_epoch: 3,
            base_sequence: 41,
            ..BatchOptions::default()
        });
        builder.push(Timestamp::from_millis(5), Some(b"k"), Some(b"v"), &[]);
        builder.push(Timestamp::from_millis(5), Some(b"l"), Some(b"v"), &[]);
        let full = BatchHeader::read(&builder.finish().unwrap()).unwrap();
        let bytes = emptied(&full);
        let batch = CheckedBatch::check_stored(&bytes).unwrap();
        assert!(CheckedBatch::check(&bytes).is_err());
        let header = batch.header();
        assert_eq!((header.record_count, header.last_offset_delta), (0, 1));
        assert_eq!((header.producer_id, header.last_sequence()), (ProducerId::new(7), 42));
        assert_eq!(batch.records().unwrap().count(), 0);
        let gone = empty(Offset::new(5).unwrap(), i32::MAX, LeaderEpoch::new(2));
        assert_eq!(gone.len(), HEADER_BYTES);
        let (batch, rest) = CheckedBatch::check_first_stored(&gone).unwrap();
        assert!(rest.is_empty());
        assert_eq!(batch.header().last_offset(), 5 + i64::from(i32::MAX));
    }

    #[test]
    fn a_record_counted_from_another_base_is_the_same_record() {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let headers = [("trace", Some(b"1".as_slice()))];
        builder.push(Timestamp::from_millis(100), Some(b"k"), None, &headers);
        let bytes = builder.finish().unwrap();
        let batch = CheckedBatch::check(&bytes).unwrap();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        let mut out = Vec::new();
        put_record(&mut out, &record, Some(-86_400_000));
        let again = RecordIter::new(&out, 1).next().unwrap().unwrap();
        assert_eq!(again.timestamp_delta, -86_400_000);
        assert_eq!((again.key, again.value, again.header_count()), (Some(&b"k"[..]), None, 1));
        let mut copied = Vec::new();
        put_record(&mut copied, &record, None);
        assert_eq!(copied, batch.body());
    }
}
