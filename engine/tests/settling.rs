//! When logs put into their segments what the journal has of them, and in how long writes.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::io::{Io, Rare};
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::{Log, LogSettings};
use ringlog_engine::shard::{Shard, ShardSettings};
use support::{STAMP, batch, journaled_shard};

const LOGS: usize = 100;
/// How long every operation of the disk takes.
const LATENCY: Duration = Duration::from_micros(100);

#[test]
fn hundreds_of_logs_are_settled_before_the_journal_is_full() {
    let io = SimIo::new(1);
    let slowest = io.run(async {
        let shard = journaled_shard(&io, 8, 4 << 20).await;
        let batch = Rc::new(batch(1, 100, 1, 1_000));
        let mut logs = Vec::new();
        for number in 0..LOGS {
            let dir = PathBuf::from(format!("/data/a-{number}"));
            let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await.unwrap();
            logs.push(log);
        }
        // All of them have a little in the journal's first file.
        let left = Rc::new(Cell::new(LOGS));
        for log in &logs {
            let (log, batch, left) = (log.clone(), Rc::clone(&batch), Rc::clone(&left));
            io.spawn(async move {
                log.append_durably(&CheckedBatch::check(&batch).unwrap(), STAMP).await.unwrap();
                left.set(left.get() - 1);
            });
        }
        while left.get() > 0 {
            io.sleep(LATENCY).await;
        }
        io.set_latency(LATENCY, LATENCY);
        // And one fills all of its files, and the first of them again.
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let begun = io.elapsed();
            let checked = CheckedBatch::check(&batch).unwrap();
            logs[0].append_durably(&checked, STAMP).await.unwrap();
            slowest = slowest.max(io.elapsed() - begun);
        }
        slowest
    });
    let counts = io.reached_counts();
    assert!(counts.of(Rare::JournalFileFreed) > 0, "no file was ever wanted back");
    assert_eq!(counts.of(Rare::JournalFull), 0);
    assert!(slowest <= 10 * LATENCY, "an append took {slowest:?}");
}

/// Appends to each log in turn, and waits for each append.
async fn append_in_turn(logs: &[Log<SimIo>], rounds: usize) {
    let batch = batch(1, 100, 1, 1_000);
    let batch = CheckedBatch::check(&batch).unwrap();
    for _ in 0..rounds {
        for log in logs {
            log.append_durably(&batch, STAMP).await.unwrap();
        }
    }
}

#[test]
fn a_busy_log_is_put_into_its_segment_by_long_writes() {
    let io = SimIo::new(1);
    io.run(async {
        let journal = JournalSettings::new("/data/journal", "/data");
        let (shard, _) = Shard::open(io.clone(), ShardSettings::default(), journal).await.unwrap();
        let dir = PathBuf::from("/data/a-0");
        let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await.unwrap();
        append_in_turn(std::slice::from_ref(&log), 1_000).await;
        let (before, bytes_before) = (io.operations(), log.size_bytes());
        let rounds = 20_000;
        append_in_turn(std::slice::from_ref(&log), rounds).await;
        let bytes = log.size_bytes() - bytes_before;
        // Each append is a write of the journal; the rest is the segment's, and the files that grow.
        let others = io.operations() - before - rounds as u64;
        let each = bytes / others.max(1);
        assert!(each > 15_000, "{each} bytes a write: {others} of them for {bytes} bytes");
    });
}

#[test]
fn many_slow_logs_have_no_larger_buffers_than_they_fill() {
    let io = SimIo::new(1);
    io.run(async {
        let journal = JournalSettings::new("/data/journal", "/data");
        let memory = ShardSettings {
            buffer_pool_bytes: 128 << 20,
            cache_bytes: 64 << 20,
            ..ShardSettings::default()
        };
        let (shard, _) = Shard::open(io.clone(), memory, journal).await.unwrap();
        let mut logs = Vec::new();
        for number in 0..1_000 {
            let dir = PathBuf::from(format!("/data/a-{number}"));
            let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await.unwrap();
            logs.push(log);
        }
        append_in_turn(&logs, 170).await;
        let used = shard.cache_stats().used_bytes;
        let bytes: u64 = logs.iter().map(Log::size_bytes).sum();
        assert!(used as u64 <= 2 * bytes, "{used} bytes of memory for {bytes} that were appended");
    });
}

/// Opens logs in a shard with a cache of 1 MiB, appends batches of 14 KB to each in turn, and gives how
/// often a last block was read back, and what the cache holds.
fn read_back(logs: usize) -> (u64, usize) {
    let io = SimIo::new(1);
    let used = io.run(async {
        let settings = ShardSettings { cache_bytes: 1 << 20, ..ShardSettings::default() };
        let shard = Shard::new(io.clone(), settings);
        let batch = batch(1, 14_000, 1, 1_000);
        let batch = CheckedBatch::check(&batch).unwrap();
        let mut open = Vec::new();
        for number in 0..logs {
            let dir = PathBuf::from(format!("/data/a-{number}"));
            open.push(Log::open(&shard, &dir, LogSettings::default()).await.unwrap().0);
        }
        for _ in 0..3 {
            for log in &open {
                log.append_durably(&batch, STAMP).await.unwrap();
            }
        }
        assert!(shard.cache_stats().evicted > 0, "the cache held all of it");
        shard.cache_stats().used_bytes
    });
    (io.reached_counts().of(Rare::BlockReadBack), used)
}

#[test]
fn a_log_whose_buffer_was_evicted_need_not_read_its_last_block_back() {
    assert_eq!(read_back(100).0, 0, "100 blocks are less than half of the cache");
}

#[test]
fn last_blocks_stay_within_the_cache() {
    let (read_back, used) = read_back(1_000);
    assert!(read_back > 0, "1,000 blocks are more than the cache");
    assert!(used <= 1 << 20, "{used} bytes");
}
