//! Opening after a crash: what a checkpoint saves, that it changes nothing else, and that a stale
//! or damaged one harms nobody.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::batch::{CheckedBatch, ProducerId};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::{Damage, OpenError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::log::{FlushPolicy, Log, LogSettings, RecoveryReport, Stamp};
use ringlog_engine::offset::Offset;
use ringlog_engine::shard::Shard;
use support::*;

const DIR: &str = "/data/log";
const FIRST: &str = "/data/log/00000000000000000000.log";
const CHECKPOINT: &str = "/data/log/ringlog.checkpoint";
const CATALOG: &str = "/data/log/ringlog.segments";

const INTERVAL: u64 = 16 * 1024;
/// Bytes of the batches that the tests append: one record of a thousand bytes.
const BATCH_BYTES: usize = 1_000;

/// One segment, with a checkpoint every few batches.
fn settings() -> LogSettings {
    LogSettings { segment_bytes: 64 << 20, checkpoint_bytes: INTERVAL, ..small() }
}

/// What an open scans at most (see `docs/limits.md`): two intervals and a few batches.
fn scanned_max() -> u64 {
    2 * INTERVAL + 4 * numbered(0).len() as u64
}

/// A batch of a producer's own, whose content and timestamp follow from its number.
fn numbered(n: u64) -> Vec<u8> {
    batch(1, BATCH_BYTES, n, i64::try_from(n).unwrap())
}

fn disk(seed: u64) -> SimIo {
    let io = SimIo::new(seed);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        io.sync_dir(Path::new("/")).await.unwrap();
    });
    io
}

async fn fill(log: &Log<SimIo>, numbers: std::ops::Range<u64>) {
    for n in numbers {
        append(log, &numbered(n)).await;
    }
}

async fn reopen(io: &SimIo, settings: &LogSettings) -> (Log<SimIo>, RecoveryReport) {
    Log::open(&cold_shard(io), Path::new(DIR), settings.clone()).await.unwrap()
}

/// A shard, with a small journal or without one.
async fn either_shard(io: &SimIo, journaled: bool) -> Shard<SimIo> {
    if journaled { journaled_shard(io, 4, 0).await } else { cold_shard(io) }
}

fn there(io: &SimIo, path: &str) -> bool {
    io.read_file(Path::new(path)).is_ok()
}

/// A log of `batches` batches whose process was killed.
fn killed(batches: u64) -> SimIo {
    killed_on(batches, false)
}

fn killed_on(batches: u64, journaled: bool) -> SimIo {
    let io = disk(batches);
    io.run(async {
        let log = open(&either_shard(&io, journaled).await, Path::new(DIR), settings()).await;
        fill(&log, 0..batches).await;
    });
    io.kill()
}

/// Everything an open finds out, for two opens to be compared.
async fn findings(log: &Log<SimIo>) -> impl PartialEq + std::fmt::Debug + use<> {
    let offsets = log.offsets();
    let mut found = Vec::new();
    for time in (0..400).step_by(7) {
        // Copies, so that no buffer of the pool is held.
        let batch = log.find_timestamp(ms(time), offsets.durable).await.unwrap();
        found.push(batch.map(|batch| batch.to_vec()));
    }
    let latest = log.max_timestamp(offsets.durable).await.unwrap();
    let latest = latest.map(|(time, batch)| (time, batch.to_vec()));
    let producers: Vec<_> = (0..4).map(|id| log.producer(ProducerId::new(id))).collect();
    // When a producer was last heard of is the time of the open for those that were replayed.
    let producers: Vec<_> = producers
        .into_iter()
        .map(|state| state.map(|state| (state.epoch, state.last_batch().copied())))
        .collect();
    (offsets, contents(log).await, log.epochs(), log.size_bytes(), producers, found, latest)
}

#[test]
fn an_open_scans_no_more_than_the_bound_and_finds_everything() {
    let lives = [1, 14, 16, 40, 200, 500].map(|batches| [(batches, false), (batches, true)]);
    for (batches, journaled) in lives.into_iter().flatten() {
        let io = killed_on(batches, journaled);
        assert_eq!(there(&io, CHECKPOINT), batches > 17);
        io.run(async {
            let shard = either_shard(&io, journaled).await;
            let opened = Log::open(&shard, Path::new(DIR), settings()).await;
            let (log, report) = opened.unwrap();
            assert!(report.scanned_bytes <= scanned_max(), "{batches}: {report:?}");
            assert_eq!((report.clean, report.cut), (false, None));
            assert_eq!(contents(&log).await.len() as u64, batches);
            fill(&log, batches..batches + 50).await;
            assert_eq!(contents(&log).await.len() as u64, batches + 50);
        });
    }
}

/// A busy life with epochs, producers, rolls and truncations; `confirmed` is where the log ended
/// when all was durable the last time.
async fn live(
    io: SimIo,
    settings: LogSettings,
    confirmed: &Cell<Offset>,
    seed: u64,
    journaled: bool,
) {
    let log = open(&either_shard(&io, journaled).await, Path::new(DIR), settings).await;
    for n in 0..300 {
        let stamp = Stamp { leader_epoch: LeaderEpoch::new(n / 60), ..Stamp::default() };
        let bytes = match n % 5 {
            0 => sequenced(i64::from(n % 4), 0, n / 20, 1),
            _ => numbered(u64::try_from(n).unwrap()),
        };
        let checked = CheckedBatch::check(&bytes).unwrap();
        let reservation = log.reserve(bytes.len()).await.unwrap();
        let appended = log.append(reservation, &checked, stamp).unwrap();
        let point = seed.wrapping_add(n.unsigned_abs().into());
        if point.is_multiple_of(9) {
            log.durable(appended.end_offset).await.unwrap();
            confirmed.set(appended.end_offset);
        }
        if point.is_multiple_of(83) {
            let end = at(log.offsets().end.value() * 2 / 3);
            confirmed.set(confirmed.get().min(end));
            log.truncate(end).await.unwrap();
        }
        if point.is_multiple_of(131) {
            log.roll().await.unwrap();
        }
    }
}

#[test]
fn an_open_from_a_checkpoint_finds_what_a_scan_of_everything_finds() {
    let mut with_checkpoint = 0;
    for seed in 0..120 {
        let relaxed = FlushPolicy::Relaxed { messages: 1 + seed % 40, interval: None };
        let durability = if seed % 3 == 0 { relaxed } else { FlushPolicy::EveryBatch };
        let settings = LogSettings { durability, ..settings() };
        let io = disk(seed);
        io.set_latency(Duration::from_micros(10), Duration::from_micros(10 + 40 * (seed % 7)));
        let confirmed = Cell::new(Offset::ZERO);
        let journaled = seed % 5 > 2;
        let life = live(io.clone(), settings.clone(), &confirmed, seed, journaled);
        let life = Box::pin(life);
        let _ = io.run_operations(life, 11 * seed);
        let power_lost = seed % 2 == 0;
        let io = if power_lost { io.crash() } else { io.kill() };
        let plain = io.fork(seed);
        if plain.run(plain.remove_file(Path::new(CHECKPOINT))).is_ok() {
            with_checkpoint += 1;
        }
        let expected = plain.run(async {
            let shard = either_shard(&plain, journaled).await;
            findings(&open(&shard, Path::new(DIR), settings.clone()).await).await
        });
        io.run(async {
            let shard = either_shard(&io, journaled).await;
            let opened = Log::open(&shard, Path::new(DIR), settings.clone()).await;
            let (log, report) = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            if there(&io, CHECKPOINT) {
                assert!(report.scanned_bytes <= scanned_max(), "seed {seed}: {report:?}");
            }
            assert_eq!(findings(&log).await, expected, "seed {seed}");
            let end = log.offsets().end;
            if durability == FlushPolicy::EveryBatch || !power_lost {
                assert!(end >= confirmed.get(), "log.keeps_acknowledged: seed {seed}");
            }
            let stamp = Stamp { leader_epoch: log.latest_epoch(), ..Stamp::default() };
            let bytes = numbered(1);
            let one = CheckedBatch::check(&bytes).unwrap();
            assert_eq!(log.append_durably(&one, stamp).await.unwrap().base_offset, end);
        });
    }
    assert!(with_checkpoint > 40, "{with_checkpoint} runs had a checkpoint");
}

#[test]
fn appends_wait_for_a_checkpoint_rather_than_leave_more_to_scan() {
    for operations in (20..1_500).step_by(29) {
        let io = disk(operations);
        io.set_latency(Duration::from_micros(10), Duration::from_micros(200));
        // Small files are slow to come, batches are not.
        io.set_slow_operations(20);
        let life = async {
            let log = open(&shard(&io), Path::new(DIR), settings()).await;
            for n in 0..2_000 {
                append_only(&log, &numbered(n)).await;
            }
            log.durable(log.offsets().end).await.unwrap();
        };
        let _ = io.run_operations(Box::pin(life), operations);
        let io = io.kill();
        io.run(async {
            let (_, report) = reopen(&io, &settings()).await;
            assert!(report.scanned_bytes <= scanned_max(), "{operations}: {report:?}");
        });
    }
}

#[test]
fn a_damaged_checkpoint_is_ignored_and_removed() {
    let io = killed(60);
    let whole = io.read_file(Path::new(CHECKPOINT)).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let io = io.fork(at as u64);
        let mut bytes = whole.clone();
        match at % 3 {
            0 => bytes[at] ^= 1,
            1 => bytes.truncate(at),
            _ => bytes.extend_from_slice(&whole[at..]),
        }
        io.write_file(Path::new(CHECKPOINT), &bytes).unwrap();
        io.run(async {
            let (log, report) = reopen(&io, &settings()).await;
            assert_eq!(contents(&log).await.len(), 60);
            assert!(report.scanned_bytes > scanned_max(), "all of it was scanned");
            assert!(!there(&io, CHECKPOINT));
            fill(&log, 60..80).await;
            assert!(there(&io, CHECKPOINT), "the next one is written at once");
        });
    }
}

#[test]
fn a_segment_that_lost_what_a_checkpoint_vouches_for_is_refused() {
    let io = killed(60);
    let bytes = io.read_file(Path::new(FIRST)).unwrap();
    let refused = |io: &SimIo| {
        let before = io.fingerprint();
        let opened = io.run(Log::open(&shard(io), Path::new(DIR), settings()));
        let OpenError::Corrupt { damage, .. } = opened.unwrap_err() else { panic!() };
        assert_eq!(io.fingerprint(), before, "nothing was changed");
        damage
    };
    // Cut between two batches, as a crash never does to what was synced.
    let shorter = io.fork(1);
    shorter.write_file(Path::new(FIRST), &bytes[..10 * numbered(0).len()]).unwrap();
    let Damage::EndsEarly { expected, found } = refused(&shorter) else { panic!() };
    assert!(expected > found && found == at(10));
    // The whole file is gone.
    let missing = io.fork(2);
    missing.run(missing.remove_file(Path::new(FIRST))).unwrap();
    assert!(matches!(refused(&missing), Damage::EndsEarly { found: Offset::ZERO, .. }));
    // The batch of the last index entry below the checkpoint's position is wrong.
    let rotten = io.fork(3);
    let mut changed = bytes.clone();
    let checkpoint = rotten.read_file(Path::new(CHECKPOINT)).unwrap();
    let size = u64::from_be_bytes(checkpoint[24..32].try_into().unwrap());
    let size = usize::try_from(size).unwrap();
    changed[size - 2 * numbered(0).len()..size].fill(0x55);
    rotten.write_file(Path::new(FIRST), &changed).unwrap();
    refused(&rotten);
}

#[test]
fn a_truncation_that_is_cut_off_anywhere_leaves_no_checkpoint_that_accuses() {
    let io = killed(60);
    for (operations, power_lost) in (0..60).flat_map(|n| [(n, false), (n, true)]) {
        let io = io.fork(operations);
        let work = async {
            let (log, _) = reopen(&io, &settings()).await;
            log.truncate(at(20)).await.unwrap();
            // Never again as long as it was, and with other batches.
            fill(&log, 900..910).await;
        };
        let finished = io.run_operations(Box::pin(work), operations).is_some();
        let io = if power_lost { io.crash() } else { io.kill() };
        io.run(async {
            let (log, _) = reopen(&io, &settings()).await;
            let held = contents(&log).await.len();
            let end = usize::try_from(log.offsets().end.value()).unwrap();
            assert!(held == end && (20..=60).contains(&held), "{operations}: {held}");
            assert!(!finished || held == 30);
        });
    }
}

#[test]
fn a_checkpoint_of_a_segment_that_was_sealed_is_of_no_use_and_no_harm() {
    let io = disk(1);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), settings()).await;
        fill(&log, 0..40).await;
        log.roll().await.unwrap();
        fill(&log, 40..45).await;
    });
    let io = io.kill();
    io.run(async {
        let (log, report) = reopen(&io, &settings()).await;
        assert_eq!(contents(&log).await.len(), 45);
        assert_eq!(report.scanned_bytes, 5 * numbered(0).len() as u64);
        assert!(!there(&io, CHECKPOINT));
    });
}

#[test]
fn a_retention_may_pass_a_checkpoint_and_be_cut_off_anywhere() {
    let aged = LogSettings { retention_age_max: Some(Duration::from_millis(1)), ..settings() };
    let io = killed(60);
    for operations in 0..50 {
        let io = io.fork(operations);
        let work = async {
            let (log, _) = reopen(&io, &aged).await;
            let done = log.apply_retention(ms(1_000_000), at(60)).await.unwrap();
            assert_eq!((done.segments, done.start), (1, at(60)));
        };
        let finished = io.run_operations(Box::pin(work), operations).is_some();
        let io = if operations % 2 == 0 { io.crash() } else { io.kill() };
        io.run(async {
            let (log, _) = reopen(&io, &aged).await;
            assert_eq!(log.offsets().end, at(60), "{operations}");
            assert!(!finished || log.offsets().start == at(60));
            assert_eq!(append(&log, &numbered(1)).await.base_offset, at(60));
        });
    }
}

#[test]
fn a_segment_whose_name_a_killed_process_did_not_sync_is_named_before_it_counts() {
    for operations in 0..20 {
        let io = disk(operations);
        let life = async {
            let log = open(&shard(&io), Path::new(DIR), settings()).await;
            fill(&log, 0..1).await;
        };
        let _ = io.run_operations(Box::pin(life), operations);
        let io = io.kill();
        let held = io.run(async {
            let (log, _) = reopen(&io, &settings()).await;
            fill(&log, 1..2).await;
            contents(&log).await
        });
        let io = io.crash();
        io.run(async {
            let (log, _) = reopen(&io, &settings()).await;
            assert_eq!(contents(&log).await, held, "{operations}");
        });
    }
}

#[test]
fn what_lies_below_the_start_of_a_log_accuses_nobody() {
    let relaxed = FlushPolicy::Relaxed { messages: u64::MAX, interval: None };
    let settings = LogSettings { durability: relaxed, ..settings() };
    let io = killed(60);
    io.run(async {
        let (log, _) = reopen(&io, &settings).await;
        log.delete_before(at(60)).await.unwrap();
    });
    let io = io.kill();
    assert!(there(&io, CHECKPOINT));
    let bytes = io.read_file(Path::new(FIRST)).unwrap();
    io.write_file(Path::new(FIRST), &bytes[..10 * numbered(0).len()]).unwrap();
    io.run(async {
        let (log, _) = reopen(&io, &settings).await;
        assert_eq!((log.offsets().start, log.offsets().end), (at(60), at(60)));
        assert!(!there(&io, CHECKPOINT));
        fill(&log, 0..3).await;
        assert_eq!(contents(&log).await.len(), 3);
    });
}

#[test]
fn a_checkpoint_that_fails_is_tried_again_and_stops_nobody() {
    for operation in [Operation::Open, Operation::Sync, Operation::Names, Operation::SyncDir] {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let io = disk(5);
            io.run(async {
                let log = open(&shard(&io), Path::new(DIR), settings()).await;
                fill(&log, 0..10).await;
                // The next of these belongs to the first checkpoint.
                io.fail_once(Some(operation), 0, kind);
                fill(&log, 10..25).await;
                let renamed = operation == Operation::SyncDir;
                assert_eq!(there(&io, CHECKPOINT), renamed, "not tried at once again");
                fill(&log, 25..40).await;
                assert_eq!(log.failure(), None, "{operation:?}");
                fill(&log, 40..100).await;
                assert!(there(&io, CHECKPOINT), "{operation:?}");
            });
            let io = io.crash();
            io.run(async {
                let (log, report) = reopen(&io, &settings()).await;
                assert!(report.scanned_bytes <= scanned_max(), "{operation:?}: {report:?}");
                assert_eq!(contents(&log).await.len(), 100);
            });
        }
    }
}

#[test]
fn a_relaxed_log_is_synced_before_a_checkpoint_vouches_for_it() {
    let relaxed = FlushPolicy::Relaxed { messages: u64::MAX, interval: None };
    let settings = LogSettings { durability: relaxed, ..settings() };
    for operations in (0..300).step_by(2) {
        let io = disk(operations);
        io.set_latency(Duration::from_micros(10), Duration::from_micros(100));
        // Now and then a sync takes longer than all that follows it.
        io.set_slow_operations(8);
        let work = async {
            let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            fill(&log, 0..200).await;
            std::future::pending::<()>().await;
        };
        let _ = io.run_operations(Box::pin(work), operations);
        let io = io.crash();
        io.run(async {
            let (log, _) = reopen(&io, &settings).await;
            assert_eq!(contents(&log).await.len() as i64, log.offsets().end.value());
        });
    }
}

#[test]
fn a_sync_that_fails_before_a_checkpoint_is_final() {
    let relaxed = FlushPolicy::Relaxed { messages: u64::MAX, interval: None };
    let io = disk(5);
    io.run(async {
        let settings = LogSettings { durability: relaxed, ..settings() };
        let log = open(&shard(&io), Path::new(DIR), settings).await;
        io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
        for n in 0..40 {
            let bytes = numbered(n);
            let _ = log.append_durably(&CheckedBatch::check(&bytes).unwrap(), STAMP).await;
        }
        assert!(log.failure().is_some(), "log.no_fsync_retry");
        assert!(!there(&io, CHECKPOINT));
    });
}

#[test]
fn closing_and_truncating_at_any_moment_of_a_checkpoint_leave_a_log_in_order() {
    for step in 0..40 {
        let io = disk(step);
        io.set_latency(Duration::from_micros(10), Duration::from_micros(400));
        io.run(async {
            let shard = shard(&io);
            let log = open(&shard, Path::new(DIR), settings()).await;
            for n in 0..30 + step {
                append_only(&log, &numbered(n)).await;
            }
            if step % 2 == 0 {
                assert_eq!(log.truncate(at(12)).await, Ok(at(12)));
                fill(&log, 500..503).await;
            }
            let end = log.offsets().end;
            log.close().await.unwrap();
            drop(log);
            let (log, report) = Log::open(&shard, Path::new(DIR), settings()).await.unwrap();
            assert!(report.clean && log.offsets().end == end, "{step}: {report:?}");
            assert_eq!(contents(&log).await.len() as i64, end.value());
            log.delete().await.unwrap();
            assert!(io.list_dir(Path::new(DIR)).await.is_err());
        });
    }
}

#[test]
fn a_clean_close_vouches_for_what_was_there_also_after_more_was_appended() {
    let no_checkpoints = LogSettings { checkpoint_bytes: 1 << 30, ..settings() };
    let mut io = disk(4);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), no_checkpoints.clone()).await;
        append(&log, &sequenced(7, 0, 0, 2)).await;
        fill(&log, 0..300).await;
        log.close().await.unwrap();
    });
    for round in 0..3 {
        io.run(async {
            let (log, report) = reopen(&io, &no_checkpoints).await;
            assert_eq!(report.clean, round == 0);
            assert_eq!(report.scanned_bytes, round * 5 * numbered(0).len() as u64);
            assert!(log.producer(ProducerId::new(7)).is_some());
            fill(&log, 0..5).await;
            assert_eq!(contents(&log).await.len() as u64, 301 + 5 * (round + 1));
        });
        io = if round == 0 { io.kill() } else { io.crash() };
    }
}

/// A log of many segments whose process was killed, and its settings.
fn many_segments(segments: u64) -> (SimIo, LogSettings) {
    let settings = LogSettings { segment_bytes: 8192, ..settings() };
    let io = disk(9);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
        fill(&log, 0..segments * 7).await;
        assert_eq!(log.segment_count() as u64, segments);
    });
    (io.kill(), settings)
}

#[test]
fn sealed_segments_are_believed_without_a_look_at_them() {
    let cost = |segments| {
        let (io, settings) = many_segments(segments);
        let before = io.operations();
        let (log, report) = io.run(reopen(&io, &settings));
        let operations = io.operations() - before;
        assert!(report.scanned_bytes <= 8192);
        assert_eq!(io.run(contents(&log)).len() as u64, segments * 7);
        operations
    };
    assert_eq!(cost(60), cost(3));
}

#[test]
fn a_catalog_that_is_missing_damaged_or_stale_costs_a_look_and_nothing_else() {
    let (io, settings) = many_segments(20);
    let whole = io.read_file(Path::new(CATALOG)).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let io = io.fork(at as u64);
        let mut bytes = whole.clone();
        bytes[at] ^= 2;
        if at == 0 {
            io.run(io.remove_file(Path::new(CATALOG))).unwrap();
        } else {
            io.write_file(Path::new(CATALOG), &bytes).unwrap();
        }
        io.run(async {
            let (log, report) = reopen(&io, &settings).await;
            assert_eq!(contents(&log).await.len(), 140);
            assert!(report.scanned_bytes > 8192, "each segment was looked at");
            assert!(report.rebuilt_indexes.is_empty());
        });
    }
    // Truncated and grown again with batches of other sizes, so that the entries are of others.
    let io = io.fork(1);
    io.run(async {
        let (log, _) = reopen(&io, &settings).await;
        log.truncate(at(30)).await.unwrap();
        for n in 0..60 {
            append(&log, &batch(1, 700, n, 1)).await;
        }
    });
    let io = io.crash();
    // The one from before comes back.
    io.write_file(Path::new(CATALOG), &whole).unwrap();
    io.run(async {
        let (log, _) = reopen(&io, &settings).await;
        assert_eq!(contents(&log).await.len(), 90);
    });
}

#[test]
fn a_sealed_segment_that_is_not_as_the_catalog_says_is_found_out() {
    let (io, settings) = many_segments(5);
    let open = |io: &SimIo| io.run(Log::open(&cold_shard(io), Path::new(DIR), settings.clone()));
    // Cut short: at the open.
    let shorter = io.fork(1);
    let bytes = shorter.read_file(Path::new(FIRST)).unwrap();
    shorter.write_file(Path::new(FIRST), &bytes[..bytes.len() - numbered(0).len()]).unwrap();
    assert!(matches!(open(&shorter).unwrap_err(), OpenError::SegmentGap { .. }));
    // Without its index: at the open, which makes it anew.
    let bare = io.fork(2);
    bare.run(bare.remove_file(Path::new("/data/log/00000000000000000007.index"))).unwrap();
    let (_, report) = open(&bare).unwrap();
    let path = PathBuf::from("/data/log/00000000000000000007.log");
    assert_eq!(report.rebuilt_indexes, [path]);
    // A flipped bit: when it is read.
    let rotten = io.fork(3);
    rotten.flip_bit(Path::new(FIRST), bytes.len() as u64 - 9).unwrap();
    let (log, _) = open(&rotten).unwrap();
    rotten.run(async {
        assert!(log.read(at(0), at(35), 1, true).await.is_ok());
        assert!(log.read(at(6), at(35), 1, true).await.is_err());
    });
}

#[test]
fn retention_by_time_knows_the_segments_that_nobody_looked_at() {
    let (io, settings) = many_segments(10);
    let aged = LogSettings { retention_age_max: Some(Duration::from_millis(10)), ..settings };
    io.run(async {
        let (log, _) = reopen(&io, &aged).await;
        // Batch n has the timestamp n, and seven fill a segment.
        let done = log.apply_retention(ms(10 + 30), at(70)).await.unwrap();
        assert_eq!((done.segments, done.start), (4, at(28)));
    });
}

#[test]
fn a_log_that_was_let_go_of_writes_no_checkpoint_over_its_next_owners() {
    for wait in 0..200 {
        let io = disk(wait);
        io.set_latency(Duration::from_micros(50), Duration::from_micros(300));
        // Sometimes the old owner's is the slow one.
        io.set_slow_operations(12);
        io.run(async {
            let shard = shard(&io);
            let log = open(&shard, Path::new(DIR), settings()).await;
            fill(&log, 0..17).await;
            // Some way into the first checkpoint.
            io.sleep(Duration::from_micros(10 * wait)).await;
            drop(log);
            let log = open(&shard, Path::new(DIR), settings()).await;
            log.truncate(at(2)).await.unwrap();
            io.sleep(Duration::from_millis(500)).await;
        });
        let io = io.kill();
        io.run(async {
            let (log, _) = reopen(&io, &settings()).await;
            assert_eq!(log.offsets().end, at(2));
        });
    }
}
