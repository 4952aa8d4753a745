//! A batch that has been looked at once, so that nobody needs to look again.

use thiserror::Error;

use super::compression::{Compression, UnknownCompression};
use super::header::{BatchHeader, HEADER_BYTES, checksum};
use super::records::RecordIter;
use crate::entry::{Entry, Format, sealed};
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};

/// Why bytes are not a batch this engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Fewer bytes than a header has.
    #[error("batch of {actual} bytes is shorter than its {HEADER_BYTES} byte header")]
    Short {
        /// Bytes there are.
        actual: usize,
    },
    /// The length field does not fit the bytes.
    #[error("batch says it has {stated} bytes after its length field, but {actual} follow it")]
    Length {
        /// What the length field says.
        stated: i32,
        /// Bytes there are after the field.
        actual: usize,
    },
    /// A batch above every limit.
    #[error("batch of {actual} bytes exceeds the limit of {BATCH_BYTES_MAX} bytes")]
    TooLarge {
        /// Bytes there are.
        actual: usize,
    },
    /// Not format 2.
    #[error("batch has format version {actual}; only version 2 is supported")]
    Magic {
        /// The version found.
        actual: i8,
    },
    /// The checksum does not match.
    #[error("batch has checksum {stated:#010x}, but its bytes give {actual:#010x}")]
    Checksum {
        /// What the header says.
        stated: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// More records than offsets, or a negative number of either.
    #[error(
        "stored batch counts {records} records over a last offset delta of {last_offset_delta}; \
         at most one more than the delta, and neither below 0, is allowed"
    )]
    StoredCount {
        /// The record count.
        records: i32,
        /// The last offset minus the first.
        last_offset_delta: i32,
    },
    /// No records, or not as many as offsets.
    #[error(
        "batch counts {records} records over a last offset delta of {last_offset_delta}; \
         it must be one more than the delta, and 1 to {BATCH_RECORDS_MAX}"
    )]
    Count {
        /// The record count.
        records: i32,
        /// The last record's offset minus the first's.
        last_offset_delta: i32,
    },
    /// A codec nobody knows.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
    /// Attribute bits without a meaning.
    #[error("batch has undefined attribute bits {bits:#06x} set")]
    Attributes {
        /// The bits that should be 0.
        bits: i16,
    },
    /// A producer id without epoch or sequence.
    #[error(
        "batch of producer {producer_id} has epoch {epoch} and first sequence {sequence}; \
         both must be 0 or more"
    )]
    Producer {
        /// The producer's id.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The first record's sequence.
        sequence: i32,
    },
}

/// One whole batch whose framing, counts, attributes and checksum are right.
///
/// Base offset and leader epoch are not looked at: the log sets them. The records inside are not
/// parsed; [`RecordIter`] does that for uncompressed ones.
#[derive(Debug, Clone, Copy)]
pub struct CheckedBatch<'a> {
    bytes: &'a [u8],
    header: BatchHeader,
}

impl<'a> CheckedBatch<'a> {
    /// Checks that `bytes` are exactly one batch. Costs one pass for the checksum.
    ///
    /// # Errors
    ///
    /// [`BatchError`], which says what was expected.
    pub fn check(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = framed(bytes)?;
        judge(bytes, &header, count_sent)?;
        Ok(Self { bytes, header })
    }

    /// Checks that `bytes` are exactly one batch as a log may give it back: compaction may have
    /// taken records from it, or all of them. A log appends no such batch.
    ///
    /// # Errors
    ///
    /// [`BatchError`], which says what was expected.
    pub fn check_stored(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = framed(bytes)?;
        judge(bytes, &header, count_stored)?;
        Ok(Self { bytes, header })
    }

    /// [`CheckedBatch::check_stored`] of the batch at the start of `bytes`, and what follows it.
    ///
    /// # Errors
    ///
    /// As [`CheckedBatch::check_stored`]; a batch longer than `bytes` is [`BatchError::Length`].
    pub fn check_first_stored(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let (batch, rest) = split_first(bytes)?;
        Ok((Self::check_stored(batch)?, rest))
    }

    /// Checks the batch at the start of `bytes` and gives it together with what follows it.
    ///
    /// # Errors
    ///
    /// As [`CheckedBatch::check`]; a batch longer than `bytes` is [`BatchError::Length`].
    pub fn check_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BatchError> {
        let (batch, rest) = split_first(bytes)?;
        Ok((Self::check(batch)?, rest))
    }

    /// The whole batch.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records' bytes, as compressed as the producer sent them.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or(&[])
    }

    /// The records' codec.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.header.attributes.compression().unwrap_or_default()
    }

    /// How many records the batch has: as many as offsets, unless it was compacted.
    #[must_use]
    pub fn record_count(&self) -> u32 {
        u32::try_from(self.header.record_count).unwrap_or(0)
    }

    /// The records of an uncompressed batch; `None` if it is compressed. With as many records as
    /// offsets, increasing offset deltas are 0, 1, 2 and so on.
    #[must_use]
    pub fn records(&self) -> Option<RecordIter<'a>> {
        match self.compression() {
            Compression::None => {
                let last = self.header.last_offset_delta;
                Some(RecordIter::sparse(self.body(), self.record_count(), last))
            }
            _ => None,
        }
    }
}

impl sealed::Sealed for CheckedBatch<'_> {}

impl Entry for CheckedBatch<'_> {
    fn pieces(&self) -> [&[u8]; 2] {
        [self.bytes, &[]]
    }

    fn header(&self) -> &BatchHeader {
        &self.header
    }
}

/// The bytes of the first batch, and what follows them.
fn split_first(bytes: &[u8]) -> Result<(&[u8], &[u8]), BatchError> {
    let header = header_of(bytes)?;
    let actual = bytes.len() - super::LENGTH_PREFIX_BYTES;
    let length = BatchError::Length { stated: header.length, actual };
    let total = header.total_bytes().ok_or(length)?;
    bytes.split_at_checked(total).ok_or(length)
}

/// The header of a record batch; that of no other entry.
fn header_of(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::read(bytes).ok_or(BatchError::Short { actual: bytes.len() })?;
    if header.format() != Some(Format::RecordBatch) {
        return Err(BatchError::Magic { actual: header.magic });
    }
    Ok(header)
}

fn framed(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = header_of(bytes)?;
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(BatchError::TooLarge { actual: bytes.len() });
    }
    if header.total_bytes() != Some(bytes.len()) {
        let actual = bytes.len() - super::LENGTH_PREFIX_BYTES;
        return Err(BatchError::Length { stated: header.length, actual });
    }
    Ok(header)
}

/// A batch as a producer sends it has a record for each offset.
fn count_sent(header: &BatchHeader) -> Result<(), BatchError> {
    let (records, last_offset_delta) = (header.record_count, header.last_offset_delta);
    let expected = i64::from(last_offset_delta) + 1;
    if i64::from(records) != expected || !(1..=BATCH_RECORDS_MAX).contains(&records) {
        return Err(BatchError::Count { records, last_offset_delta });
    }
    Ok(())
}

/// Compaction takes records and leaves the offsets.
fn count_stored(header: &BatchHeader) -> Result<(), BatchError> {
    let (records, last_offset_delta) = (header.record_count, header.last_offset_delta);
    let offsets = i64::from(last_offset_delta) + 1;
    if !(0..=offsets).contains(&i64::from(records)) || last_offset_delta < 0 {
        return Err(BatchError::StoredCount { records, last_offset_delta });
    }
    Ok(())
}

fn judge(
    bytes: &[u8],
    header: &BatchHeader,
    count: impl FnOnce(&BatchHeader) -> Result<(), BatchError>,
) -> Result<(), BatchError> {
    let actual = checksum(bytes);
    if actual != header.checksum {
        return Err(BatchError::Checksum { stated: header.checksum, actual });
    }
    count(header)?;
    header.attributes.compression()?;
    let bits = header.attributes.undefined_bits();
    if bits != 0 {
        return Err(BatchError::Attributes { bits });
    }
    let (epoch, sequence) = (header.producer_epoch, header.base_sequence);
    // A coordinator's marker carries its producer's id and epoch, but no sequence.
    let sequence_missing = sequence < 0 && !header.attributes.is_control();
    if header.producer_id.is_some() && (epoch < 0 || sequence_missing) {
        let producer_id = header.producer_id.value();
        return Err(BatchError::Producer { producer_id, epoch, sequence });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, BatchOptions};
    use super::*;
    use crate::offset::Timestamp;

    fn good() -> Vec<u8> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(Timestamp::from_millis(5), Some(b"key"), Some(b"value"), &[]);
        builder.push(Timestamp::from_millis(9), None, Some(b"more"), &[]);
        builder.finish().unwrap()
    }

    fn renewed(mut bytes: Vec<u8>, change: impl Fn(&mut Vec<u8>)) -> Result<(), BatchError> {
        change(&mut bytes);
        let sum = checksum(&bytes);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
        CheckedBatch::check(&bytes).map(|_| ())
    }

    #[test]
    fn a_built_batch_is_accepted_and_reads_back() {
        let bytes = good();
        let batch = CheckedBatch::check(&bytes).unwrap();
        assert_eq!(batch.record_count(), 2);
        assert_eq!(batch.header().max_timestamp, Timestamp::from_millis(9));
        assert_eq!(batch.header().last_sequence(), -1);
    }

    #[test]
    fn every_flipped_bit_under_the_checksum_is_refused() {
        let bytes = good();
        for at in 21..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x10;
            let error = CheckedBatch::check(&broken).unwrap_err();
            assert!(matches!(error, BatchError::Checksum { .. }), "{at}: {error}");
        }
    }

    #[test]
    fn each_wrong_field_has_its_error() {
        let bytes = good();
        assert!(matches!(CheckedBatch::check(&bytes[..60]), Err(BatchError::Short { .. })));
        let cut = &bytes[..bytes.len() - 1];
        assert!(matches!(CheckedBatch::check(cut), Err(BatchError::Length { .. })));
        let magic = renewed(bytes.clone(), |b| b[16] = 1);
        assert_eq!(magic, Err(BatchError::Magic { actual: 1 }));
        let count = renewed(bytes.clone(), |b| b[57..61].copy_from_slice(&9_i32.to_be_bytes()));
        assert!(matches!(count, Err(BatchError::Count { records: 9, .. })));
        let codec = renewed(bytes.clone(), |b| b[22] = 6);
        assert!(matches!(codec, Err(BatchError::Compression(_))));
        let bits = renewed(bytes.clone(), |b| b[21] = 1);
        assert!(matches!(bits, Err(BatchError::Attributes { .. })));
        let producer = renewed(bytes, |b| b[43..51].copy_from_slice(&7_i64.to_be_bytes()));
        assert!(matches!(producer, Err(BatchError::Producer { producer_id: 7, .. })));
    }

    #[test]
    fn what_follows_the_first_batch_is_given_back() {
        let mut bytes = good();
        let length = bytes.len();
        bytes.extend_from_slice(b"rest");
        let (batch, rest) = CheckedBatch::check_first(&bytes).unwrap();
        assert_eq!((batch.bytes().len(), rest), (length, b"rest".as_slice()));
    }
}
