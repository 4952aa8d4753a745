//! What stays and what goes.

use std::time::Duration;

use ringlog_engine::batch::{BatchHeader, ProducerId};
use ringlog_engine::compaction::{CompactionReport, CompactionSettings, Uncompressed};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::offset::Offset;

use crate::model::*;
use crate::support::*;

#[test]
fn whatever_is_appended_compaction_keeps_to_kafkas_rules_again_and_again() {
    let mut total = CompactionReport::default();
    for seed in seeds(60) {
        let replay = replay(seed, "whatever");
        let mut random = Random(seed);
        let io = SimIo::new(seed);
        let mut model = Model::default();
        io.run(async {
            let mut log = open_log(&io, &replay).await;
            for _ in 0..6 {
                for _ in 0..random.below(120) {
                    step(&log, &mut model, &mut random, &io, seed % 2 == 0).await;
                }
                if random.below(2) == 0 {
                    log.roll().await.unwrap();
                }
                let producers: Vec<_> =
                    (1..6).map(|id| log.producer(ProducerId::new(id))).collect();
                let report = compact(&log, &replay).await;
                assert!(!report.key_map_full && report.unreadable_batches == 0, "{report:?}");
                let (end, now) = (report.clean_to.value(), io.now().millis());
                if report.clean_to > report.dirty_from {
                    check_compacted(&log, &mut model, end, now, &replay).await;
                }
                check_safety(&log, &model, &mut random, &replay).await;
                total.outdated_removed += report.outdated_removed;
                total.tombstones_removed += report.tombstones_removed;
                total.keyless_removed += report.keyless_removed;
                total.aborted_removed += report.aborted_removed;
                total.markers_removed += report.markers_removed;
                total.segments.0 += report.segments.0;
                total.segments.1 += report.segments.1;
                if random.below(2) == 0 {
                    if random.below(2) == 0 {
                        log.close().await.unwrap();
                    }
                    log = open_log(&io, &replay).await;
                    check_safety(&log, &model, &mut random, &replay).await;
                    let again: Vec<_> =
                        (1..6).map(|id| log.producer(ProducerId::new(id))).collect();
                    for (known, again) in producers.iter().zip(&again) {
                        let place = |state: &Option<ringlog_engine::producer::ProducerState>| {
                            let state = state.as_ref()?;
                            let last = state.last_batch().map(|last| last.last_sequence);
                            Some((state.epoch, state.transaction_start, last))
                        };
                        assert_eq!(place(known), place(again), "{replay}");
                    }
                }
                match random.below(4) {
                    0 => io.sleep(RETENTION).await,
                    1 => io.sleep(RETENTION / 2).await,
                    _ => {}
                }
            }
        });
    }
    // The rules were all put to use.
    assert!(total.outdated_removed > 100, "{total:?}");
    assert!(total.tombstones_removed > 10, "{total:?}");
    assert!(total.keyless_removed > 10, "{total:?}");
    assert!(total.aborted_removed > 100, "{total:?}");
    assert!(total.markers_removed > 10, "{total:?}");
    assert!(total.segments.0 > total.segments.1, "{total:?}");
}

#[test]
fn a_full_key_map_ends_a_compaction_where_the_next_one_goes_on() {
    let io = SimIo::new(7);
    io.run(async {
        let log = open_log(&io, "").await;
        for round in 0..2 {
            for key in 0..400 {
                append(&log, &one(&format!("key-{key}"), Some(&format!("{round}")), io.now()))
                    .await;
            }
        }
        log.roll().await.unwrap();
        let tight = CompactionSettings { key_map_bytes: 0, ..settings() };
        let mut clean_to = Offset::ZERO;
        let mut rounds = 0;
        loop {
            let report = log.compact(&tight, log.offsets().durable, &Uncompressed).await.unwrap();
            assert_eq!(report.dirty_from, clean_to);
            assert!(report.keys * 24 <= 4096, "{report:?}");
            rounds += 1;
            if !report.key_map_full {
                break;
            }
            assert!(report.clean_to > clean_to);
            clean_to = report.clean_to;
        }
        assert!(rounds >= 5, "{rounds}");
        let expected: Vec<_> = (0..400).map(|key| (key + 400, format!("key-{key}"))).collect();
        assert_eq!(keys(&log).await, expected);
    });
}

#[test]
fn only_what_is_old_and_dirty_enough_is_compacted() {
    let io = SimIo::new(8);
    io.run(async {
        let log = open_log(&io, "").await;
        for _ in 0..50 {
            append(&log, &one("a", Some("old"), io.now())).await;
        }
        log.roll().await.unwrap();
        io.sleep(Duration::from_secs(10)).await;
        for _ in 0..50 {
            append(&log, &one("a", Some("young"), io.now())).await;
        }
        log.roll().await.unwrap();
        append(&log, &one("a", Some("active"), io.now())).await;
        let lag = CompactionSettings { min_lag: Duration::from_secs(5), ..settings() };
        let end = log.offsets().durable;
        let dirty = log.dirtiness(&lag, end).await.unwrap();
        assert_eq!((dirty.first_dirty, dirty.cleanable_end), (at(0), at(50)));
        let report = log.compact(&lag, end, &Uncompressed).await.unwrap();
        assert_eq!((report.clean_to, report.outdated_removed), (at(50), 49));
        // The high watermark bounds it too.
        assert_eq!(log.dirtiness(&settings(), at(99)).await.unwrap().cleanable_end, at(50));
        let strict = CompactionSettings { min_cleanable_ratio: 1.0, ..settings() };
        let report = log.compact(&strict, end, &Uncompressed).await.unwrap();
        assert_eq!((report.clean_to, report.records), (at(50), 0));
        let overdue = CompactionSettings { max_lag: Some(Duration::from_secs(5)), ..strict };
        assert!(!log.dirtiness(&overdue, end).await.unwrap().is_overdue);
        io.sleep(Duration::from_secs(6)).await;
        let report = log.compact(&overdue, end, &Uncompressed).await.unwrap();
        assert_eq!(report.clean_to, at(100));
        assert_eq!(keys(&log).await, [(99, "a".to_owned()), (100, "a".to_owned())]);
    });
}

#[test]
fn batches_of_an_unknown_codec_stay_as_they_are() {
    let io = SimIo::new(9);
    io.run(async {
        let log = open_log(&io, "").await;
        let packed = flipped(one("a", Some("1"), io.now()));
        append(&log, &packed).await;
        append(&log, &one("b", Some("1"), io.now())).await;
        append(&log, &one("b", Some("2"), io.now())).await;
        log.roll().await.unwrap();
        let report = log.compact(&settings(), log.offsets().durable, &Uncompressed).await.unwrap();
        assert_eq!((report.unreadable_batches, report.outdated_removed), (1, 1));
        let held = batches(&log, Offset::ZERO).await;
        assert_eq!(unstamped(&held[0]), unstamped(&packed));
        assert_eq!(header(&held[1]).record_count, 0);
        assert_eq!(header(&held[2]).record_count, 1);
    });
}

#[test]
fn what_is_left_of_a_log_of_one_key_is_one_empty_batch_and_its_last_record() {
    let io = SimIo::new(10);
    io.run(async {
        let log = open_log(&io, "").await;
        for n in 0..500 {
            append(&log, &one("a", Some(&n.to_string()), io.now())).await;
        }
        log.roll().await.unwrap();
        let before = log.size_bytes();
        let report = compact(&log, "").await;
        assert_eq!(report.bytes.0, before);
        // The segments were joined as they were, by size; another compaction joins them again.
        for _ in 0..8 {
            append(&log, &one("a", Some("again"), io.now())).await;
            log.roll().await.unwrap();
            compact(&log, "").await;
        }
        assert_eq!(log.segment_count(), 2);
        let held: Vec<BatchHeader> =
            batches(&log, Offset::ZERO).await.iter().map(|batch| header(batch)).collect();
        assert_eq!(held.len(), 2);
        assert_eq!((held[0].record_count, held[0].last_offset_delta), (0, 506));
        assert_eq!((held[1].record_count, held[1].base_offset), (1, 507));
        // Time finds the record, and not what is empty.
        let found = log.find_timestamp(ms(0), log.offsets().durable).await.unwrap().unwrap();
        assert_eq!(header(&found).base_offset, 507);
        let (_, latest) = log.max_timestamp(log.offsets().durable).await.unwrap().unwrap();
        assert_eq!(header(&latest).base_offset, 507);
    });
}

#[test]
fn a_log_that_is_cut_is_dirty_from_where_it_was_cut() {
    let io = SimIo::new(11);
    io.run(async {
        let log = open_log(&io, "").await;
        for n in 0..100 {
            append(&log, &one(&format!("{}", n % 50), Some("x"), io.now())).await;
        }
        log.roll().await.unwrap();
        assert_eq!(compact(&log, "").await.clean_to, at(100));
        log.truncate(at(75)).await.unwrap();
        for _ in 0..50 {
            append(&log, &one("60", Some("y"), io.now())).await;
        }
        log.roll().await.unwrap();
        let log = {
            log.close().await.unwrap();
            open_log(&io, "").await
        };
        log.roll().await.unwrap();
        let report = compact(&log, "").await;
        assert!(report.dirty_from <= at(75), "{report:?}");
        let held = keys(&log).await;
        assert_eq!(held.last(), Some(&(log.offsets().end.value() - 1, "60".to_owned())));
        assert_eq!(held.iter().filter(|(_, key)| key == "60").count(), 1);
    });
}
