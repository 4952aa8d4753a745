//! The hot path allocates nothing once it is warm, as the documentation of the log says.
//!
//! On the real backend: the simulated disk allocates for itself.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod allocation_support;
mod support;

use std::path::Path;

use allocation_support::count;
use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::{Shard, ShardSettings};
use support::*;

/// Batches that make everything as large as it gets: the pool, the cache, which then evicts with
/// each new buffer, the queues, the slots of the ring.
const WARM: usize = 3_000;
/// Batches that are counted.
const MEASURED: usize = 200;

fn settings(durability: FlushPolicy) -> LogSettings {
    // An index grows by doubling, which is a few allocations a segment: here it has one entry.
    LogSettings {
        durability,
        index_interval_bytes: 1 << 30,
        segment_bytes: 1 << 30,
        retention_age_max: None,
        ..LogSettings::default()
    }
}

/// How often a file of `bytes` bytes has grown: in steps that double from 64 KiB to 16 MiB. Each
/// costs a few allocations, so none may fall into what is counted.
fn growth(bytes: u64) -> u64 {
    let largest = 16 << 20;
    if bytes < largest { u64::from((bytes >> 16).max(1).ilog2()) } else { 99 + bytes / largest }
}

/// Fifty logs that share a journal, each appended to until it is warm; then `measure` has one of
/// them, and the others' batches on their way.
fn on_a_warm_journal<T>(measure: impl AsyncFnOnce(&[Log<UringIo>], &CheckedBatch<'_>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let io = UringIo::plain(64).unwrap();
    let output = io.block_on(async {
        let memory = ShardSettings {
            buffer_pool_bytes: 8 << 20,
            cache_bytes: 2 << 20,
            ..ShardSettings::default()
        };
        // So little memory that batches are placed all along.
        let journal = JournalSettings::new(folder.path().join("journal"), folder.path());
        let (shard, _) = Shard::open(io.clone(), memory, journal).await.unwrap();
        // All of the pool, in as many buffers as it can be cut into.
        drop(std::iter::from_fn(|| shard.pool().try_acquire(1)).collect::<Vec<_>>());
        let batch = batch(1, 100, 7, 1_000);
        let batch = CheckedBatch::check(&batch).unwrap();
        let mut logs = Vec::new();
        for number in 0..50 {
            let dir = folder.path().join(format!("log-{number}"));
            logs.push(open(&shard, &dir, settings(FlushPolicy::EveryBatch)).await);
        }
        for log in &logs {
            append_burst(log).await;
        }
        for _ in 0..WARM / 50 {
            append_to_all(&logs, &batch).await;
        }
        measure(&logs, &batch).await
    });
    io.stop_tasks();
    output
}

/// Batches that are several times what a log keeps in full buffers before these are put into its
/// segment, so that its queue of them gets longer than by appends that are waited for.
const BURST: usize = 256;

/// Appends so much to a log at once that none of it is in its segment meanwhile. How long a queue
/// gets in what is counted depends on how slow the disk is just then.
async fn append_burst(log: &Log<UringIo>) {
    let batch = batch(1, 3_500, 7, 1_000);
    let batch = CheckedBatch::check(&batch).unwrap();
    for _ in 0..BURST {
        let reservation = log.reserve(batch.bytes().len()).await.unwrap();
        log.append(reservation, &batch, STAMP).unwrap();
    }
    log.durable(log.offsets().end).await.unwrap();
}

/// Appends a batch to each log, and then waits for all of them.
async fn append_to_all(logs: &[Log<UringIo>], batch: &CheckedBatch<'_>) {
    for log in logs {
        let reservation = log.reserve(batch.bytes().len()).await.unwrap();
        log.append(reservation, batch, STAMP).unwrap();
    }
    for log in logs {
        log.durable(log.offsets().end).await.unwrap();
    }
}

fn on_a_warm_log<T>(
    durability: FlushPolicy,
    bytes: usize,
    measure: impl AsyncFnOnce(&Log<UringIo>, &CheckedBatch<'_>) -> T,
) -> T {
    let folder = tempfile::tempdir().unwrap();
    let io = UringIo::plain(64).unwrap();
    let output = io.block_on(async {
        let memory = ShardSettings {
            buffer_pool_bytes: 8 << 20,
            cache_bytes: 2 << 20,
            ..ShardSettings::default()
        };
        let shard = Shard::new(io.clone(), memory);
        let log = open(&shard, Path::new(folder.path()), settings(durability)).await;
        let batch = batch(1, bytes, 7, 1_000);
        let batch = CheckedBatch::check(&batch).unwrap();
        for _ in 0..WARM {
            log.append_durably(&batch, STAMP).await.unwrap();
        }
        let before = growth(log.size_bytes());
        let output = measure(&log, &batch).await;
        assert_eq!(growth(log.size_bytes()), before, "the file grew; let other sizes be measured");
        output
    });
    io.stop_tasks();
    output
}

/// Reads the log's last `batches` from memory.
fn read_tail(log: &Log<UringIo>, batches: i64) -> usize {
    let end = log.offsets().durable;
    let from = Offset::new(end.value() - batches).unwrap();
    log.read_cached(from, end, 1 << 20, true).unwrap().len()
}

async fn append_durably(durability: FlushPolicy, log: &Log<UringIo>, batch: &CheckedBatch<'_>) {
    let counted = count(async || {
        for _ in 0..MEASURED {
            log.append_durably(batch, STAMP).await.unwrap();
        }
    })
    .await;
    counted.expect_at_most(0, &format!("{MEASURED} appends under {durability:?}"));
}

#[test]
fn an_append_that_is_waited_for_allocates_nothing() {
    let relaxed = FlushPolicy::Relaxed { messages: 100, interval: None };
    for durability in [FlushPolicy::EveryBatch, relaxed] {
        for bytes in [100, 10_000] {
            on_a_warm_log(durability, bytes, async |log, batch| {
                append_durably(durability, log, batch).await;
            });
        }
    }
}

#[test]
fn appends_that_share_a_write_allocate_nothing() {
    on_a_warm_log(FlushPolicy::EveryBatch, 100, async |log, batch| {
        let group = async || {
            let mut end = Offset::ZERO;
            for _ in 0..20 {
                let reservation = log.reserve(batch.bytes().len()).await.unwrap();
                end = log.append(reservation, batch, STAMP).unwrap().end_offset;
            }
            log.durable(end).await.unwrap();
        };
        for _ in 0..10 {
            group().await;
        }
        let counted = count(async || {
            for _ in 0..MEASURED / 20 {
                group().await;
            }
        })
        .await;
        counted.expect_at_most(0, "groups of 20 appends");
    });
}

#[test]
fn appends_that_go_through_a_journal_allocate_nothing() {
    on_a_warm_journal(async |logs, batch| {
        let steps = || [growth(logs[0].size_bytes()), growth(logs[1].size_bytes())];
        let before = steps();
        while steps()[0] == before[0] {
            logs[0].append_durably(batch, STAMP).await.unwrap();
        }
        let alone = count(async || {
            for _ in 0..MEASURED {
                logs[0].append_durably(batch, STAMP).await.unwrap();
            }
        })
        .await;
        alone.expect_at_most(0, &format!("{MEASURED} appends to one log of a journal"));
        while steps()[1] == before[1] {
            append_to_all(logs, batch).await;
        }
        let together = count(async || {
            for _ in 0..MEASURED / 50 {
                append_to_all(logs, batch).await;
            }
        })
        .await;
        together.expect_at_most(0, &format!("{MEASURED} appends to fifty logs of a journal"));
    });
}

#[test]
fn a_read_at_the_tail_allocates_once_a_buffer_and_never_again() {
    on_a_warm_log(FlushPolicy::EveryBatch, 100, async |log, _| {
        let first = count(async || read_tail(log, 1)).await;
        first.expect_at_most(1, "the first read of a buffer");
        let again = count(async || (0..MEASURED).map(|_| read_tail(log, 1)).sum::<usize>()).await;
        again.expect_at_most(0, "further reads of a buffer");
        assert!(again.output > 0);
    });
}

#[test]
fn an_append_and_a_read_of_it_allocate_what_the_buffer_lends_and_no_more() {
    on_a_warm_log(FlushPolicy::EveryBatch, 100, async |log, batch| {
        let both = async || {
            log.append_durably(batch, STAMP).await.unwrap();
            read_tail(log, 1)
        };
        for _ in 0..100 {
            both().await;
        }
        let counted = count(async || {
            for _ in 0..MEASURED {
                both().await;
            }
        })
        .await;
        // One buffer an append, as each is waited for, and one owner of the shared view a buffer.
        counted.expect_at_most(MEASURED, "appends, each read once");
    });
}
