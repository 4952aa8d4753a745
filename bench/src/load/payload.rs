//! The batch that every request carries, and the time that may be stamped into each copy of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringlog_engine::batch::{BatchBuilder, BatchOptions};
use ringlog_engine::offset::Timestamp;

use crate::error::BenchError;

/// Where a batch has its checksum, and from where on the checksum counts.
const CRC_AT: std::ops::Range<usize> = 17..21;
const CRC_FROM: usize = 21;
/// Bytes of a stamp: which run it is of, and nanoseconds since the run's origin.
pub const STAMP_BYTES: usize = 16;

/// A batch of equal records with values that do not compress.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The batch.
    pub bytes: Vec<u8>,
    /// Records in it.
    pub records: u32,
    /// Where a time goes before each send, if one does.
    pub stamp: Option<Stamp>,
}

/// The place of a time in a batch: the first bytes of the first record's value.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    at: usize,
    run: u64,
    origin: Instant,
}

impl Payload {
    /// A batch of as many records as fit into `batch_bytes`, but one at least.
    ///
    /// # Errors
    ///
    /// [`BenchError::Batch`] if the format has no such batch.
    pub fn new(record_bytes: usize, batch_bytes: usize) -> Result<Self, BenchError> {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut value = vec![0; record_bytes];
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let mut records = 0;
        loop {
            for piece in value.chunks_mut(8) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                piece.copy_from_slice(&random.to_le_bytes()[..piece.len()]);
            }
            let mut longer = builder.clone();
            longer.push(now, None, Some(&value), &[]);
            if records > 0 && longer.len() > batch_bytes {
                break;
            }
            builder = longer;
            records += 1;
        }
        let bytes = builder.finish().map_err(|source| BenchError::Batch {
            batch_bytes,
            record_bytes,
            source,
        })?;
        Ok(Self { bytes, records, stamp: None })
    }

    /// The same, with a place for the time at which each copy should be sent.
    ///
    /// # Errors
    ///
    /// [`BenchError::Batch`] if the format has no such batch, [`BenchError::StampRoom`] if a
    /// record has no room for a time.
    pub fn stamped(record_bytes: usize, batch_bytes: usize) -> Result<Self, BenchError> {
        if record_bytes < STAMP_BYTES {
            return Err(BenchError::StampRoom { record_bytes, least_bytes: STAMP_BYTES });
        }
        let mut payload = Self::new(record_bytes, batch_bytes)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = u64::try_from(since.as_nanos()).unwrap_or(0);
        let at = first_value_at(&payload.bytes);
        payload.stamp = Some(Stamp { at, run, origin: Instant::now() });
        Ok(payload)
    }
}

/// Where the first record's value begins: after five varints and the attributes.
fn first_value_at(batch: &[u8]) -> usize {
    let mut at = ringlog_engine::batch::HEADER_BYTES;
    let skip_varint = |at: usize| {
        let rest = batch.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| **byte >= 0x80).count() + 1
    };
    // The record's length, its attributes, time, offset, no key, the value's length.
    at = skip_varint(at) + 1;
    for _ in 0..4 {
        at = skip_varint(at);
    }
    at
}

impl Stamp {
    /// Writes `time` into a copy of the batch, and makes its checksum right again.
    pub fn write(&self, batch: &mut [u8], time: Instant) {
        let since = time.saturating_duration_since(self.origin);
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let Some(place) = batch.get_mut(self.at..self.at + STAMP_BYTES) else { return };
        place[..8].copy_from_slice(&self.run.to_be_bytes());
        place[8..].copy_from_slice(&nanos.to_be_bytes());
        let crc = batch.get(CRC_FROM..).map_or(0, crc32c::crc32c);
        if let Some(place) = batch.get_mut(CRC_AT) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
    }

    /// The time in a batch; `None` if another run wrote it.
    #[must_use]
    pub fn read(&self, batch: &[u8]) -> Option<Instant> {
        let place = batch.get(self.at..self.at + STAMP_BYTES)?;
        let (run, rest) = place.split_first_chunk::<8>()?;
        let nanos = u64::from_be_bytes(*rest.first_chunk()?);
        if u64::from_be_bytes(*run) != self.run {
            return None;
        }
        self.origin.checked_add(Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use ringlog_engine::batch::CheckedBatch;

    use super::*;

    #[test]
    fn a_batch_is_filled_up_to_its_size_and_holds_one_record_at_least() {
        let full = Payload::new(1024, 65_536).unwrap();
        assert!(full.bytes.len() <= 65_536 && full.bytes.len() > 65_536 - 1100);
        assert_eq!(CheckedBatch::check(&full.bytes).unwrap().record_count(), full.records);
        let one = Payload::new(100, 1).unwrap();
        assert_eq!(one.records, 1);
    }

    #[test]
    fn a_stamp_is_found_again_and_leaves_a_valid_batch() {
        for record_bytes in [STAMP_BYTES, 100, 20_000] {
            let payload = Payload::stamped(record_bytes, 1).unwrap();
            let stamp = payload.stamp.unwrap();
            let mut batch = payload.bytes.clone();
            assert_eq!(stamp.read(&batch), None);
            let time = Instant::now() + Duration::from_millis(7);
            stamp.write(&mut batch, time);
            assert_eq!(stamp.read(&batch), Some(time));
            let checked = CheckedBatch::check(&batch).unwrap();
            let record = checked.records().unwrap().next().unwrap().unwrap();
            assert_eq!(record.value.unwrap()[..8], stamp.run.to_be_bytes());
        }
        assert!(Payload::stamped(STAMP_BYTES - 1, 1).is_err());
    }
}
