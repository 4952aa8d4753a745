//! The records of an uncompressed (or already decompressed) batch body.

use thiserror::Error;

use super::varint::{take_i32, take_i64};
use crate::limits::RECORD_HEADERS_MAX;

/// Why a body's records cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A number or field reaches past the end of its record, or of the body.
    #[error("record {index} is cut short or holds a malformed number")]
    Malformed {
        /// Which record of the batch, from 0.
        index: u32,
    },
    /// A length that is negative where none may be.
    #[error("record {index} has a length of {length} where 0 or more is needed")]
    NegativeLength {
        /// Which record of the batch, from 0.
        index: u32,
        /// The length found.
        length: i32,
    },
    /// Offset deltas must be 0, 1, 2 and so on.
    #[error("record {index} has offset delta {delta}; it must be its index")]
    OffsetDelta {
        /// Which record of the batch, from 0.
        index: u32,
        /// The delta found.
        delta: i32,
    },
    /// In a batch that was compacted, offset deltas must increase, up to the batch's last.
    #[error("record {index} has offset delta {delta}; {min} to {max} are left to it")]
    SparseDelta {
        /// Which record of the batch, from 0.
        index: u32,
        /// The delta found.
        delta: i32,
        /// The smallest that may follow the record before.
        min: i32,
        /// The batch's last offset delta.
        max: i32,
    },
    /// More headers than a record may have, or a negative number of them.
    #[error("record {index} counts {count} headers; 0 to {RECORD_HEADERS_MAX} are allowed")]
    HeaderCount {
        /// Which record of the batch, from 0.
        index: u32,
        /// The count found.
        count: i32,
    },
    /// A record has bytes after its last header.
    #[error("record {index} has {bytes} bytes after its last header")]
    RecordTrailing {
        /// Which record of the batch, from 0.
        index: u32,
        /// How many.
        bytes: usize,
    },
    /// The body goes on after the last record.
    #[error("{bytes} bytes follow the last of {records} records")]
    BodyTrailing {
        /// Records the batch counts.
        records: u32,
        /// Bytes after them.
        bytes: usize,
    },
}

/// One record, borrowed from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset minus the batch's base offset.
    pub offset_delta: i32,
    /// Its timestamp minus the batch's base timestamp, in milliseconds.
    pub timestamp_delta: i64,
    /// Its key; `None` for null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` for null (a tombstone).
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
    attributes: u8,
    /// The whole record, its length included.
    pub(super) whole: &'a [u8],
    /// Everything after both deltas.
    pub(super) content: &'a [u8],
}

impl<'a> Record<'a> {
    /// Bytes of the whole record, uncompressed, its length included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.whole.len()
    }

    /// The record's attribute bits, none of which means anything.
    pub(super) const fn attributes(&self) -> u8 {
        self.attributes
    }

    /// How many headers it has.
    #[must_use]
    pub const fn header_count(&self) -> usize {
        self.header_count
    }

    /// Its headers, which [`RecordIter`] has already found well-formed.
    #[must_use]
    pub const fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { rest: self.headers, left: self.header_count }
    }
}

/// One header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its key, UTF-8 by convention.
    pub key: &'a [u8],
    /// Its value; `None` for null.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, in order.
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.rest, 0).ok()
    }
}

/// Iterates over a body's records, checking each as it goes. After an error it ends.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    rest: &'a [u8],
    index: u32,
    count: u32,
    ended: bool,
    /// The smallest offset delta that may come next, and the largest there may be; `None` where
    /// each must be its record's index.
    sparse: Option<(i32, i32)>,
}

impl<'a> RecordIter<'a> {
    /// The `count` records of an uncompressed body.
    #[must_use]
    pub const fn new(body: &'a [u8], count: u32) -> Self {
        Self { rest: body, index: 0, count, ended: false, sparse: None }
    }

    /// The `count` records of an uncompressed body that compaction may have taken records from:
    /// offset deltas increase, up to `last_offset_delta`.
    #[must_use]
    pub const fn sparse(body: &'a [u8], count: u32, last_offset_delta: i32) -> Self {
        let sparse = Some((0, last_offset_delta));
        Self { rest: body, index: 0, count, ended: false, sparse }
    }

    fn take(&mut self) -> Result<Record<'a>, RecordError> {
        let index = self.index;
        let malformed = RecordError::Malformed { index };
        let start = self.rest;
        let length = take_i32(&mut self.rest).ok_or(malformed)?;
        let length =
            usize::try_from(length).map_err(|_| RecordError::NegativeLength { index, length })?;
        let (mut rest, after) = self.rest.split_at_checked(length).ok_or(malformed)?;
        let (whole, _) = start.split_at(start.len() - after.len());
        self.rest = after;
        // A record's attributes: no bit of them means anything, and Kafka ignores them too.
        let (&attributes, tail) = rest.split_first().ok_or(malformed)?;
        rest = tail;
        let timestamp_delta = take_i64(&mut rest).ok_or(malformed)?;
        let offset_delta = take_i32(&mut rest).ok_or(malformed)?;
        self.place(offset_delta)?;
        let content = rest;
        let key = take_bytes(&mut rest, index)?;
        let value = take_bytes(&mut rest, index)?;
        let count = take_i32(&mut rest).ok_or(malformed)?;
        let header_count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= RECORD_HEADERS_MAX)
            .ok_or(RecordError::HeaderCount { index, count })?;
        let headers = rest;
        for _ in 0..header_count {
            take_header(&mut rest, index)?;
        }
        if !rest.is_empty() {
            return Err(RecordError::RecordTrailing { index, bytes: rest.len() });
        }
        Ok(Record {
            offset_delta,
            timestamp_delta,
            key,
            value,
            headers,
            header_count,
            attributes,
            whole,
            content,
        })
    }

    /// Checks that a record of this offset delta may come next.
    fn place(&mut self, delta: i32) -> Result<(), RecordError> {
        let index = self.index;
        match &mut self.sparse {
            None if u32::try_from(delta) == Ok(index) => Ok(()),
            None => Err(RecordError::OffsetDelta { index, delta }),
            Some((min, max)) if (*min..=*max).contains(&delta) => {
                *min = delta.saturating_add(1);
                Ok(())
            }
            Some((min, max)) => {
                Err(RecordError::SparseDelta { index, delta, min: *min, max: *max })
            }
        }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index == self.count {
            self.ended = true;
            let bytes = self.rest.len();
            let error = RecordError::BodyTrailing { records: self.count, bytes };
            return (bytes > 0).then_some(Err(error));
        }
        let record = self.take();
        self.index += 1;
        self.ended = record.is_err();
        Some(record)
    }
}

fn take_header<'a>(rest: &mut &'a [u8], index: u32) -> Result<Header<'a>, RecordError> {
    let key = take_bytes(rest, index)?;
    let key = key.ok_or(RecordError::NegativeLength { index, length: -1 })?;
    Ok(Header { key, value: take_bytes(rest, index)? })
}

/// A length and as many bytes; -1 is null.
fn take_bytes<'a>(rest: &mut &'a [u8], index: u32) -> Result<Option<&'a [u8]>, RecordError> {
    let malformed = RecordError::Malformed { index };
    let length = take_i32(rest).ok_or(malformed)?;
    if length == -1 {
        return Ok(None);
    }
    let bytes =
        usize::try_from(length).map_err(|_| RecordError::NegativeLength { index, length })?;
    let (taken, after) = rest.split_at_checked(bytes).ok_or(malformed)?;
    *rest = after;
    Ok(Some(taken))
}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, BatchOptions, CheckedBatch};
    use super::*;
    use crate::offset::Timestamp;

    fn body() -> (Vec<u8>, u32) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let headers = [("trace", Some(b"1".as_slice())), ("none", None)];
        builder.push(Timestamp::from_millis(100), Some(b"k"), None, &headers);
        builder.push(Timestamp::from_millis(90), None, Some(b"value"), &[]);
        let bytes = builder.finish().unwrap();
        let batch = CheckedBatch::check(&bytes).unwrap();
        (batch.body().to_vec(), batch.record_count())
    }

    #[test]
    fn what_was_pushed_is_what_is_read() {
        let (body, count) = body();
        let records: Vec<_> = RecordIter::new(&body, count).map(Result::unwrap).collect();
        assert_eq!(records[0].key, Some(b"k".as_slice()));
        assert_eq!(records[0].value, None);
        let headers: Vec<_> = records[0].headers().collect();
        assert_eq!(headers[0], Header { key: b"trace", value: Some(b"1") });
        assert_eq!(headers[1], Header { key: b"none", value: None });
        assert_eq!(records[1].timestamp_delta, -10);
        assert_eq!(records[1].value, Some(b"value".as_slice()));
    }

    #[test]
    fn a_body_cut_anywhere_is_an_error_and_never_a_panic() {
        let (body, count) = body();
        for end in 0..body.len() {
            assert!(RecordIter::new(&body[..end], count).any(|record| record.is_err()), "{end}");
        }
    }

    #[test]
    fn any_changed_byte_ends_in_records_or_an_error() {
        let (body, count) = body();
        for at in 0..body.len() {
            for value in 0..=255 {
                let mut changed = body.clone();
                changed[at] = value;
                assert!(RecordIter::new(&changed, count).count() <= 3);
            }
        }
    }

    #[test]
    fn gaps_between_records_are_fine_only_where_compaction_may_have_made_them() {
        let (body, _) = body();
        let mut records = RecordIter::new(&body, 2);
        let (_, second) = (records.next().unwrap().unwrap(), records.next().unwrap().unwrap());
        let error = RecordIter::new(second.whole, 1).next().unwrap().unwrap_err();
        assert_eq!(error, RecordError::OffsetDelta { index: 0, delta: 1 });
        let kept = RecordIter::sparse(second.whole, 1, 1).next().unwrap().unwrap();
        assert_eq!((kept.offset_delta, kept.value), (1, Some(b"value".as_slice())));
        let error = RecordIter::sparse(second.whole, 1, 0).next().unwrap().unwrap_err();
        assert_eq!(error, RecordError::SparseDelta { index: 0, delta: 1, min: 0, max: 0 });
        let twice = [second.whole, second.whole].concat();
        let error = RecordIter::sparse(&twice, 2, 9).last().unwrap().unwrap_err();
        assert_eq!(error, RecordError::SparseDelta { index: 1, delta: 1, min: 2, max: 9 });
    }

    #[test]
    fn bytes_after_the_last_record_are_an_error() {
        let (mut body, count) = body();
        body.push(0);
        let last = RecordIter::new(&body, count).last().unwrap();
        assert_eq!(last, Err(RecordError::BodyTrailing { records: 2, bytes: 1 }));
    }
}
