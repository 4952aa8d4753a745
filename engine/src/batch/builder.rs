//! Makes uncompressed batches.

use zerocopy::IntoBytes;

use super::BatchError;
use super::header::{
    Attributes, HEADER_BYTES, LENGTH_PREFIX_BYTES, Layout, Prefix, ProducerId, checksum,
};
use super::varint::put;
use crate::entry::Format;
use crate::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::offset::Timestamp;

/// What a batch says about its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// Transaction and control bits. The codec bits must name no codec.
    pub attributes: Attributes,
    /// The idempotent producer, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub base_sequence: i32,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            attributes: Attributes::default(),
            producer_id: ProducerId::NONE,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

/// Builds one uncompressed batch with base offset 0, record by record.
///
/// ```
/// use ringlog_engine::batch::{BatchBuilder, BatchOptions, CheckedBatch};
/// use ringlog_engine::offset::Timestamp;
///
/// let mut builder = BatchBuilder::new(BatchOptions::default());
/// builder.push(Timestamp::from_millis(1_000), Some(b"key"), Some(b"value"), &[]);
/// let bytes = builder.finish()?;
/// assert_eq!(CheckedBatch::check(&bytes)?.record_count(), 1);
/// # Ok::<(), ringlog_engine::batch::BatchError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(options: BatchOptions) -> Self {
        Self {
            options,
            bytes: vec![0; HEADER_BYTES],
            scratch: Vec::new(),
            count: 0,
            base_timestamp: -1,
            max_timestamp: -1,
        }
    }

    /// Appends a record. The first one's timestamp becomes the base timestamp.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) {
        let millis = timestamp.millis();
        if self.count == 0 {
            self.base_timestamp = millis;
            self.max_timestamp = millis;
        }
        self.max_timestamp = self.max_timestamp.max(millis);
        let record = &mut self.scratch;
        record.clear();
        record.push(0);
        put(record, millis.wrapping_sub(self.base_timestamp));
        put(record, i64::from(self.count));
        put_bytes(record, key);
        put_bytes(record, value);
        put(record, length(headers.len()));
        for (name, value) in headers {
            put_bytes(record, Some(name.as_bytes()));
            put_bytes(record, *value);
        }
        put(&mut self.bytes, length(self.scratch.len()));
        self.bytes.extend_from_slice(&self.scratch);
        self.count = self.count.saturating_add(1);
    }

    /// Bytes the batch has by now, header included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no record was pushed yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished batch, checksum and all.
    ///
    /// # Errors
    ///
    /// [`BatchError::Count`] without records or with more than
    /// [`BATCH_RECORDS_MAX`]; [`BatchError::TooLarge`] above [`BATCH_BYTES_MAX`].
    pub fn finish(mut self) -> Result<Vec<u8>, BatchError> {
        let last_offset_delta = self.count - 1;
        if !(1..=BATCH_RECORDS_MAX).contains(&self.count) {
            return Err(BatchError::Count { records: self.count, last_offset_delta });
        }
        let actual = self.bytes.len();
        let length = i32::try_from(actual - LENGTH_PREFIX_BYTES)
            .ok()
            .filter(|_| actual <= BATCH_BYTES_MAX)
            .ok_or(BatchError::TooLarge { actual })?;
        let mut header = Layout {
            prefix: Prefix {
                base_offset: 0.into(),
                length: length.into(),
                leader_epoch: (-1).into(),
                magic: Format::RecordBatch.magic(),
                checksum: 0.into(),
            },
            attributes: self.options.attributes.bits().into(),
            last_offset_delta: last_offset_delta.into(),
            base_timestamp: self.base_timestamp.into(),
            max_timestamp: self.max_timestamp.into(),
            producer_id: self.options.producer_id.value().into(),
            producer_epoch: self.options.producer_epoch.into(),
            base_sequence: self.options.base_sequence.into(),
            record_count: self.count.into(),
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        header.prefix.checksum = checksum(&self.bytes).into();
        self.bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        Ok(self.bytes)
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put(out, -1),
        Some(bytes) => {
            put(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

/// A length as the format writes it. Saturates: what is that long, `finish` refuses.
fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
