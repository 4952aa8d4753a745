//! What is left of producers and their transactions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::batch::{Attributes, BatchBuilder, BatchOptions, ProducerId};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{FlushPolicy, LogSettings};
use ringlog_engine::offset::Offset;
use ringlog_engine::producer::Marker;

use crate::model::*;
use crate::support::*;

fn transactional(sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        attributes: Attributes::default().with_transactional(true),
        producer_id: ProducerId::new(7),
        producer_epoch: 0,
        base_sequence: sequence,
    });
    builder.push(ms(1), Some(b"k"), Some(b"v"), &[]);
    builder.finish().unwrap()
}

#[test]
fn a_producers_last_sequence_stays_in_the_log_when_all_its_records_are_gone() {
    let io = SimIo::new(14);
    io.run(async {
        let log = open_log(&io, "").await;
        append(&log, &sequenced(7, 3, 40, 2)).await;
        append(&log, &sequenced(7, 3, 42, 2)).await;
        // The records of all these batches have one key.
        append(&log, &batch(1, 20, 1, 2_000)).await;
        log.roll().await.unwrap();
        assert_eq!(compact(&log, "").await.outdated_removed, 4);
        let held = batches(&log, Offset::ZERO).await;
        let counts: Vec<_> = held.iter().map(|batch| header(batch).record_count).collect();
        assert_eq!(counts, [0, 0, 1]);
        assert!(!header(&held[0]).producer_id.is_some());
        log.close().await.unwrap();
        for entry in io.list_dir(Path::new(DIR)).await.unwrap() {
            if entry.name.ends_with(".snapshot") {
                io.remove_file(&Path::new(DIR).join(entry.name)).await.unwrap();
            }
        }
        let log = open_log(&io, "").await;
        let state = log.producer(ProducerId::new(7)).unwrap();
        assert_eq!((state.epoch, state.last_batch().unwrap().last_sequence), (3, 43));
    });
}

#[test]
fn the_index_of_aborted_transactions_survives_closing_crashing_and_damage() {
    let io = SimIo::new(13);
    let dir = PathBuf::from(DIR);
    io.run(async {
        let log = open_log(&io, "").await;
        append(&log, &transactional(0)).await;
        assert_eq!(log.first_unstable_offset(at(i64::MAX)), Some(at(0)));
        append(&log, &marker(7, Marker::Abort)).await;
        append(&log, &transactional(1)).await;
        log.roll().await.unwrap();
        append(&log, &marker(7, Marker::Abort)).await;
        let expected = log.aborted_transactions(at(0), at(4)).await.unwrap();
        assert_eq!(expected.len(), 2);
        assert_eq!(log.aborted_transactions(at(0), at(1)).await.unwrap(), expected[..1]);
        assert_eq!(log.aborted_transactions(at(2), at(3)).await.unwrap(), expected[1..]);
        // From the batches.
        drop(log);
        let log = open_log(&io, "").await;
        assert_eq!(log.aborted_transactions(at(0), at(4)).await.unwrap(), expected);
        // From the files.
        log.close().await.unwrap();
        let log = open_log(&io, "").await;
        assert_eq!(log.aborted_transactions(at(0), at(4)).await.unwrap(), expected);
        assert_eq!(log.first_unstable_offset(at(4)), None);
        // From the batches again, since a file is wrong.
        let file = dir.join("00000000000000000000.txnindex");
        assert_eq!(io.read_file(&file).unwrap().len(), 34);
        io.write_file(&file, b"garbage").unwrap();
        assert_eq!(log.aborted_transactions(at(0), at(4)).await.unwrap(), expected);
        assert_eq!(io.read_file(&file).unwrap().len(), 34);
        // An open transaction survives a clean close in the snapshot.
        append(&log, &transactional(2)).await;
        log.close().await.unwrap();
        let log = open_log(&io, "").await;
        assert_eq!(log.first_unstable_offset(at(5)), Some(at(4)));
        // What is cut takes its entries along.
        log.truncate(at(3)).await.unwrap();
        assert_eq!(log.aborted_transactions(at(0), at(4)).await.unwrap(), expected[..1]);
        assert_eq!(log.first_unstable_offset(at(3)), Some(at(2)));
    });
}

#[test]
fn a_marker_stays_while_a_snapshot_says_that_its_transaction_is_open() {
    let io = SimIo::new(18);
    io.run(async {
        let log = open_log(&io, "").await;
        io.sync_dir(Path::new("/")).await.unwrap();
        append(&log, &transactional(0)).await;
        // The snapshot of here knows the transaction. Nothing is left of it in the log.
        log.roll().await.unwrap();
        log.delete_before(at(1)).await.unwrap();
        append(&log, &marker(7, Marker::Abort)).await;
        for n in 0..3 {
            append(&log, &one(&n.to_string(), Some("value"), io.now())).await;
            log.roll().await.unwrap();
            compact(&log, "").await;
            io.sleep(RETENTION).await;
        }
        assert_eq!(log.first_unstable_offset(at(i64::MAX)), None);
    });
    let io = io.crash();
    io.run(async {
        let log = open_log(&io, "").await;
        assert_eq!(log.offsets().end, at(5));
        assert_eq!(log.first_unstable_offset(at(i64::MAX)), None);
    });
}

#[test]
fn records_stay_as_long_as_a_loss_of_power_may_take_the_marker_that_dooms_them() {
    for seed in 0..20 {
        let io = SimIo::new(seed);
        io.run(async {
            let log = open_log(&io, "").await;
            io.sync_dir(Path::new("/")).await.unwrap();
            let durability = FlushPolicy::Relaxed { messages: 1_000, interval: None };
            log.update_settings(LogSettings { durability, ..log.settings() }).unwrap();
            io.sleep(Duration::from_millis(100)).await;
            append(&log, &transactional(0)).await;
            log.roll().await.unwrap();
            append(&log, &marker(7, Marker::Abort)).await;
            compact(&log, "").await;
        });
        let io = io.crash();
        io.run(async {
            let log = open_log(&io, "").await;
            let held = batches(&log, Offset::ZERO).await;
            let records: Vec<_> = held.iter().map(|batch| header(batch).record_count).collect();
            let is_whole = records == [1] && log.first_unstable_offset(at(9)) == Some(at(0));
            assert!(is_whole || log.offsets().end == at(2), "seed {seed}: {records:?}");
        });
    }
}

#[test]
fn a_marker_stays_with_its_empty_batch_wherever_a_swap_is_interrupted() {
    for operations in 0_u64..60 {
        let io = SimIo::new(operations);
        let log = io.run(async {
            let log = open_log(&io, "").await;
            append(&log, &transactional(0)).await;
            append(&log, &marker(7, Marker::Abort)).await;
            log.roll().await.unwrap();
            append(&log, &one("other", Some("value"), io.now())).await;
            log
        });
        let _ = io.run_operations(compact(&log, ""), operations);
        drop(log);
        let io = io.kill();
        io.run(async {
            let log = open_log(&io, "").await;
            let aborted = log.aborted_transactions(at(0), at(2)).await.unwrap();
            assert_eq!(aborted.len(), 1, "{operations}");
            // What replays all of it finds nothing open.
            for _ in 0..2 {
                append(&log, &one("other", Some("value"), io.now())).await;
                log.roll().await.unwrap();
                io.sleep(RETENTION).await;
                compact(&log, "").await;
            }
            log.close().await.unwrap();
            for entry in io.list_dir(Path::new(DIR)).await.unwrap() {
                if entry.name.ends_with(".snapshot") {
                    io.remove_file(&Path::new(DIR).join(entry.name)).await.unwrap();
                }
            }
            let log = open_log(&io, "").await;
            assert_eq!(log.first_unstable_offset(at(i64::MAX)), None, "{operations}");
        });
    }
}
