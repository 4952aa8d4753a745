//! Crashes and errors in the middle of a compaction.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::log::LogSettings;

use crate::model::*;
use crate::support::*;

#[test]
fn a_crash_after_any_operation_of_a_compaction_leaves_a_log_that_opens_with_every_latest_value() {
    let finished = Cell::new(0);
    for seed in seeds(4) {
        for operations in 0_u64.. {
            let replay = format!("{}, operation {operations}", replay(seed, "a_crash"));
            let mut model = Model::default();
            let io = prepared(seed, &mut model, &replay).fork(seed * 10_000 + operations);
            let mut random = Random(operations);
            let log = io.run(async {
                let log = open_on(&io, shard_of(&io, seed).await, &replay).await;
                // The segment that a clean close has vouched for, and a checkpoint, grows, and is
                // sealed: after a crash, what is made of it may be the last one.
                for _ in 0..random.below(12) {
                    step(&log, &mut model, &mut random, &io, true).await;
                }
                log.roll().await.unwrap();
                log
            });
            let done = io.run_operations(compact(&log, &replay), operations);
            drop(log);
            let io = if operations % 3 == 0 { io.kill() } else { io.crash() };
            io.run(async {
                let log = open_on(&io, shard_of(&io, seed).await, &replay).await;
                check_safety(&log, &model, &mut random, &replay).await;
                let names = io.list_dir(Path::new(DIR)).await.unwrap();
                let left = names.iter().find(|entry| {
                    [".cleaned", ".swap", ".tmp", ".deleted"]
                        .iter()
                        .any(|suffix| entry.name.ends_with(suffix))
                });
                assert_eq!(left, None, "{replay}");
                // And it goes on: appends, and a compaction that does its work.
                for _ in 0..5 {
                    step(&log, &mut model, &mut random, &io, true).await;
                }
                log.roll().await.unwrap();
                compact(&log, &replay).await;
                check_safety(&log, &model, &mut random, &replay).await;
            });
            if done.is_some() {
                finished.set(finished.get() + 1);
                break;
            }
        }
    }
    assert!(finished.get() > 0);
}

#[test]
fn an_error_of_any_operation_leaves_the_log_usable_or_read_only_and_whole() {
    for seed in seeds(3) {
        let mut model = Model::default();
        let prepared = prepared(seed, &mut model, "prepared");
        for (operation, count) in [
            (Operation::Open, 12),
            (Operation::Names, 24),
            (Operation::SyncDir, 10),
            (Operation::Write, 10),
            (Operation::Read, 10),
            (Operation::Sync, 10),
            (Operation::Length, 4),
        ] {
            for skip in 0..count {
                let replay = format!("{}, {operation:?} {skip}", replay(seed, "an_error"));
                let io = prepared.fork(seed * 1_000 + skip);
                let mut random = Random(skip);
                let safe = io.run(async {
                    let log = open_log(&io, &replay).await;
                    io.fail_once(Some(operation), skip, std::io::ErrorKind::Other);
                    let _ = log.compact(&settings(), log.offsets().durable, &Flipped).await;
                    // A fault that did not strike yet may now.
                    log.failure().is_none()
                });
                let io = if safe { io.kill() } else { io.crash() };
                io.run(async {
                    let log = open_log(&io, &replay).await;
                    check_safety(&log, &model, &mut random, &replay).await;
                });
            }
        }
    }
}

#[test]
fn nothing_that_was_said_of_a_segment_is_believed_of_what_compaction_makes_of_it() {
    for closes in [true, false] {
        let io = SimIo::new(16);
        let settings = LogSettings { segment_bytes: 64 * 1024, ..log_settings() };
        io.run(async {
            io.create_dir_all(Path::new("/data")).await.unwrap();
            io.sync_dir(Path::new("/")).await.unwrap();
            let mut log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            // Up to here a clean close vouches for the segment, or else a checkpoint.
            // So little that no index entry gives it away.
            let (first, more) = if closes { (3, 5) } else { (60, 300) };
            for _ in 0..first {
                append(&log, &one("a", Some("value"), io.now())).await;
            }
            if closes {
                log.close().await.unwrap();
                log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            } else {
                io.sleep(Duration::from_secs(1)).await;
            }
            let checkpoint = Path::new(DIR).join("ringlog.checkpoint");
            assert_eq!(io.read_file(&checkpoint).is_ok(), !closes);
            for n in 0..more {
                append(&log, &one(&format!("{n}"), Some("value"), io.now())).await;
            }
            append(&log, &one("a", Some("last"), io.now())).await;
            log.roll().await.unwrap();
            assert_eq!(compact(&log, "").await.outdated_removed, first);
        });
        let io = io.crash();
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), settings).await;
            let (end, left) = if closes { (9, 6) } else { (361, 301) };
            assert_eq!(log.offsets().durable, at(end));
            assert_eq!(keys(&log).await.len(), left);
        });
    }
}
