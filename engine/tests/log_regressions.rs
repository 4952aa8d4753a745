//! Histories in which the simulator found the engine wrong, cut down to what matters.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::compaction::{CompactionSettings, Uncompressed};
use ringlog_engine::error::{AppendError, MaintainError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};
use ringlog_engine::producer::SequenceCheck;
use ringlog_engine::shard::{Shard, ShardSettings};
use support::*;

const DIR: &str = "/data/log";
const FIRST: &str = "/data/log/00000000000000000000.log";

fn expiring() -> LogSettings {
    LogSettings { retention_age_max: Some(Duration::from_millis(1)), ..small() }
}

/// An empty disk with a folder for logs.
async fn prepare(io: &SimIo) {
    io.create_dir_all(Path::new("/data")).await.unwrap();
    io.sync_dir(Path::new("/")).await.unwrap();
}

#[test]
fn a_hole_in_front_of_batches_of_the_same_sector_is_no_damage() {
    let io = SimIo::new(1);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        for n in 0..3 {
            append(&log, &batch(1, 10, n, 1)).await;
        }
    });
    let io = io.kill();
    let length = batch(1, 10, 0, 1).len();
    assert!(3 * length < 512);
    let mut bytes = io.read_file(Path::new(FIRST)).unwrap();
    bytes[length..2 * length].fill(0);
    io.write_file(Path::new(FIRST), &bytes).unwrap();
    io.run(async {
        let opened = Log::open(&shard(&io), Path::new(DIR), small()).await;
        assert_eq!(opened.unwrap().0.offsets().end, at(1));
    });
}

#[test]
fn producers_are_remembered_when_retention_took_every_segment() {
    let io = SimIo::new(2);
    io.run(async {
        let sent = sequenced(7, 0, 0, 3);
        let log = open(&shard(&io), Path::new(DIR), expiring()).await;
        append(&log, &sent).await;
        let report = log.apply_retention(ms(1_000_000), at(3)).await.unwrap();
        assert_eq!(report.start, at(3));
        log.close().await.unwrap();
        let log = open(&shard(&io), Path::new(DIR), expiring()).await;
        let again = log.check_producer(&header(&sent), io.now());
        assert!(matches!(again, Ok(SequenceCheck::Duplicate { .. })), "{again:?}");
    });
}

#[test]
fn producers_are_remembered_wherever_a_retention_is_interrupted() {
    let settings = LogSettings { segment_bytes: 4096, ..expiring() };
    for operations in 0..120 {
        let io = SimIo::new(operations);
        let log = io.run(async {
            prepare(&io).await;
            let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            append(&log, &sequenced(7, 0, 0, 3)).await;
            for n in 0..20 {
                append(&log, &batch(1, 700, n, 1)).await;
            }
            log
        });
        // All segments go, and with the first the producer's batch.
        let _ = io.run_operations(log.apply_retention(ms(1_000_000), at(23)), operations);
        drop(log);
        let io = io.crash();
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            let again = log.check_producer(&header(&sequenced(7, 0, 0, 3)), io.now());
            assert!(matches!(again, Ok(SequenceCheck::Duplicate { .. })), "{operations} {again:?}");
        });
    }
}

#[test]
fn a_log_whose_truncation_met_damage_takes_no_more() {
    let io = SimIo::new(3);
    io.run(async {
        let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
        for n in 0..10 {
            append(&log, &batch(1, 100, n, 1)).await;
        }
        io.flip_bit(Path::new(FIRST), 300).unwrap();
        let cut = log.truncate(at(7)).await;
        assert!(matches!(cut, Err(MaintainError::Corrupt { .. })), "{cut:?}");
        let refused = log.reserve(100).await.unwrap_err();
        assert!(matches!(refused, AppendError::Failed(_)), "{refused}");
    });
}

#[test]
fn no_log_opens_or_appends_in_a_shard_whose_journal_failed() {
    let io = SimIo::new(4);
    io.run(async {
        prepare(&io).await;
        let shard = journaled_shard(&io, 3, 0).await;
        let log = open(&shard, Path::new(DIR), small()).await;
        let other = open(&shard, Path::new("/data/other"), small()).await;
        append(&other, &batch(1, 10, 0, 1)).await;
        let bytes = batch(1, 10, 1, 1);
        let reserved = other.reserve(bytes.len()).await.unwrap();
        let reservation = log.reserve(bytes.len()).await.unwrap();
        io.fail_once(Some(Operation::Write), 0, ErrorKind::Other);
        let appended = append_reserved(&log, reservation, &bytes).unwrap();
        assert!(log.durable(appended.end_offset).await.is_err());
        // It had its reservation before: nobody waits for ever.
        if let Ok(appended) = append_reserved(&other, reserved, &bytes) {
            assert!(other.durable(appended.end_offset).await.is_err());
        }
        drop((log, other));
        assert!(Log::open(&shard, Path::new("/data/third"), small()).await.is_err());
    });
}

#[test]
fn a_log_that_retention_emptied_is_not_made_anew_from_the_journal() {
    let io = SimIo::new(5);
    io.run(async {
        prepare(&io).await;
        let shard = journaled_shard(&io, 3, 0).await;
        let settings = LogSettings { segment_bytes: 1 << 20, ..expiring() };
        let log = open(&shard, Path::new(DIR), settings).await;
        // Much at a time skips the journal, which has only what follows.
        append(&log, &batch(1, 150_000, 0, 1)).await;
        for n in 1..4 {
            append(&log, &batch(1, 10, n, 1)).await;
        }
        log.apply_retention(ms(1_000_000), at(4)).await.unwrap();
    });
    let io = io.crash();
    io.run(async {
        let shard = journaled_shard(&io, 3, 0).await;
        let log = open(&shard, Path::new(DIR), expiring()).await;
        assert_eq!((log.offsets().start, log.offsets().end), (at(4), at(4)));
    });
}

#[test]
fn a_log_that_did_not_close_cleanly_opens_with_what_the_journal_has_of_it() {
    let io = SimIo::new(6);
    io.run(async {
        prepare(&io).await;
        let shard = journaled_shard(&io, 3, 0).await;
        let log = open(&shard, Path::new(DIR), small()).await;
        append(&log, &batch(1, 10, 0, 1)).await;
        // The write that puts the batch into its segment.
        io.fail_once(Some(Operation::Write), 0, ErrorKind::Other);
        assert!(log.close().await.is_err());
        // The old handle is still there.
        let again = open(&shard, Path::new(DIR), small()).await;
        assert_eq!(contents(&again).await.len(), 1);
        assert_eq!(log.offsets().end, at(1));
    });
}

#[test]
fn a_closed_log_that_failed_has_no_write_on_its_way() {
    let io = SimIo::new(3);
    io.run(async {
        let relaxed = FlushPolicy::Relaxed { messages: 1, interval: None };
        let settings = LogSettings { durability: relaxed, ..small() };
        let log = open(&shard(&io), Path::new(DIR), settings).await;
        append(&log, &batch(1, 10, 0, 1)).await;
        io.set_latency(Duration::from_millis(1), Duration::from_millis(1));
        // The sync fails while the write of what came next is under way.
        io.fail_once(Some(Operation::Sync), 0, ErrorKind::Other);
        let sent = batch(1, 10, 1, 1);
        let sent = CheckedBatch::check(&sent).unwrap();
        while log.failure().is_none() {
            let reservation = log.reserve(sent.bytes().len()).await;
            let _ = reservation.map(|reservation| log.append(reservation, &sent, STAMP));
            io.sleep(Duration::from_micros(100)).await;
        }
        assert!(log.close().await.is_err());
        let closed = io.read_file(Path::new(FIRST)).unwrap();
        io.sleep(Duration::from_millis(10)).await;
        assert!(io.read_file(Path::new(FIRST)).unwrap() == closed, "a write came after the close");
    });
}

#[test]
fn a_folder_whose_name_could_not_be_synced_is_synced_by_the_next_open() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        io.run(async {
            prepare(&io).await;
            let shard = journaled_shard(&io, 2, 64 << 10).await;
            // That of the folder succeeds, that of its parent does not.
            io.fail_once(Some(Operation::SyncDir), 1, ErrorKind::Other);
            assert!(Log::open(&shard, Path::new(DIR), small()).await.is_err());
            let log = open(&shard, Path::new(DIR), small()).await;
            append(&log, &batch(1, 10, 0, 1)).await;
        });
        let io = io.crash();
        io.run(async {
            let shard = journaled_shard(&io, 2, 64 << 10).await;
            let (log, _) = Log::open(&shard, Path::new(DIR), small()).await.unwrap();
            assert_eq!(log.offsets().end, at(1), "seed {seed}");
        });
    }
}

#[test]
fn epochs_begin_where_the_log_does_though_a_truncation_into_its_first_batch_was_cut_short() {
    let mut fallen = 0;
    for operations in 0..30 {
        let io = SimIo::new(operations);
        let log = io.run(async {
            prepare(&io).await;
            let shard = shard(&io);
            let log = open(&shard, Path::new(DIR), small()).await;
            append(&log, &batch(4, 10, 0, 1)).await;
            append(&log, &batch(1, 10, 1, 1)).await;
            log.roll().await.unwrap();
            append(&log, &batch(1, 10, 2, 1)).await;
            log.delete_before(at(2)).await.unwrap();
            // The epochs' checkpoint says that they begin at 2, and knows them up to 5.
            log.close().await.unwrap();
            open(&shard, Path::new(DIR), small()).await
        });
        let _ = io.run_operations(log.truncate(at(3)), operations);
        drop(log);
        let io = io.crash();
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), small()).await;
            let offsets = log.offsets();
            let begins = log.epochs().first().map(|first| first.start);
            if offsets.start < offsets.end {
                assert_eq!(begins, Some(offsets.start), "after {operations} operations");
                fallen += usize::from(offsets.start == at(0));
            }
        });
    }
    assert!(fallen > 0, "no crash came between the start and the cut");
}

#[test]
fn a_log_is_deleted_while_a_reader_rebuilds_its_indexes() {
    for seed in 0..400 {
        let io = SimIo::new(seed);
        let log = io.run(async {
            prepare(&io).await;
            let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
            for n in 0..4 {
                append(&log, &batch(1, 700, n, 1)).await;
            }
            log.roll().await.unwrap();
            append(&log, &batch(1, 10, 4, 1)).await;
            log.close().await.unwrap();
            let log = open(&cold_shard(&io), Path::new(DIR), small()).await;
            io.remove_file(&Path::new(FIRST).with_extension("index")).await.unwrap();
            log
        });
        let reader = log.clone();
        io.spawn(async move {
            // Whether it gets something depends on who comes first.
            let _ = reader.read(at(3), at(5), 1000, true).await;
        });
        let _ = io.run_operations(std::future::pending::<()>(), seed % 20);
        io.run(async {
            let deleted = log.delete().await;
            assert!(deleted.is_ok(), "seed {seed}: {deleted:?}");
            assert!(io.list_dir(Path::new(DIR)).await.is_err(), "seed {seed}");
        });
    }
}

#[test]
fn a_producer_is_remembered_though_its_last_batch_was_cut_off_after_a_compaction() {
    let io = SimIo::new(1);
    let sent = sequenced(7, 0, 0, 2);
    io.run(async {
        prepare(&io).await;
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        let settings = CompactionSettings { min_cleanable_ratio: 0.0, ..Default::default() };
        append(&log, &sent).await;
        // Of the same key, so that no record of the producer stays.
        append(&log, &batch(1, 10, 1, 1)).await;
        log.roll().await.unwrap();
        // Not replicated.
        append(&log, &sequenced(7, 0, 2, 1)).await;
        log.compact(&settings, at(3), &Uncompressed).await.unwrap();
        assert_eq!(log.truncate(at(3)).await.unwrap(), at(3));
        append(&log, &batch(1, 10, 0, 1)).await;
        log.roll().await.unwrap();
        // What is joined takes the snapshots in between with it.
        log.compact(&settings, at(4), &Uncompressed).await.unwrap();
    });
    let io = io.kill();
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        assert_eq!(log.offsets().end, at(4));
        let again = log.check_producer(&header(&sent), io.now());
        assert!(matches!(again, Ok(SequenceCheck::Duplicate { .. })), "{again:?}");
    });
}

#[test]
fn an_empty_segment_that_was_removed_does_not_come_back_behind_one_that_grew() {
    const SECOND: &str = "/data/log/00000000000000000001.log";
    let settings = LogSettings { segment_bytes: 4096, ..LogSettings::default() };
    for (seed, operations) in (0..16).flat_map(|seed| (0..24).map(move |n| (seed, n))) {
        let io = SimIo::new(seed);
        io.run(async {
            prepare(&io).await;
            let mut log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            append(&log, &batch(1, 100, 0, 1)).await;
            if seed % 2 == 0 {
                // A clean mark vouches for the first segment.
                log.close().await.unwrap();
                log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            }
            log.roll().await.unwrap();
            // What a loss of power leaves of an append that had made its segment's name durable.
            io.write_file(Path::new(SECOND), b"").unwrap();
            io.sync_dir(Path::new(DIR)).await.unwrap();
        });
        let io = io.kill();
        let log = io.run(open(&shard(&io), Path::new(DIR), settings.clone()));
        let bytes = batch(1, 100, 1, 1);
        let _ = io.run_operations(append(&log, &bytes), operations);
        drop(log);
        let io = io.kill();
        let end = io.run(async {
            let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
            append(&log, &batch(1, 100, 2, 1)).await;
            log.offsets().durable
        });
        let io = io.crash();
        io.run(async {
            let opened = Log::open(&shard(&io), Path::new(DIR), settings.clone()).await;
            let (log, _) = opened.unwrap_or_else(|error| panic!("{seed} {operations}: {error}"));
            assert_eq!(log.offsets().durable, end, "{seed} {operations}");
        });
    }
}

#[test]
fn what_is_kept_of_a_sealed_segment_does_not_hold_later_buffers() {
    const BUDGET: usize = 16 * 1024;
    let io = SimIo::new(6);
    io.run(async {
        let shard = Shard::new(
            io.clone(),
            ShardSettings { buffer_pool_bytes: 8 << 20, cache_bytes: BUDGET, ..cold_settings() },
        );
        let log = open(&shard, Path::new(DIR), small()).await;
        let other = open(&shard, Path::new("/data/other"), small()).await;
        // Each is a segment of its own, and more than the cache may hold.
        for n in 0..100 {
            append(&log, &batch(6, 12_000, n, 1)).await;
            append(&other, &batch(1, 100, n, 1)).await;
        }
        let used = shard.cache_stats().used_bytes;
        assert!(used <= 2 * (128 << 10), "{used} bytes, as if none could go");
    });
}

#[test]
fn epochs_are_found_though_an_older_checkpoint_of_them_stands_beside_a_clean_mark() {
    let io = SimIo::new(7);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        append(&log, &batch(3, 100, 0, 1)).await;
        log.close().await.unwrap();
        // A disk may lose one new name of a folder and keep a later one.
        io.write_file(&Path::new(DIR).join("leader-epoch-checkpoint"), b"0\n0\n").unwrap();
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        assert_eq!(log.epochs().len(), 1, "{:?}", log.epochs());
    });
}

#[test]
fn a_truncation_takes_back_a_start_that_could_not_be_made_durable() {
    let io = SimIo::new(8);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), small()).await;
        for n in 0..3 {
            append(&log, &batch(1, 100, n, 1)).await;
        }
        log.roll().await.unwrap();
        io.fail_once(Some(Operation::SyncDir), 0, ErrorKind::StorageFull);
        let kept = log.delete_before(at(3)).await;
        assert!(matches!(kept, Err(MaintainError::DiskFull(_))), "{kept:?}");
        assert_eq!(log.truncate(at(2)).await.unwrap(), at(2));
    });
    let io = io.crash();
    io.run(async {
        let opened = Log::open(&shard(&io), Path::new(DIR), small()).await;
        let offsets = opened.unwrap().0.offsets();
        assert_eq!((offsets.start, offsets.end), (at(0), at(2)));
    });
}

#[test]
fn what_was_appended_between_two_policies_becomes_durable_behind_a_late_journal() {
    let relaxed = LogSettings {
        durability: FlushPolicy::Relaxed { messages: 1_000, interval: None },
        ..small()
    };
    for seed in 0..50 {
        let io = SimIo::new(seed);
        io.set_latency(Duration::from_micros(1), Duration::from_micros(100));
        io.run(async {
            prepare(&io).await;
            let shard = journaled_shard(&io, 3, 0).await;
            // Once relaxed, a log may be so again at once.
            let log = open(&shard, Path::new(DIR), relaxed.clone()).await;
            append(&log, &batch(1, 10, 0, 1)).await;
            log.update_settings(small()).unwrap();
            io.sleep(Duration::from_millis(10)).await;
            for (n, settings) in [small(), relaxed.clone(), small()].into_iter().enumerate() {
                log.update_settings(settings).unwrap();
                let bytes = batch(1, 10, n as u64, 1);
                let reserved = log.reserve(bytes.len()).await.unwrap();
                append_reserved(&log, reserved, &bytes).unwrap();
                // Writes are under way, and end in any order.
                io.sleep(Duration::from_nanos(1)).await;
            }
            log.durable(at(4)).await.unwrap();
        });
    }
}

#[test]
fn a_segment_that_was_sealed_while_its_name_was_made_durable_does_not_name_the_next_one() {
    let relaxed = LogSettings {
        durability: FlushPolicy::Relaxed { messages: 1_000, interval: None },
        ..small()
    };
    for seed in 0..300 {
        let io = SimIo::new(seed);
        io.set_slow_operations(30);
        io.run(async {
            prepare(&io).await;
            let shard = journaled_shard(&io, 3, 0).await;
            let log = open(&shard, Path::new(DIR), relaxed.clone()).await;
            io.sleep(Duration::from_millis(100)).await;
            log.update_settings(small()).unwrap();
            append(&log, &batch(1, 10, 0, 1)).await;
            // What the journal has is to go to the file, whose name has to be durable first; and so
            // it has for the next append, which sees to that itself.
            log.update_settings(relaxed.clone()).unwrap();
            append(&log, &batch(1, 10, 1, 1)).await;
            log.roll().await.unwrap();
            io.sleep(Duration::from_millis(100)).await;
            append(&log, &batch(1, 10, 2, 1)).await;
        });
    }
}

#[test]
fn producers_are_remembered_though_the_snapshot_of_the_last_segment_is_gone_with_all_before_it() {
    let io = SimIo::new(9);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), expiring()).await;
        append(&log, &sequenced(7, 0, 0, 3)).await;
        log.roll().await.unwrap();
        append(&log, &batch(1, 100, 0, 1)).await;
        log.roll().await.unwrap();
        log.delete_before(at(4)).await.unwrap();
        // The disk lost one removal's name and kept a later one's.
        io.write_file(&Path::new(DIR).join("00000000000000000003.log"), &stored(3)).unwrap();
    });
    let io = io.kill();
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), expiring()).await;
        assert_eq!((log.offsets().start, log.offsets().end), (at(4), at(4)));
        let again = log.check_producer(&header(&sequenced(7, 0, 0, 3)), io.now());
        assert!(matches!(again, Ok(SequenceCheck::Duplicate { .. })), "{again:?}");
    });
}

/// The bytes of the second segment above, as the log has stored them.
fn stored(base_offset: i64) -> Vec<u8> {
    let mut bytes = batch(1, 100, 0, 1);
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes
}

#[test]
fn what_the_journal_puts_into_a_failed_logs_segments_does_not_land_in_the_next_log_of_its_name() {
    for seed in 0..50 {
        let io = SimIo::new(seed);
        io.run(async {
            prepare(&io).await;
            let shard = journaled_shard(&io, 3, 16 * 1024).await;
            let log = open(&shard, Path::new(DIR), small()).await;
            let other = open(&shard, Path::new("/data/other"), small()).await;
            for n in 0..5 {
                append(&log, &batch(1, 500, n, 1)).await;
            }
            io.fail_once(Some(Operation::Write), 0, ErrorKind::StorageFull);
            assert!(log.roll().await.is_err(), "the write of its segment failed");
            // Memory is wanted, so the journal begins to put what it has of the log into the segment.
            for n in 0..4 {
                append(&other, &batch(1, 8_000, n, 1)).await;
            }
            log.delete().await.unwrap();
            let log = open(&shard, Path::new(DIR), small()).await;
            io.sleep(Duration::from_secs(1)).await;
            append(&log, &batch(1, 10, 7, 1)).await;
            log.close().await.unwrap();
            let log = open(&shard, Path::new(DIR), small()).await;
            assert_eq!(contents(&log).await.len(), 1, "seed {seed}");
        });
    }
}
