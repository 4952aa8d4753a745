//! What a log does when disks fail, fill up and rot.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::error::{AppendError, Damage, MaintainError, OpenError, ReadError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};
use ringlog_engine::shard::{Shard, ShardSettings};
use support::*;

const DIR: &str = "/data/log";
const FIRST: &str = "/data/log/00000000000000000000.log";

fn large() -> LogSettings {
    LogSettings { segment_bytes: 64 << 20, ..small() }
}

async fn fill(log: &Log<SimIo>, batches: u64, bytes: usize) {
    for n in 0..batches {
        append(log, &batch(1, bytes, n, 1)).await;
    }
}

/// A log with `batches` batches whose process was killed.
fn killed(batches: u64, bytes: usize) -> SimIo {
    let io = SimIo::new(3);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), large()).await;
        fill(&log, batches, bytes).await;
    });
    io.kill()
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let io = killed(10, 1_000);
    io.run(async {
        let mut bytes = io.read_file(Path::new(FIRST)).unwrap();
        let size = 10 * batch(1, 1_000, 0, 1).len();
        // Half of an eleventh batch.
        let torn = batch(1, 1_000, 11, 1);
        bytes[size..size + 500].copy_from_slice(&torn[..500]);
        bytes[size..size + 8].copy_from_slice(&10_i64.to_be_bytes());
        io.write_file(Path::new(FIRST), &bytes).unwrap();
        let (log, report) = Log::open(&shard(&io), Path::new(DIR), large()).await.unwrap();
        let cut = report.cut.unwrap();
        assert_eq!((cut.path, cut.position), (PathBuf::from(FIRST), size as u64));
        assert!(matches!(cut.damage, Damage::Checksum { .. }));
        assert_eq!(cut.bytes, (bytes.len() - size) as u64);
        assert_eq!(log.offsets().end, at(10));
        assert_eq!(contents(&log).await.len(), 10);
        assert_eq!(append(&log, &torn).await.base_offset, at(10));
        assert_eq!(contents(&log).await.len(), 11);
    });
}

#[test]
fn reserved_space_is_no_torn_tail() {
    let io = killed(3, 100);
    io.run(async {
        let (log, report) = Log::open(&shard(&io), Path::new(DIR), large()).await.unwrap();
        assert_eq!((report.cut, report.clean), (None, false));
        assert_eq!(log.offsets().end, at(3));
    });
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused_and_not_cut() {
    let io = killed(100, 60_000);
    io.flip_bit(Path::new(FIRST), 100_000).unwrap();
    let before = io.fingerprint();
    io.run(async {
        let opened = Log::open(&shard(&io), Path::new(DIR), large()).await;
        let OpenError::Corrupt { path, position, damage } = opened.unwrap_err() else { panic!() };
        assert_eq!(path, PathBuf::from(FIRST));
        assert!((30_000..100_000).contains(&position));
        assert!(matches!(damage, Damage::InTheMiddle { .. }), "{damage}");
    });
    assert_eq!(io.fingerprint(), before, "nothing was changed");
}

#[test]
fn a_log_that_lost_what_a_clean_close_wrote_down_is_refused() {
    let io = SimIo::new(3);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), large()).await;
        fill(&log, 10, 1_000).await;
        log.close().await.unwrap();
    });
    let bytes = io.read_file(Path::new(FIRST)).unwrap();
    io.write_file(Path::new(FIRST), &bytes[..bytes.len() - 1]).unwrap();
    let before = io.fingerprint();
    io.run(async {
        let opened = Log::open(&shard(&io), Path::new(DIR), large()).await;
        assert!(matches!(opened.unwrap_err(), OpenError::Corrupt { .. }));
    });
    assert_eq!(io.fingerprint(), before, "nothing was changed");
}

#[test]
fn damaged_bytes_are_reported_and_never_served() {
    let io = SimIo::new(3);
    io.run(async {
        let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
        fill(&log, 60, 1_000).await;
        log.close().await.unwrap();
        io.flip_bit(Path::new(FIRST), 10_700).unwrap();
        let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
        let end = log.offsets().durable;
        let (mut good, mut bad) = (0, 0);
        for n in 0..60 {
            match log.read(at(n), end, 1, true).await {
                Ok(slices) => {
                    CheckedBatch::check(&slices.to_vec()).unwrap();
                    good += 1;
                }
                Err(ReadError::Corrupt { path, .. }) => {
                    assert_eq!(path, PathBuf::from(FIRST));
                    bad += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((good, bad), (59, 1));
    });
}

#[test]
fn what_a_killed_process_left_unsynced_is_synced_before_it_counts() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        let relaxed = FlushPolicy::Relaxed { messages: 1_000_000, interval: None };
        let settings = LogSettings { durability: relaxed, ..large() };
        io.run(async {
            io.create_dir_all(Path::new("/data")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
            let log = open(&shard(&io), Path::new(DIR), settings).await;
            fill(&log, 20, 1_000).await;
        });
        let io = io.kill();
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), large()).await;
            assert_eq!(log.offsets().durable, at(20), "log.durable_means_synced");
        });
        let io = io.crash();
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), large()).await;
            assert_eq!(contents(&log).await.len(), 20);
        });
    }
}

#[test]
fn an_index_entry_that_points_elsewhere_is_noticed_and_the_index_rebuilt() {
    let io = SimIo::new(3);
    io.run(async {
        let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
        fill(&log, 60, 1_000).await;
        log.close().await.unwrap();
        let index = Path::new("/data/log/00000000000000000000.index");
        let mut bytes = io.read_file(index).unwrap();
        // Every entry but the last, which opening looks at, points a little further.
        let inner = bytes.len() - 8;
        for entry in bytes[..inner].as_chunks_mut::<8>().0 {
            entry[7] ^= 1;
        }
        io.write_file(index, &bytes).unwrap();
        let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
        assert_eq!(contents(&log).await.len(), 60);
        for n in 0..60 {
            let slices = log.read(at(n), at(60), 1, true).await.unwrap();
            assert_eq!(header(&slices.to_vec()).base_offset, n, "index.never_overshoots");
        }
    });
}

#[test]
fn a_full_disk_refuses_appends_and_is_noticed_to_have_space_again() {
    let io = SimIo::new(3);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        io.sync_dir(Path::new("/")).await.unwrap();
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        fill(&log, 20, 1_000).await;
        io.set_capacity(io.used());
        let mut appended = 20;
        let bytes = batch(1, 1_000, 1, 1);
        let refused = loop {
            match log.reserve(bytes.len()).await {
                Ok(room) => {
                    let batch = CheckedBatch::check(&bytes).unwrap();
                    let placed = log.append(room, &batch, STAMP).unwrap();
                    log.durable(placed.end_offset).await.unwrap();
                    appended += 1;
                }
                Err(error) => break error,
            }
        };
        assert!(matches!(refused, AppendError::DiskFull(_)), "{refused}");
        let again = log.reserve(bytes.len()).await.unwrap_err();
        assert!(matches!(again, AppendError::DiskFull(_)), "{again}");
        assert_eq!(log.failure(), None);
        assert_eq!(contents(&log).await.len(), appended, "reads go on");
        io.set_capacity(u64::MAX);
        fill(&log, 50, 1_000).await;
        assert_eq!(contents(&log).await.len(), appended + 50);
    });
    let io = io.crash();
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        assert!(contents(&log).await.len() >= 70);
    });
}

#[test]
fn a_failed_write_is_final_until_the_log_is_opened_again() {
    let io = SimIo::new(3);
    io.run(async {
        let shard = shard(&io);
        let log = open(&shard, Path::new(DIR), small()).await;
        fill(&log, 5, 1_000).await;
        io.fail_once(Some(Operation::Write), 0, ErrorKind::Other);
        let bytes = batch(1, 1_000, 9, 1);
        let checked = CheckedBatch::check(&bytes).unwrap();
        let first = log.append_durably(&checked, STAMP).await.unwrap_err();
        assert!(matches!(first, AppendError::Failed(_)), "{first}");
        assert_eq!(log.append_durably(&checked, STAMP).await.unwrap_err(), first);
        assert_eq!(log.durable(at(6)).await.unwrap_err(), first);
        assert_eq!(log.durable(at(5)).await, Ok(()));
        assert!(matches!(log.roll().await, Err(MaintainError::Failed(_))));
        assert!(matches!(log.close().await, Err(MaintainError::Failed(_))));
        assert_eq!(contents(&log).await.len(), 5, "reads go on");
        drop(log);
        let log = open(&shard, Path::new(DIR), small()).await;
        assert!(log.offsets().end >= at(5));
        fill(&log, 1, 1_000).await;
    });
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let io = SimIo::new(3);
    let relaxed = FlushPolicy::Relaxed { messages: 1_000_000, interval: None };
    let settings = LogSettings { durability: relaxed, ..small() };
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), settings).await;
        fill(&log, 5, 100).await;
        io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
        log.update_settings(small()).unwrap();
        let bytes = batch(1, 100, 9, 1);
        let failed = log.append_durably(&CheckedBatch::check(&bytes).unwrap(), STAMP).await;
        assert!(matches!(failed, Err(AppendError::Failed(_))), "{failed:?}");
        assert!(matches!(log.close().await, Err(MaintainError::Failed(_))));
    });
}

#[test]
fn a_disk_that_fills_up_while_segments_roll_loses_nothing() {
    for spare in (0..200_000).step_by(4096) {
        let mut io = SimIo::new(spare);
        io.run(async {
            io.create_dir_all(Path::new("/data")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
        });
        io.set_capacity(spare);
        let settings = LogSettings { segment_bytes: 8192, ..small() };
        let acknowledged = io.run(async {
            let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            let bytes = batch(1, 1_000, 1, 1);
            let checked = CheckedBatch::check(&bytes).unwrap();
            for n in 0..300 {
                if let Err(error) = log.append_durably(&checked, STAMP).await {
                    assert!(matches!(error, AppendError::DiskFull(_)), "{error}");
                    return n;
                }
            }
            300
        });
        io = io.crash();
        io.set_capacity(u64::MAX);
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), settings).await;
            assert!(contents(&log).await.len() >= acknowledged);
            fill(&log, 20, 1_000).await;
        });
    }
}

#[test]
fn appenders_that_need_more_memory_than_there_is_take_turns() {
    let io = SimIo::new(9);
    io.set_latency(Duration::from_micros(10), Duration::from_micros(900));
    let mib = 1024 * 1024;
    let budget = ShardSettings {
        buffer_pool_bytes: 4 * mib,
        cache_bytes: 4 * mib,
        ..ShardSettings::default()
    };
    let shard = Shard::new(io.clone(), budget);
    io.run(async {
        let mut logs = Vec::new();
        for n in 0..20 {
            logs.push(open(&shard, &PathBuf::from(format!("/data/{n}")), small()).await);
        }
        for (n, log) in (0..).zip(&logs) {
            for task in 0..3 {
                let log = log.clone();
                io.spawn(async move {
                    for step in 0..10 {
                        let bytes = batch(2, 40_000, n * 100 + task * 10 + step, 1);
                        append(&log, &bytes).await;
                    }
                });
            }
        }
        for log in &logs {
            log.durable(at(60)).await.unwrap();
            assert_eq!(contents(log).await.len(), 30);
        }
        assert!(shard.pool().used() <= 4 * mib);
    });
}

#[test]
fn ten_thousand_empty_logs_cost_no_file() {
    let io = SimIo::new(1);
    io.run(async {
        let shard = shard(&io);
        let mut logs = Vec::new();
        for n in 0..10_000 {
            let dir = PathBuf::from(format!("/data/{n}"));
            logs.push(open(&shard, &dir, LogSettings::default()).await);
        }
        for log in &logs {
            assert!(io.list_dir(log.dir()).await.unwrap().is_empty());
        }
        assert_eq!((io.used(), shard.pool().used()), (0, 0));
        for log in &logs {
            log.close().await.unwrap();
        }
        assert_eq!(io.used(), 0);
    });
}

#[test]
fn foreign_files_are_left_alone_and_leftovers_removed() {
    let io = killed(5, 100);
    let foreign = Path::new("/data/log/notes.txt");
    let leftover = Path::new("/data/log/00000000000000000009.log.deleted");
    io.write_file(foreign, b"mine").unwrap();
    io.write_file(leftover, b"gone").unwrap();
    io.run(async {
        let shard = shard(&io);
        let (_, report) = Log::open(&shard, Path::new(DIR), large()).await.unwrap();
        assert_eq!(report.ignored, ["notes.txt"]);
        // The shard removes it beside what else it does.
        io.sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(io.read_file(foreign).unwrap(), b"mine");
    assert!(io.read_file(leftover).is_err());
}

#[test]
fn want_of_memory_or_files_while_segments_roll_refuses_only_that_append() {
    let settings = LogSettings { segment_bytes: 8192, ..small() };
    for operation in [Operation::Open, Operation::SyncDir, Operation::Allocate, Operation::Names] {
        for skip in 0..12 {
            let io = SimIo::new(skip);
            let acknowledged = io.run(async {
                io.create_dir_all(Path::new("/data")).await.unwrap();
                io.sync_dir(Path::new("/")).await.unwrap();
                let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
                io.fail_once(Some(operation), skip, ErrorKind::OutOfMemory);
                let bytes = batch(1, 1_000, 1, 1);
                let checked = CheckedBatch::check(&bytes).unwrap();
                let (mut taken, mut refused) = (0, 0);
                for _ in 0..60 {
                    match log.append_durably(&checked, STAMP).await {
                        Ok(_) => taken += 1,
                        Err(AppendError::Refused(_)) => refused += 1,
                        Err(error) => panic!("{operation:?} {skip}: {error}"),
                    }
                }
                let expected = usize::from(match operation {
                    // A second, smaller try to reserve space makes up for the first.
                    Operation::Allocate => false,
                    // Files of sealed segments are closed for it. Before the first is sealed, with
                    // five files beside it, there are none.
                    Operation::Open => skip < 6,
                    _ => true,
                });
                assert_eq!((refused, log.failure()), (expected, None), "{operation:?} {skip}");
                assert_eq!(contents(&log).await.len(), taken);
                taken
            });
            let io = io.crash();
            io.run(async {
                let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
                assert_eq!(contents(&log).await.len(), acknowledged, "{operation:?} {skip}");
            });
        }
    }
}

#[test]
fn a_segment_name_that_could_not_be_synced_is_made_anew() {
    let io = SimIo::new(3);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        let bytes = batch(1, 1_000, 1, 1);
        io.fail_once(Some(Operation::SyncDir), 0, ErrorKind::OutOfMemory);
        let refused = log.reserve(bytes.len()).await.unwrap_err();
        assert!(matches!(refused, AppendError::Refused(_)), "{refused}");
        // The name that was left is in the way of the next try, which cannot remove it either.
        io.fail_once(Some(Operation::Names), 0, ErrorKind::OutOfMemory);
        let refused = log.reserve(bytes.len()).await.unwrap_err();
        assert!(matches!(refused, AppendError::Refused(_)), "{refused}");
        append(&log, &bytes).await;
        assert_eq!(contents(&log).await.len(), 1);
        // A folder that the disk fails to sync is another matter.
        let other = open(&shard(&io), Path::new("/data/other"), small()).await;
        io.fail_once(Some(Operation::SyncDir), 0, ErrorKind::Other);
        let failed = other.reserve(bytes.len()).await.unwrap_err();
        assert!(matches!(failed, AppendError::Failed(_)), "{failed}");
    });
}

#[test]
fn files_that_nobody_uses_are_closed_where_a_segment_cannot_be_made_or_opened() {
    let io = SimIo::new(3);
    io.run(async {
        let shard = cold_shard(&io);
        let log = open(&shard, Path::new(DIR), small()).await;
        fill(&log, 100, 1_000).await;
        let kept = shard.segment_stats().open_files;
        assert!(kept > 2);
        log.roll().await.unwrap();
        io.fail_once(Some(Operation::Open), 0, ErrorKind::OutOfMemory);
        fill(&log, 1, 1_000).await;
        assert!(shard.segment_stats().open_files < kept);
        // Of a log that is opened, too.
        let other = open(&shard, Path::new("/data/other"), small()).await;
        fill(&other, 1, 1_000).await;
        drop(other);
        assert!(shard.segment_stats().open_files > 0);
        io.fail_once(Some(Operation::Open), 0, ErrorKind::OutOfMemory);
        let other = open(&shard, Path::new("/data/other"), small()).await;
        assert_eq!((io.faults_to_come(), contents(&other).await.len()), (0, 1));
    });
}

#[test]
fn a_shard_whose_journal_has_no_room_on_the_disk_says_so_and_opens_when_there_is() {
    let io = SimIo::new(3);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        let journal = JournalSettings::new("/data/journal", "/data");
        let file_bytes = 64 * 1024;
        let journal = JournalSettings { files: 2, file_bytes, ..journal };
        let open_shard = || Shard::open(io.clone(), cold_settings(), journal.clone());
        // It needs two files at the least: none fits, then one.
        for room in [file_bytes - 1, 2 * file_bytes - 1] {
            io.set_capacity(room);
            let Err(OpenError::Io(failure)) = open_shard().await else { panic!("no room") };
            assert!(failure.is_disk_full() && failure.path.starts_with("/data/journal"));
            assert!(failure.to_string().starts_with("cannot reserve space for"), "{failure}");
            assert_eq!(io.used(), room / file_bytes * file_bytes, "nothing half made is left");
        }
        io.set_capacity(2 * file_bytes + 64 * 1024);
        let (shard, _) = open_shard().await.unwrap();
        let log = open(&shard, Path::new(DIR), small()).await;
        fill(&log, 20, 1_000).await;
        assert_eq!(contents(&log).await.len(), 20);
    });
}
