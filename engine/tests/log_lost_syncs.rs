//! A sync that failed: what it was for is lost, though the kernel goes on showing it, and the next
//! sync says that all is well. What a log calls durable is on the disk all the same.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::log::{FlushPolicy, Log, LogSettings, RecoveryReport};
use support::*;

const DIR: &str = "/data/log";
const MARK: &str = "/data/log/ringlog.relaxed";
const BATCHES: u64 = 9;
const RELAXED: FlushPolicy = FlushPolicy::Relaxed { messages: BATCHES, interval: None };

fn relaxed() -> LogSettings {
    LogSettings { durability: RELAXED, ..small() }
}

/// An empty disk with a folder for the log's.
fn disk(seed: u64) -> SimIo {
    let io = SimIo::new(seed);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        io.sync_dir(Path::new("/")).await.unwrap();
    });
    io
}

async fn reopen(io: &SimIo, settings: LogSettings) -> (Log<SimIo>, RecoveryReport) {
    Log::open(&shard(io), Path::new(DIR), settings).await.unwrap()
}

/// A disk on which the first sync of a relaxed log failed.
async fn failed(io: &SimIo) {
    let log = open(&shard(io), Path::new(DIR), relaxed()).await;
    for n in 0..BATCHES {
        if n + 1 == BATCHES {
            io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
        }
        append_only(&log, &batch(1, 700, n, 1)).await;
    }
    assert!(log.durable(at(1_000)).await.is_err());
    assert!(log.failure().is_some() && io.faults_to_come() == 0);
}

/// What the log says is durable is there when the power fails.
fn survives(io: &SimIo, log: Log<SimIo>, images: u64) {
    let durable = log.offsets().durable;
    drop(log);
    for seed in 0..images {
        let image = io.fork(seed).crash();
        image.run(async {
            let (log, _) = reopen(&image, small()).await;
            let end = log.offsets().end;
            assert!(end >= durable, "seed {seed}: {end} is left of {durable}");
            assert_eq!(contents(&log).await.len() as i64, end.value());
        });
    }
}

#[test]
fn what_a_failed_sync_lost_is_durable_once_the_log_was_opened_again() {
    for (seed, settings) in [(1, relaxed()), (2, small())] {
        let io = disk(seed);
        let log = io.run(async {
            failed(&io).await;
            let (log, report) = reopen(&io, settings).await;
            assert!(report.rewritten_bytes > 8 * 700, "{report:?}");
            assert_eq!(contents(&log).await.len() as u64, BATCHES);
            log
        });
        survives(&io, log, 20);
    }
}

#[test]
fn all_that_a_relaxed_log_lost_is_durable_though_it_is_opened_as_a_strict_one() {
    // More than what writes in flight of a strict log can reach.
    let batches = 24;
    let durability = FlushPolicy::Relaxed { messages: batches, interval: None };
    let relaxed = LogSettings { segment_bytes: 64 << 20, durability, ..small() };
    let io = disk(9);
    let log = io.run(async {
        let log = open(&shard(&io), Path::new(DIR), relaxed.clone()).await;
        io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
        for n in 0..batches {
            append_only(&log, &batch(1, 200_000, n, 1)).await;
        }
        assert!(log.durable(at(1_000)).await.is_err());
        let strict = LogSettings { durability: FlushPolicy::EveryBatch, ..relaxed };
        reopen(&io, strict).await.0
    });
    survives(&io, log, 4);
}

#[test]
fn what_a_failed_sync_lost_is_durable_when_a_killed_process_starts_again() {
    let io = disk(3);
    io.run(failed(&io));
    let io = io.kill();
    let log = io.run(async { reopen(&io, relaxed()).await.0 });
    survives(&io, log, 20);
}

#[test]
fn what_recoverys_own_sync_lost_is_durable_after_the_next_try() {
    let mut lost = 0;
    let both = [relaxed(), small()];
    for (settings, operations) in
        both.iter().flat_map(|settings| (10..50).map(move |n| (settings, n)))
    {
        let io = disk(operations);
        let writing = async {
            let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            for n in 0.. {
                append_only(&log, &batch(1, 700, n, 1)).await;
                io.sleep(Duration::from_micros(20)).await;
            }
        };
        assert!(io.run_operations(writing, operations).is_none());
        let io = io.kill();
        let log = io.run(async {
            io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
            let refused = Log::open(&shard(&io), Path::new(DIR), settings.clone()).await;
            lost += usize::from(io.faults_to_come() == 0);
            assert_eq!(io.faults_to_come() > 0, refused.is_ok());
            io.forget_faults();
            reopen(&io, settings.clone()).await.0
        });
        survives(&io, log, 20);
    }
    assert!(lost > 20, "{lost} of 80 syncs failed");
}

#[test]
fn what_a_relaxed_log_may_lose_is_no_damage_because_it_is_strict_by_now() {
    let mut lost = 0;
    for seed in 0..10 {
        let io = disk(100 + seed);
        let never = FlushPolicy::Relaxed { messages: u64::MAX, interval: None };
        let relaxed = LogSettings { segment_bytes: 64 << 20, durability: never, ..small() };
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), relaxed.clone()).await;
            for n in 0..26 {
                append(&log, &batch(1, 200_000, n, 1)).await;
            }
            if seed % 2 == 1 {
                log.delete_before(at(20)).await.unwrap();
            }
        });
        let io = io.crash();
        io.run(async {
            let strict = LogSettings { durability: FlushPolicy::EveryBatch, ..relaxed };
            let (log, _) = reopen(&io, strict).await;
            lost += usize::from(log.offsets().end < at(20) || log.offsets().start == at(20));
            append(&log, &batch(1, 10, 0, 1)).await;
        });
    }
    assert!(lost > 2, "{lost} of 10 logs lost much");
}

#[test]
fn appends_go_on_behind_what_was_written_again() {
    let io = disk(5);
    io.run(async {
        failed(&io).await;
        let (log, _) = reopen(&io, small()).await;
        for n in BATCHES..60 {
            append(&log, &batch(1, 700, n, 1)).await;
        }
        assert_eq!(contents(&log).await.len(), 60);
        log.close().await.unwrap();
        let (log, report) = reopen(&io, small()).await;
        assert!(report.clean && report.rewritten_bytes == 0);
        assert_eq!(contents(&log).await.len(), 60);
    });
}

#[test]
fn a_log_is_marked_as_relaxed_for_as_long_as_it_may_hold_what_was_not_synced() {
    let io = disk(6);
    io.run(async {
        let is_marked = || io.read_file(Path::new(MARK)).is_ok();
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        append(&log, &batch(1, 10, 0, 1)).await;
        assert!(!is_marked());
        log.update_settings(relaxed()).unwrap();
        assert_eq!(log.settings().durability, FlushPolicy::EveryBatch, "not marked yet");
        append(&log, &batch(1, 10, 1, 1)).await;
        while log.settings().durability != RELAXED {
            append(&log, &batch(1, 10, 2, 1)).await;
        }
        assert!(is_marked());
        log.update_settings(small()).unwrap();
        log.update_settings(relaxed()).unwrap();
        assert_eq!(log.settings().durability, RELAXED, "marked already");
        drop(log);
        let (log, report) = reopen(&io, small()).await;
        assert!(!is_marked() && report.rewritten_bytes > 0);
        drop(log);
        let (log, _) = reopen(&io, relaxed()).await;
        assert!(is_marked() && log.settings().durability == RELAXED);
    });
}

#[test]
fn a_policy_that_was_taken_back_before_the_mark_was_made_never_holds() {
    let io = disk(7);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        append(&log, &batch(1, 10, 0, 1)).await;
        log.update_settings(relaxed()).unwrap();
        log.update_settings(small()).unwrap();
        while io.read_file(Path::new(MARK)).is_err() {
            append(&log, &batch(1, 10, 1, 1)).await;
        }
        append(&log, &batch(1, 10, 2, 1)).await;
        assert_eq!(log.settings(), small());
    });
}

#[test]
fn a_log_that_cannot_be_marked_waits_for_the_disk_with_every_batch() {
    let io = disk(8);
    io.run(async {
        // An empty log has no file but the mark.
        io.fail_once(Some(Operation::Open), 0, ErrorKind::StorageFull);
        let log = open(&shard(&io), Path::new(DIR), relaxed()).await;
        assert_eq!(io.faults_to_come(), 0);
        assert_eq!(log.settings().durability, FlushPolicy::EveryBatch);
        append(&log, &batch(1, 10, 1, 1)).await;
        io.fail_once(Some(Operation::Open), 0, ErrorKind::StorageFull);
        log.update_settings(relaxed()).unwrap();
        while io.faults_to_come() > 0 {
            append(&log, &batch(1, 10, 2, 1)).await;
        }
        append(&log, &batch(1, 10, 3, 1)).await;
        assert_eq!(log.settings().durability, FlushPolicy::EveryBatch);
        log.update_settings(relaxed()).unwrap();
        while log.settings().durability != RELAXED {
            append(&log, &batch(1, 10, 4, 1)).await;
        }
    });
}
