//! What the log's tests share: batches and frames, small shards, and a look at what a log holds.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::Path;
use std::time::Duration;

use ringlog_engine::batch::{BatchBuilder, BatchHeader, BatchOptions, CheckedBatch, ProducerId};
use ringlog_engine::entry::Format;
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::AppendError;
use ringlog_engine::frame::{CheckedFrame, Frame};
use ringlog_engine::io::Io;
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::{Appended, Log, LogSettings, Reservation, Stamp};
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
    let settings = ShardSettings {
        buffer_pool_bytes: 16 * mib,
        cache_bytes: 4 * mib,
        ..ShardSettings::default()
    };
    Shard::new(io.clone(), settings)
}

/// Nothing is kept in memory, so that every read is cold.
pub fn cold_settings() -> ShardSettings {
    let buffer_pool_bytes = 16 * 1024 * 1024;
    ShardSettings { buffer_pool_bytes, cache_bytes: 0, ..ShardSettings::default() }
}

/// A shard with a small journal in `/data/journal`, for the logs in `/data`; what an earlier one
/// left there goes into the logs.
pub async fn journaled_shard<I: Io>(io: &I, files: usize, cache_bytes: usize) -> Shard<I> {
    let settings = ShardSettings { cache_bytes, ..cold_settings() };
    let journal = JournalSettings::new("/data/journal", "/data");
    let journal = JournalSettings { files, file_bytes: 64 * 1024, ..journal };
    Shard::open(io.clone(), settings, journal).await.unwrap().0
}

/// A shard that keeps nothing in memory, so that every read is cold.
pub fn cold_shard<I: Io>(io: &I) -> Shard<I> {
    Shard::new(io.clone(), cold_settings())
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
    let mut state = noise_state(seed);
    for index in 0..records {
        let value = noise(&mut state, bytes);
        let time = ms(time + i64::try_from(index).unwrap());
        builder.push(time, Some(&seed.to_be_bytes()), Some(&value), &[]);
    }
}

fn noise_state(seed: u64) -> u64 {
    seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

fn noise(state: &mut u64, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|_| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// A frame with a payload of `bytes` bytes, whose content follows from `seed`.
pub fn frame(bytes: usize, seed: u64, time: i64) -> Vec<u8> {
    let payload = noise(&mut noise_state(seed), bytes);
    Frame::new(ms(time), &payload).unwrap().to_vec()
}

/// What a test fills its logs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    Batches,
    Frames,
    Both,
}

impl Entries {
    /// An entry of up to `records` records of `bytes` bytes each; a frame has one.
    pub fn make(self, records: usize, bytes: usize, seed: u64, time: i64) -> Vec<u8> {
        let as_frame = match self {
            Self::Batches => false,
            Self::Frames => true,
            Self::Both => seed % 3 == 1,
        };
        if as_frame { frame(bytes, seed, time) } else { batch(records, bytes, seed, time) }
    }

    /// How many offsets an entry of `records` records takes; not for [`Entries::Both`].
    pub fn records(self, records: usize) -> usize {
        if self == Self::Batches { records } else { 1 }
    }
}

fn is_frame(bytes: &[u8]) -> bool {
    header(bytes).format() == Some(Format::Frame)
}

pub async fn append<I: Io>(log: &Log<I>, bytes: &[u8]) -> Appended {
    let appended = append_only(log, bytes).await;
    log.durable(appended.end_offset).await.unwrap();
    appended
}

/// Appends without waiting for durability.
pub async fn append_only<I: Io>(log: &Log<I>, bytes: &[u8]) -> Appended {
    let reservation = log.reserve(bytes.len()).await.unwrap();
    append_reserved(log, reservation, bytes).unwrap()
}

pub fn append_reserved<I: Io>(
    log: &Log<I>,
    reservation: Reservation<I>,
    bytes: &[u8],
) -> Result<Appended, AppendError> {
    if is_frame(bytes) {
        log.append(reservation, &CheckedFrame::check(bytes).unwrap(), STAMP)
    } else {
        log.append(reservation, &CheckedBatch::check(bytes).unwrap(), STAMP)
    }
}

pub async fn open<I: Io>(shard: &Shard<I>, dir: &Path, settings: LogSettings) -> Log<I> {
    Log::open(shard, dir, settings).await.unwrap().0
}

/// All entries from the log's start to its durable end, checked to follow one another.
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
                let header = header(rest);
                let (entry, after) = rest.split_at(header.total_bytes().unwrap());
                if is_frame(entry) {
                    CheckedFrame::check(entry).unwrap();
                } else {
                    CheckedBatch::check(entry).unwrap();
                }
                if !batches.is_empty() {
                    assert_eq!(header.base_offset, from.value(), "log.contiguous");
                }
                from = header.end_offset().unwrap();
                batches.push(entry.to_vec());
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
