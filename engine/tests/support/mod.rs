//! What the log's tests share: batches, small shards, and a look at what a log holds.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::Path;
use std::time::Duration;

use ringlog_engine::batch::{BatchBuilder, BatchHeader, BatchOptions, CheckedBatch, ProducerId};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::io::Io;
use ringlog_engine::log::{Appended, Log, LogSettings, Stamp};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::shard::{Shard, ShardSettings};

pub const STAMP: Stamp =
    Stamp { leader_epoch: LeaderEpoch::new(0), log_append_time: None, max_timestamp: None };

pub fn at(value: i64) -> Offset {
    Offset::new(value).unwrap()
}

pub fn ms(value: i64) -> Timestamp {
    Timestamp::from_millis(value)
}

pub fn shard<I: Io>(io: &I) -> Shard<I> {
    let mib = 1024 * 1024;
    Shard::new(io.clone(), ShardSettings { buffer_pool_bytes: 16 * mib, cache_bytes: 4 * mib })
}

/// A shard that keeps nothing in memory, so that every read is cold.
pub fn cold_shard<I: Io>(io: &I) -> Shard<I> {
    Shard::new(io.clone(), ShardSettings { buffer_pool_bytes: 16 * 1024 * 1024, cache_bytes: 0 })
}

/// Small segments, so that tests roll.
pub fn small() -> LogSettings {
    LogSettings {
        segment_bytes: 32 * 1024,
        index_interval_bytes: 1024,
        batch_bytes_max: 256 * 1024,
        segment_age_max: Duration::from_secs(1_000_000),
        retention_age_max: None,
        ..LogSettings::default()
    }
}

/// A batch of `records` records of `bytes` bytes each, whose content follows from `seed`.
pub fn batch(records: usize, bytes: usize, seed: u64, time: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    fill(&mut builder, records, bytes, seed, time);
    builder.finish().unwrap()
}

/// A batch of an idempotent producer.
pub fn sequenced(id: i64, epoch: i16, sequence: i32, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: ProducerId::new(id),
        producer_epoch: epoch,
        base_sequence: sequence,
        ..BatchOptions::default()
    });
    fill(&mut builder, records, 20, 1, 1_000);
    builder.finish().unwrap()
}

fn fill(builder: &mut BatchBuilder, records: usize, bytes: usize, seed: u64, time: i64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for index in 0..records {
        let value: Vec<u8> = (0..bytes)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        let time = ms(time + i64::try_from(index).unwrap());
        builder.push(time, Some(&seed.to_be_bytes()), Some(&value), &[]);
    }
}

pub async fn append<I: Io>(log: &Log<I>, bytes: &[u8]) -> Appended {
    let batch = CheckedBatch::check(bytes).unwrap();
    log.append_durably(&batch, STAMP).await.unwrap()
}

/// Appends without waiting for durability.
pub async fn append_only<I: Io>(log: &Log<I>, bytes: &[u8]) -> Appended {
    let batch = CheckedBatch::check(bytes).unwrap();
    let reservation = log.reserve(bytes.len()).await.unwrap();
    log.append(reservation, &batch, STAMP).unwrap()
}

pub async fn open<I: Io>(shard: &Shard<I>, dir: &Path, settings: LogSettings) -> Log<I> {
    Log::open(shard, dir, settings).await.unwrap().0
}

/// All batches from the log's start to its durable end, checked to follow one another.
pub async fn contents<I: Io>(log: &Log<I>) -> Vec<Vec<u8>> {
    let offsets = log.offsets();
    let mut batches = Vec::new();
    let mut from = offsets.start;
    while from < offsets.durable {
        let slices = log.read(from, offsets.durable, 50_000, true).await.unwrap();
        assert!(!slices.is_empty(), "nothing at {from} of {offsets:?}");
        for piece in slices.iter() {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                let (batch, after) = CheckedBatch::check_first(rest).unwrap();
                let header = batch.header();
                if !batches.is_empty() {
                    assert_eq!(header.base_offset, from.value(), "log.contiguous");
                }
                from = header.end_offset().unwrap();
                batches.push(batch.bytes().to_vec());
                rest = after;
            }
        }
    }
    batches
}

pub fn header(batch: &[u8]) -> BatchHeader {
    BatchHeader::read(batch).unwrap()
}

/// A batch without what the log writes into it.
pub fn unstamped(batch: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[..8].fill(0);
    batch[12..16].fill(0xff);
    batch
}
