//! Reads of what is not in memory any more: bounded files and indexes, and read-ahead.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::error::ReadError;
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::log::{Log, LogSettings};
use ringlog_engine::offset::{Offset, Timestamp};
use ringlog_engine::shard::{Shard, ShardSettings};
use support::*;

const DIR: &str = "/data/log";
const FIRST: &str = "/data/log/00000000000000000000.log";
const MIB: usize = 1024 * 1024;

/// One segment for everything.
fn large() -> LogSettings {
    LogSettings { segment_bytes: 256 << 20, ..small() }
}

/// Appends `batches` batches of one record of `bytes` bytes, many in flight.
async fn fill<I: Io>(log: &Log<I>, batches: u64, bytes: usize) {
    for n in 0..batches {
        append_only(log, &batch(1, bytes, n, i64::try_from(n).unwrap())).await;
    }
    log.durable(log.offsets().end).await.unwrap();
}

/// A log that was filled and opened again, so that none of it is in memory.
async fn filled<I: Io>(
    shard: &Shard<I>,
    dir: &Path,
    settings: LogSettings,
    batches: u64,
    bytes: usize,
) -> Log<I> {
    let log = open(shard, dir, settings.clone()).await;
    fill(&log, batches, bytes).await;
    log.close().await.unwrap();
    drop(log);
    open(shard, dir, settings).await
}

/// Reads on from `from`, in steps of `step` bytes, and checks what comes against how it was
/// filled. Gives the offset reached.
async fn read_on<I: Io>(log: &Log<I>, mut from: Offset, steps: usize, step: usize) -> Offset {
    let end = log.offsets().durable;
    for _ in 0..steps {
        let slices = log.read(from, end, step, true).await.unwrap();
        for piece in slices.iter() {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                let (found, after) = CheckedBatch::check_first(rest).unwrap();
                assert_eq!(found.header().base_offset, from.value(), "log.contiguous");
                assert_eq!(found.header().max_timestamp, ms(from.value()));
                from = from.plus(1);
                rest = after;
            }
        }
    }
    from
}

async fn read_all<I: Io>(log: &Log<I>, step: usize) {
    let mut from = log.offsets().start;
    while from < log.offsets().durable {
        let reached = read_on(log, from, 1, step).await;
        assert!(reached > from, "nothing at {from}");
        from = reached;
    }
}

#[test]
fn files_and_indexes_stay_bounded_under_random_reads_over_a_thousand_segments() {
    let io = SimIo::new(5);
    io.run(async {
        let settings = LogSettings { segment_bytes: 4096, index_interval_bytes: 100, ..small() };
        let bounds =
            ShardSettings { open_files_max: 16, index_cache_bytes: 4_000, ..cold_settings() };
        let shard = Shard::new(io.clone(), bounds);
        let log = filled(&shard, Path::new(DIR), settings, 5_500, 700).await;
        assert!(log.segment_count() > 1_000, "{}", log.segment_count());
        let end = log.offsets().durable;
        for _ in 0..3_000 {
            let wanted = i64::try_from(io.random() % 5_500).unwrap();
            let bytes = log.read(at(wanted), end, 1, true).await.unwrap().to_vec();
            let found = CheckedBatch::check(&bytes).unwrap();
            assert_eq!(found.header().base_offset, wanted);
            let stats = shard.segment_stats();
            assert!(stats.open_files <= 16, "{stats:?}");
            assert!(stats.index_bytes <= 4_000, "{stats:?}");
        }
        let stats = shard.segment_stats();
        assert!(stats.files_opened > 1_000 && stats.indexes_loaded > 1_000, "{stats:?}");
        assert!(stats.open_files == 16 && stats.index_bytes > 2_000, "{stats:?}");
        drop(log);
        let stats = shard.segment_stats();
        assert_eq!((stats.open_files, stats.index_bytes), (0, 0), "a log takes its own along");
    });
}

#[test]
fn what_fits_is_opened_and_loaded_once() {
    let io = SimIo::new(5);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), small(), 200, 1_000).await;
        for _ in 0..5 {
            for n in 0..200 {
                log.read(at(n * 7 % 200), at(200), 1, true).await.unwrap();
            }
        }
        let (stats, segments) = (shard.segment_stats(), log.segment_count() as u64);
        assert_eq!((stats.files_opened, stats.indexes_loaded), (segments, segments - 1));
    });
}

#[test]
fn where_no_more_files_may_be_open_those_that_nobody_uses_are_closed() {
    let io = SimIo::new(5);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), small(), 200, 1_000).await;
        let end = log.offsets().durable;
        log.read(at(0), end, 1, true).await.unwrap();
        log.read(at(199), end, 1, true).await.unwrap();
        assert_eq!(shard.segment_stats().open_files, 2);
        io.fail_once(Some(Operation::Open), 2, ErrorKind::OutOfMemory);
        log.read(at(100), end, 1, true).await.unwrap();
        assert_eq!(shard.segment_stats().open_files, 2, "one was closed, one opened");
        // With nothing to close, the reader hears of it.
        let log = filled(&cold_shard(&io), Path::new("/data/other"), small(), 1, 10).await;
        io.fail_once(Some(Operation::Open), 0, ErrorKind::OutOfMemory);
        let failed = log.read(at(0), at(1), 1, true).await;
        assert!(matches!(failed, Err(ReadError::Io(_))), "{failed:?}");
        log.read(at(0), at(1), 1, true).await.unwrap();
    });
}

#[test]
fn a_segment_deleted_under_a_reader_is_seen_through_or_out_of_range() {
    for seed in 0..200 {
        let io = SimIo::new(seed);
        io.run(async {
            let shard = cold_shard(&io);
            let log = filled(&shard, Path::new(DIR), small(), 300, 1_000).await;
            let from = read_on(&log, at(0), usize::try_from(seed % 8).unwrap(), 10_000).await;
            let (end, reader) = (log.offsets().durable, log.clone());
            let reads = async move {
                let mut from = from;
                loop {
                    match reader.read(from, end, 10_000, true).await {
                        Ok(slices) => {
                            let first = header(&slices.to_vec());
                            assert_eq!(first.base_offset, from.value());
                            from = from.plus(u32::try_from(slices.len() / 1_000).unwrap().max(1));
                            if from >= end {
                                return;
                            }
                        }
                        Err(ReadError::OutOfRange { start, .. }) => {
                            assert!(start > from);
                            from = start;
                        }
                        Err(error) => panic!("{error} (seed {seed})"),
                    }
                }
            };
            io.spawn(reads);
            for n in 0..10 {
                io.sleep(Duration::from_micros(io.random() % 500)).await;
                log.delete_before(at(n * 29)).await.unwrap();
            }
            assert!(shard.segment_stats().open_files <= log.segment_count());
            io.sleep(Duration::from_secs(1)).await;
        });
    }
}

#[test]
fn what_stays_is_readable_while_the_rest_is_cut_off() {
    for seed in 0..40 {
        let io = SimIo::new(seed);
        io.run(async {
            let shard = cold_shard(&io);
            let log = filled(&shard, Path::new(DIR), small(), 200, 1_000).await;
            // Little in the last segment.
            while log.offsets().end < at(201 + i64::try_from(seed % 40).unwrap()) {
                let n = log.offsets().end.value();
                append(&log, &batch(1, 1_000, 1, n)).await;
            }
            for _ in 0..4 {
                let (log, io) = (log.clone(), io.clone());
                let clock = io.clone();
                io.spawn(async move {
                    for _ in 0..300 {
                        let wanted = at(i64::try_from(clock.random() % 100).unwrap());
                        let reached = read_on(&log, wanted, 1, 3_000).await;
                        assert!(reached > wanted, "nothing at {wanted}, seed {seed}");
                    }
                });
            }
            io.sleep(Duration::from_micros(seed)).await;
            log.truncate(at(100)).await.unwrap();
            io.sleep(Duration::from_secs(1)).await;
        });
    }
}

#[test]
fn a_truncation_under_read_ahead_leaves_nothing_of_the_old_end() {
    for seed in 0..60 {
        let io = SimIo::new(seed);
        io.run(async {
            let shard = cold_shard(&io);
            let settings = if seed % 2 == 0 { large() } else { small() };
            let log = open(&shard, Path::new(DIR), settings).await;
            let bytes = usize::try_from(500 + seed * 50).unwrap();
            for n in 0..400 {
                append_only(&log, &batch(1, bytes, n, 1)).await;
            }
            log.durable(at(400)).await.unwrap();
            // Far enough for pieces to be under way or ready.
            let mut from = at(0);
            for _ in 0..3 + seed % 3 {
                let slices = log.read(from, at(400), 4 * bytes, true).await.unwrap();
                let count = slices.len() / batch(1, bytes, 0, 1).len();
                from = from.plus(u32::try_from(count).unwrap());
            }
            if seed % 4 < 2 {
                io.sleep(Duration::from_millis(50)).await;
            }
            let cut = at(from.value() + i64::try_from(seed % 7).unwrap());
            assert_eq!(log.truncate(cut).await.unwrap(), cut);
            // Other batches at the same offsets and positions.
            for n in cut.value()..400 {
                append_only(&log, &batch(1, bytes, 10_000 + u64::try_from(n).unwrap(), 2)).await;
            }
            log.durable(at(400)).await.unwrap();
            while from < at(400) {
                let read = log.read(from, at(400), 4 * bytes, true).await.unwrap().to_vec();
                let mut rest: &[u8] = &read;
                while !rest.is_empty() {
                    let (found, after) = CheckedBatch::check_first(rest).unwrap();
                    let expected = if from < cut { 1 } else { 2 };
                    let time = found.header().max_timestamp;
                    assert_eq!(time, Timestamp::from_millis(expected), "at {from}, seed {seed}");
                    from = from.plus(1);
                    rest = after;
                }
            }
        });
    }
}

#[test]
fn what_a_truncation_removes_is_closed_and_forgotten() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), small(), 300, 1_000).await;
        read_all(&log, 2_000).await;
        let before = shard.segment_stats();
        assert_eq!(before.open_files, log.segment_count());
        log.truncate(at(100)).await.unwrap();
        let kept = shard.segment_stats();
        assert!(kept.open_files < log.segment_count(), "{kept:?}");
        assert!(kept.index_bytes <= before.index_bytes / 3 + 1, "{kept:?} of {before:?}");
        // Other files of the same names.
        for n in 100..300 {
            append_only(&log, &batch(1, 1_000, n + 1_000, i64::try_from(n).unwrap())).await;
        }
        log.durable(at(300)).await.unwrap();
        read_all(&log, 2_000).await;
        log.delete().await.unwrap();
        let stats = shard.segment_stats();
        assert_eq!((stats.open_files, stats.index_bytes), (0, 0));
        assert_eq!(shard.read_ahead_stats().cursors, 0);
    });
}

#[test]
fn a_sequential_reader_finds_the_next_bytes_ready() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), large(), 600, 16_000).await;
        for step in [MIB, 100_000, 20_000] {
            let before = shard.read_ahead_stats();
            let mut from = at(0);
            let mut reads = 0;
            while from < at(600) {
                from = read_on(&log, from, 1, step).await;
                reads += 1;
                let stats = shard.read_ahead_stats();
                assert!(stats.used_bytes <= 2 * MIB, "two pieces a reader: {stats:?}");
            }
            let stats = shard.read_ahead_stats();
            assert_eq!(stats.served - before.served, reads - 2, "the first two in {step} bytes");
            // 9.2 MiB, which pieces cover once, but for the overlap of a batch.
            assert!(stats.started - before.started <= 11, "{stats:?}");
        }
    });
}

#[test]
fn read_ahead_crosses_segments_and_reaches_the_active_one() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let settings = LogSettings { segment_bytes: 300_000, ..small() };
        let log = filled(&shard, Path::new(DIR), settings, 200, 10_000).await;
        assert!(log.segment_count() > 5);
        read_all(&log, MIB).await;
        let stats = shard.read_ahead_stats();
        assert_eq!(stats.served, log.segment_count() as u64 - 2, "{stats:?}");
        // A reader at the end goes on with what comes then.
        let from = log.offsets().end;
        for n in 200..260 {
            append(&log, &batch(1, 10_000, n, i64::try_from(n).unwrap())).await;
        }
        let reached = read_on(&log, from, 4, 25_000).await;
        assert_eq!(reached, at(207), "two batches each, but for a segment's end");
        read_all(&log, 25_000).await;
    });
}

#[test]
fn random_readers_are_not_read_ahead_for() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), large(), 2_000, 1_000).await;
        for n in 0..3_000 {
            log.read(at(n * 37 % 1_999), at(2_000), 1_500, true).await.unwrap();
        }
        let stats = shard.read_ahead_stats();
        assert_eq!((stats.started, stats.used_bytes), (0, 0), "{stats:?}");
        assert!(stats.cursors <= 1_024);
    });
}

#[test]
fn damage_read_ahead_is_reported_when_the_reader_gets_there_and_not_before() {
    for damaged in [40_i64, 41, 70, 99] {
        let io = SimIo::new(1);
        io.run(async {
            let shard = cold_shard(&io);
            let log = filled(&shard, Path::new(DIR), large(), 200, 20_000).await;
            let length = batch(1, 20_000, 0, 1).len() as u64;
            let position = u64::try_from(damaged).unwrap() * length;
            io.flip_bit(Path::new(FIRST), position + 5_000).unwrap();
            let mut from = at(0);
            let failed = loop {
                let before = from;
                match log.read(from, at(200), 90_000, true).await {
                    Ok(_) => from = read_on(&log, from, 1, 90_000).await,
                    Err(error) => break error,
                }
                assert!(from > before);
            };
            assert_eq!(from, at(damaged), "everything before it was read");
            let ReadError::Corrupt { path, position: found, .. } = failed else { panic!() };
            assert_eq!((path, found), (PathBuf::from(FIRST), position));
            assert!(shard.read_ahead_stats().served > 3);
            let after = read_on(&log, at(damaged + 1), 3, 90_000).await;
            assert_eq!(after, at(damaged + 13), "what follows is still to be had");
        });
    }
}

#[test]
fn a_read_ahead_that_failed_is_read_again_by_the_reader() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), large(), 300, 16_000).await;
        let from = read_on(&log, at(0), 1, MIB).await;
        // The second read's own goes well, those ahead of it do not.
        io.fail_once(Some(Operation::Read), 1, ErrorKind::Other);
        io.fail_once(Some(Operation::Read), 1, ErrorKind::Other);
        let from = read_on(&log, from, 1, MIB).await;
        io.sleep(Duration::from_secs(1)).await;
        read_on(&log, from, 2, MIB).await;
        read_all(&log, MIB).await;
    });
}

#[test]
fn read_ahead_gives_way_to_whoever_wants_memory() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), large(), 600, 16_000).await;
        read_on(&log, at(0), 3, MIB).await;
        io.sleep(Duration::from_secs(1)).await;
        assert_eq!(shard.read_ahead_stats().used_bytes, 2 * MIB);
        // All of the pool, which there is only without what was read ahead.
        let all = shard.pool().budget() / MIB;
        let mut buffers = Vec::new();
        for _ in 0..all {
            buffers.push(shard.pool().acquire(MIB).await);
        }
        assert_eq!(shard.read_ahead_stats().used_bytes, 0);
        buffers.truncate(all - 1);
        // With one buffer left, reads work and nothing is read ahead.
        let started = shard.read_ahead_stats().started;
        read_all(&log, MIB / 2).await;
        assert_eq!(shard.read_ahead_stats().started, started);
        drop(buffers);
        read_all(&log, MIB / 2).await;
        assert!(shard.read_ahead_stats().started > started);
    });
}

#[test]
fn somebody_who_waits_for_memory_gets_what_is_being_read_ahead() {
    let io = SimIo::new(1);
    io.set_latency(Duration::from_millis(1), Duration::from_millis(1));
    io.run(async {
        let shard = cold_shard(&io);
        let log = filled(&shard, Path::new(DIR), large(), 600, 16_000).await;
        read_on(&log, at(0), 2, MIB).await;
        assert_eq!(shard.read_ahead_stats().used_bytes, 2 * MIB, "both reads are under way");
        let mut buffers = Vec::new();
        while shard.pool().used() < shard.pool().budget() {
            buffers.push(shard.pool().acquire(MIB).await);
        }
        // Must not wait for a reader that may never come.
        buffers.push(shard.pool().acquire(MIB).await);
        buffers.push(shard.pool().acquire(MIB).await);
        assert_eq!(shard.read_ahead_stats().used_bytes, 0);
    });
}

#[test]
fn readers_beyond_the_budget_read_for_themselves_and_take_nothing_from_others() {
    let io = SimIo::new(1);
    io.run(async {
        let bounds = ShardSettings { read_ahead_bytes: 3 * MIB, ..cold_settings() };
        let shard = Shard::new(io.clone(), bounds);
        let mut readers = Vec::new();
        for n in 0..4 {
            let dir = format!("/data/log-{n}");
            let log = filled(&shard, Path::new(&dir), large(), 400, 16_000).await;
            readers.push((log, at(0)));
        }
        for _ in 0..10 {
            for (log, from) in &mut readers {
                let reached = read_on(log, *from, 1, MIB / 2).await;
                assert!(reached > *from);
                *from = reached;
                assert!(shard.read_ahead_stats().used_bytes <= 3 * MIB);
            }
        }
        let stats = shard.read_ahead_stats();
        assert!(stats.served >= 8, "somebody is served: {stats:?}");
        assert!(stats.started <= stats.served + 3, "nothing is read to be thrown away: {stats:?}");
        // Those who stay away make room after a while.
        io.sleep(Duration::from_secs(2)).await;
        let (log, from) = readers.pop().unwrap();
        let before = shard.read_ahead_stats().served;
        read_on(&log, from, 4, MIB / 2).await;
        let stats = shard.read_ahead_stats();
        assert!(stats.served >= before + 2, "{stats:?}");
    });
}

#[test]
fn a_read_dropped_in_the_middle_leaves_nothing_behind() {
    for operations in 0..40 {
        let io = SimIo::new(operations);
        let (shard, log) = io.run(async {
            let shard = cold_shard(&io);
            let log = filled(&shard, Path::new(DIR), large(), 300, 16_000).await;
            (shard, log)
        });
        let read = async {
            let from = read_on(&log, at(0), 2, MIB).await;
            read_on(&log, from, 10, 300_000).await;
        };
        let _ = io.run_operations(Box::pin(read), operations);
        io.run(async {
            read_all(&log, MIB).await;
            io.sleep(Duration::from_secs(1)).await;
        });
        drop(log);
        let stats = shard.read_ahead_stats();
        assert_eq!((stats.used_bytes, stats.cursors), (0, 0), "after {operations} operations");
        assert_eq!(shard.pool().used(), 0, "after {operations} operations");
    }
}

#[test]
fn many_readers_of_one_log_in_step_all_get_everything() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        io.run(async {
            let shard = cold_shard(&io);
            let log = filled(&shard, Path::new(DIR), large(), 400, 16_000).await;
            for _ in 0..5 {
                let (log, io) = (log.clone(), io.clone());
                let reader = io.clone();
                io.spawn(async move {
                    let mut from = at(0);
                    while from < at(400) {
                        from = read_on(&log, from, 1, 700_000).await;
                        reader.sleep(Duration::from_micros(reader.random() % 300)).await;
                    }
                });
            }
            io.sleep(Duration::from_secs(5)).await;
            let stats = shard.read_ahead_stats();
            assert!(stats.served > 10, "{stats:?}");
        });
    }
}

#[test]
fn a_real_disk_is_read_ahead_and_read_right() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let io = UringIo::plain(256).unwrap();
    io.block_on(Box::pin(async {
        let shard = cold_shard(&io);
        let settings = LogSettings { segment_bytes: 5 << 20, ..small() };
        let log = open(&shard, &folder.path().join("log"), settings).await;
        fill(&log, 1_000, 12_000).await;
        for step in [MIB, 64 * 1024] {
            read_all(&log, step).await;
        }
        let stats = shard.read_ahead_stats();
        assert!(stats.served > 180, "{stats:?}");
    }));
    io.stop_tasks();
}
