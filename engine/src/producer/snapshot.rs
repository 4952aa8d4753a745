//! Producer state on disk: `<offset>.snapshot`, the state after every batch below that offset.
//!
//! ```text
//! 0       4         8        16      20
//! | magic | version | offset | count | producers ... | crc |
//! producer: id i64 · epoch i16 · last seen i64 · transaction start i64 · batches u8 · batches
//! batch:    first seq i32 · last seq i32 · base offset i64 · last offset i64 · max time i64 · append time u8
//! ```
//!
//! All numbers are big endian. A transaction start of -1 means that none is open; version 1, which
//! is still read, has no such field. A snapshot that does not check is ignored: the state is rebuilt
//! from an older one and the batches since.

use super::{ProducerBatch, ProducerState, Producers};
use crate::batch::ProducerId;
use crate::decode::take;
use crate::limits::PRODUCER_BATCHES;
use crate::offset::{Offset, Timestamp};

const MAGIC: u32 = 0x524c_5053;
const VERSION: u32 = 2;
/// The version without transactions.
const VERSION_1: u32 = 1;

pub(crate) fn encode(producers: &Producers, offset: Offset) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC.to_be_bytes());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&offset.value().to_be_bytes());
    // Bounded by PRODUCERS_MAX, so it fits.
    let count = u32::try_from(producers.states.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&count.to_be_bytes());
    for (id, state) in &producers.states {
        bytes.extend_from_slice(&id.value().to_be_bytes());
        bytes.extend_from_slice(&state.epoch.to_be_bytes());
        bytes.extend_from_slice(&state.last_seen.millis().to_be_bytes());
        let start = state.transaction_start.map_or(-1, Offset::value);
        bytes.extend_from_slice(&start.to_be_bytes());
        bytes.push(u8::try_from(state.batches().count()).unwrap_or(u8::MAX));
        for batch in state.batches() {
            bytes.extend_from_slice(&batch.first_sequence.to_be_bytes());
            bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
            bytes.extend_from_slice(&batch.base_offset.value().to_be_bytes());
            bytes.extend_from_slice(&batch.last_offset.value().to_be_bytes());
            bytes.extend_from_slice(&batch.max_timestamp.millis().to_be_bytes());
            bytes.push(u8::from(batch.append_time));
        }
    }
    let sum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes
}

/// The state in a snapshot for `offset`; `None` if the bytes are no such thing.
pub(crate) fn decode(bytes: &[u8], offset: Offset) -> Option<Producers> {
    let (content, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(content) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut rest = content;
    let magic = u32::from_be_bytes(take(&mut rest)?);
    let version = u32::from_be_bytes(take(&mut rest)?);
    let stated = i64::from_be_bytes(take(&mut rest)?);
    let known = matches!(version, VERSION | VERSION_1);
    if (magic, known, stated) != (MAGIC, true, offset.value()) {
        return None;
    }
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut producers = Producers::default();
    for _ in 0..count {
        let id = ProducerId::new(i64::from_be_bytes(take(&mut rest)?));
        let epoch = i16::from_be_bytes(take(&mut rest)?);
        let last_seen = Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?));
        let mut state = ProducerState::new(epoch, last_seen);
        if version > VERSION_1 {
            state.transaction_start = Offset::new(i64::from_be_bytes(take(&mut rest)?));
        }
        if let Some(start) = state.transaction_start {
            producers.open.insert(start, id);
        }
        let [batches] = take(&mut rest)?;
        if usize::from(batches) > PRODUCER_BATCHES {
            return None;
        }
        for _ in 0..batches {
            state.push(ProducerBatch {
                first_sequence: i32::from_be_bytes(take(&mut rest)?),
                last_sequence: i32::from_be_bytes(take(&mut rest)?),
                base_offset: Offset::new(i64::from_be_bytes(take(&mut rest)?))?,
                last_offset: Offset::new(i64::from_be_bytes(take(&mut rest)?))?,
                max_timestamp: Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?)),
                append_time: take(&mut rest)? == [1],
            });
        }
        producers.states.insert(id, state);
    }
    rest.is_empty().then_some(producers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_survives_the_trip_and_every_flipped_bit_is_noticed() {
        let offset = Offset::new(40).unwrap();
        let mut producers = Producers::default();
        for id in 0..3 {
            let mut state = ProducerState::new(2, Timestamp::from_millis(99));
            for n in 0..i32::try_from(id).unwrap() {
                let base_offset = Offset::new(i64::from(n)).unwrap();
                state.push(ProducerBatch {
                    first_sequence: n,
                    last_sequence: n,
                    base_offset,
                    last_offset: base_offset,
                    max_timestamp: Timestamp::from_millis(5),
                    append_time: n == 1,
                });
            }
            if id == 1 {
                state.transaction_start = Some(Offset::ZERO);
                producers.open.insert(Offset::ZERO, ProducerId::new(id));
            }
            producers.states.insert(ProducerId::new(id), state);
        }
        let bytes = encode(&producers, offset);
        assert_eq!(decode(&bytes, offset), Some(producers));
        assert_eq!(decode(&bytes, Offset::ZERO), None);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 4;
            assert_eq!(decode(&broken, offset), None);
            assert_eq!(decode(&bytes[..at], offset), None);
        }
    }

    #[test]
    fn a_snapshot_of_the_version_before_transactions_is_still_read() {
        let offset = Offset::new(40).unwrap();
        let mut producers = Producers::default();
        let state = ProducerState::new(2, Timestamp::from_millis(99));
        producers.states.insert(ProducerId::new(7), state);
        let mut bytes = encode(&producers, offset);
        bytes.truncate(bytes.len() - 4);
        bytes[4..8].copy_from_slice(&VERSION_1.to_be_bytes());
        // The transaction start follows magic to count, id, epoch and time.
        bytes.drain(20 + 18..20 + 26);
        let sum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        assert_eq!(decode(&bytes, offset), Some(producers));
    }
}
