//! What a log promises while nothing goes wrong, on every backend.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ringlog_engine::batch::{CheckedBatch, ProducerId};
use ringlog_engine::epoch::LeaderEpoch;
use ringlog_engine::error::{AppendError, MaintainError, OpenError, ReadError};
use ringlog_engine::frame::{CheckedFrame, Frame, frames};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::io::uring::UringIo;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings, Stamp};
use ringlog_engine::producer::{SequenceCheck, SequenceError};
use support::*;

async fn what_was_appended_is_read_across_rolls_and_reopening<I: Io>(io: I, dir: PathBuf) {
    append_roll_and_reopen(io, dir, Entries::Batches).await;
}

async fn frames_are_read_across_rolls_and_reopening<I: Io>(io: I, dir: PathBuf) {
    append_roll_and_reopen(io, dir, Entries::Frames).await;
}

async fn append_roll_and_reopen<I: Io>(io: I, dir: PathBuf, entries: Entries) {
    let records = entries.records(3);
    let shard = shard(&io);
    let mut appended = Vec::new();
    for round in 0..3 {
        let (log, report) = Log::open(&shard, &dir, small()).await.unwrap();
        assert!(report.clean && report.cut.is_none(), "{report:?}");
        for n in 0..40 {
            let bytes = entries.make(3, 1_000, round * 100 + n, 1_000);
            let placed = append(&log, &bytes).await;
            let expected = i64::try_from(appended.len() * records).unwrap();
            assert_eq!(placed.base_offset.value(), expected);
            assert_eq!(placed.end_offset.value(), i64::try_from(records).unwrap() + expected);
            appended.push(bytes);
        }
        assert!(log.segment_count() > 1);
        let held: Vec<_> = contents(&log).await.iter().map(|b| unstamped(b)).collect();
        assert_eq!(held, appended);
        assert_eq!(log.size_bytes(), appended.iter().map(|b| b.len() as u64).sum::<u64>());
        log.close().await.unwrap();
        assert_eq!(log.reserve(10).await.unwrap_err(), AppendError::Closed);
    }
    // The same again, with nothing in memory.
    let log = open(&cold_shard(&io), &dir, small()).await;
    let held: Vec<_> = contents(&log).await.iter().map(|b| unstamped(b)).collect();
    assert_eq!(held, appended);
}

async fn a_read_gives_whole_batches_within_its_limits<I: Io>(io: I, dir: PathBuf) {
    read_within_limits(io, dir, Entries::Batches, 100).await;
}

async fn a_read_gives_whole_frames_within_its_limits<I: Io>(io: I, dir: PathBuf) {
    read_within_limits(io.clone(), dir.join("hundred"), Entries::Frames, 100).await;
    // Shorter than a record batch's header, the last one included.
    read_within_limits(io, dir.join("one"), Entries::Frames, 1).await;
}

async fn read_within_limits<I: Io>(io: I, dir: PathBuf, entries: Entries, bytes: usize) {
    let one = entries.make(4, bytes, 1, 1).len();
    let records = i64::try_from(entries.records(4)).unwrap();
    for shard in [shard(&io), cold_shard(&io)] {
        let log = open(&shard, &dir, small()).await;
        while log.offsets().end < at(40) {
            let n = log.offsets().end.value();
            append(&log, &entries.make(4, bytes, u64::try_from(n).unwrap(), 1)).await;
        }
        let end = log.offsets().durable;
        for from in 0..40 {
            let slices = log.read(at(from), end, one * 2, true).await.unwrap();
            let bytes = slices.to_vec();
            let first = from / records * records;
            assert_eq!(header(&bytes).base_offset, first, "the first holds the offset");
            let left = usize::try_from((40 - first) / records).unwrap();
            assert_eq!(bytes.len(), one * left.min(2), "from {from}");
        }
        let too_small = log.read(at(5), end, one - 1, false).await.unwrap();
        assert!(too_small.is_empty());
        let anyway = log.read(at(5), end, 1, true).await.unwrap();
        assert_eq!(anyway.len(), one);
        let shown = log.read(at(5), at(7), 10_000, true).await.unwrap();
        let whole = usize::try_from(7 / records - 5 / records).unwrap();
        assert_eq!(shown.len(), one * whole, "what ends above the visible end is not shown");
        assert!(log.read(end, end, 10_000, true).await.unwrap().is_empty());
        let out = log.read(at(41), end, 10_000, true).await.unwrap_err();
        assert!(matches!(out, ReadError::OutOfRange { .. }));
        log.close().await.unwrap();
    }
}

async fn batches_larger_than_a_read_are_read_whole<I: Io>(io: I, dir: PathBuf) {
    read_large(io, dir, batch(2, 1_200_000, 7, 1)).await;
}

async fn frames_larger_than_a_read_are_read_whole<I: Io>(io: I, dir: PathBuf) {
    read_large(io, dir, frame(2_400_000, 7, 1)).await;
}

async fn read_large<I: Io>(io: I, dir: PathBuf, big: Vec<u8>) {
    let settings = LogSettings { batch_bytes_max: 3 << 20, segment_bytes: 8 << 20, ..small() };
    let log = open(&cold_shard(&io), &dir, settings).await;
    append(&log, &Entries::Both.make(1, 10, 1, 1)).await;
    append(&log, &big).await;
    append(&log, &Entries::Both.make(1, 10, 2, 1)).await;
    assert_eq!(contents(&log).await.len(), 3);
    let slices = log.read(at(1), log.offsets().end, 1, true).await.unwrap();
    assert_eq!(unstamped(&slices.to_vec()), big);
    let error = log.reserve((3 << 20) + 1).await.unwrap_err();
    assert_eq!(error, AppendError::BatchTooLarge { actual: (3 << 20) + 1, max: 3 << 20 });
}

async fn the_log_stamps_offset_epoch_and_time<I: Io>(io: I, dir: PathBuf) {
    let log = open(&shard(&io), &dir, small()).await;
    let bytes = batch(2, 30, 1, 1_000);
    let checked = CheckedBatch::check(&bytes).unwrap();
    append(&log, &bytes).await;
    let stamp = Stamp {
        leader_epoch: LeaderEpoch::new(4),
        log_append_time: Some(ms(77_777)),
        max_timestamp: Some(ms(5)),
    };
    let placed = log.append_durably(&checked, stamp).await.unwrap();
    let slices = log.read(placed.base_offset, placed.end_offset, 1, true).await.unwrap();
    let read = slices.to_vec();
    let stored = CheckedBatch::check(&read).unwrap();
    assert_eq!(stored.header().base_offset, 2);
    assert_eq!(stored.header().leader_epoch, LeaderEpoch::new(4));
    assert!(stored.header().attributes.is_append_time());
    assert_eq!(stored.header().max_timestamp, ms(77_777));
    let stale = Stamp { leader_epoch: LeaderEpoch::new(3), ..Stamp::default() };
    let error = log.append_durably(&checked, stale).await.unwrap_err();
    assert!(matches!(error, AppendError::StaleLeaderEpoch { .. }));
    let end = |epoch| log.epoch_end_offset(LeaderEpoch::new(epoch));
    assert_eq!(end(0), Some((LeaderEpoch::new(0), at(2))));
    assert_eq!(end(3), Some((LeaderEpoch::new(0), at(2))));
    assert_eq!(end(9), Some((LeaderEpoch::new(4), at(4))));
    log.close().await.unwrap();
    let log = open(&shard(&io), &dir, small()).await;
    assert_eq!(log.epochs().len(), 2);
    assert_eq!(log.latest_epoch(), LeaderEpoch::new(4));
}

async fn frames_are_stamped_found_by_time_and_truncated<I: Io>(io: I, dir: PathBuf) {
    let settings = LogSettings { segment_bytes: 4096, index_interval_bytes: 64, ..small() };
    let shard = cold_shard(&io);
    let log = open(&shard, &dir, settings.clone()).await;
    for n in 0..200_u8 {
        let epoch = LeaderEpoch::new(i32::from(n) / 50);
        let time = Some(ms(1_000 + i64::from(n)));
        let stamp = match n % 3 {
            0 => Stamp { leader_epoch: epoch, log_append_time: time, max_timestamp: None },
            1 => Stamp { leader_epoch: epoch, log_append_time: None, max_timestamp: time },
            _ => Stamp { leader_epoch: epoch, ..Stamp::default() },
        };
        let made_at = if n % 3 == 2 { ms(1_000 + i64::from(n)) } else { ms(5) };
        let payload = [n; 20];
        let frame = Frame::new(made_at, &payload).unwrap();
        log.append_durably(&frame, stamp).await.unwrap();
    }
    let mut log = log;
    for (end, reopen) in [(200, false), (200, true), (151, false), (80, true), (1, true)] {
        assert_eq!(log.truncate(at(end)).await.unwrap(), at(end));
        if reopen {
            log.close().await.unwrap();
            log = open(&shard, &dir, settings.clone()).await;
        }
        assert_eq!(i64::try_from(log.epochs().len()).unwrap(), (end + 49) / 50);
        for n in [0, 1, 2, 77, end - 1] {
            let found = log.find_timestamp(ms(1_000 + n), at(end)).await.unwrap();
            let Some(found) = found else {
                assert!(n >= end);
                continue;
            };
            let frame = CheckedFrame::check(&found).unwrap();
            assert_eq!((frame.offset(), frame.timestamp()), (at(n), ms(1_000 + n)));
            assert_eq!(frame.payload(), [u8::try_from(n).unwrap(); 20]);
        }
        let latest = log.max_timestamp(at(end)).await.unwrap().unwrap().0;
        assert_eq!(latest, ms(999 + end));
        let slices = log.read(at(0), at(end), 1 << 20, true).await.unwrap();
        let first = slices.iter().flat_map(|piece| frames(piece)).next().unwrap().unwrap();
        assert_eq!(first.payload(), [0; 20]);
    }
}

async fn the_stamped_maximum_is_stored_and_found_instead_of_the_headers<I: Io>(
    io: I,
    dir: PathBuf,
) {
    let settings = LogSettings { segment_bytes: 4096, index_interval_bytes: 1, ..small() };
    let log = open(&cold_shard(&io), &dir, settings.clone()).await;
    let bytes = batch(1, 1_000, 1, 9_000_000);
    let checked = CheckedBatch::check(&bytes).unwrap();
    for n in 0..10 {
        let stamp = Stamp { max_timestamp: Some(ms(100 * n)), ..Stamp::default() };
        log.append_durably(&checked, stamp).await.unwrap();
    }
    let latest = |log: Log<I>| async move {
        let found = log.find_timestamp(ms(450), log.offsets().end).await.unwrap().unwrap();
        assert_eq!((header(&found).base_offset, header(&found).max_timestamp), (5, ms(500)));
        assert!(log.find_timestamp(ms(901), log.offsets().end).await.unwrap().is_none());
        for stored in contents(&log).await {
            let stored = CheckedBatch::check(&stored).unwrap();
            assert!(!stored.header().attributes.is_append_time());
        }
    };
    latest(log.clone()).await;
    log.close().await.unwrap();
    let log = open(&cold_shard(&io), &dir, settings).await;
    latest(log.clone()).await;
    // Everything but the newest segment is older than 900 - 50 ms.
    let settings = LogSettings { retention_age_max: Some(Duration::from_millis(50)), ..small() };
    log.update_settings(settings).unwrap();
    log.apply_retention(ms(900), log.offsets().end).await.unwrap();
    assert!(log.offsets().start > at(0));
    let same = Stamp { max_timestamp: Some(ms(9_000_000)), ..Stamp::default() };
    let placed = log.append_durably(&checked, same).await.unwrap();
    let stored = log.read(placed.base_offset, placed.end_offset, 1, true).await.unwrap().to_vec();
    assert_eq!(header(&stored).checksum, checked.header().checksum);
}

async fn truncation_cuts_batches_segments_producers_and_epochs<I: Io>(io: I, dir: PathBuf) {
    let shard = shard(&io);
    let settings = LogSettings { segment_bytes: 4096, ..small() };
    let mut log = open(&shard, &dir, settings.clone()).await;
    for n in 0..100 {
        let bytes = sequenced(5, 0, n * 2, 2);
        let stamp = Stamp { leader_epoch: LeaderEpoch::new(n / 20), ..Stamp::default() };
        let batch = CheckedBatch::check(&bytes).unwrap();
        log.append_durably(&batch, stamp).await.unwrap();
    }
    assert!(log.segment_count() > 2);
    assert_eq!(log.truncate(at(300)).await.unwrap(), at(200));
    for (to, left) in [(199, 198), (121, 120), (61, 60), (40, 40), (3, 2), (0, 0)] {
        assert_eq!(log.truncate(at(to)).await.unwrap(), at(left));
        for reopened in [false, true] {
            if reopened {
                log.close().await.unwrap();
                assert_eq!(log.truncate(at(0)).await, Err(MaintainError::Closed));
                log = open(&shard, &dir, settings.clone()).await;
            }
            assert_eq!((log.offsets().end, log.offsets().durable), (at(left), at(left)));
            assert_eq!(contents(&log).await.len(), usize::try_from(left / 2).unwrap());
            let state = log.producer(ProducerId::new(5));
            let last = state.map(|state| i64::from(state.last_batch().unwrap().last_sequence));
            assert_eq!(last, (left > 0).then_some(left - 1));
            assert_eq!(i64::try_from(log.epochs().len()).unwrap(), (left + 39) / 40);
        }
        // What follows takes the freed offsets, and goes again.
        let next = sequenced(5, 0, i32::try_from(left).unwrap(), 2);
        let checked = CheckedBatch::check(&next).unwrap();
        assert_eq!(log.check_producer(checked.header(), ms(0)), Ok(SequenceCheck::New));
        let stamp = Stamp { leader_epoch: LeaderEpoch::new(9), ..Stamp::default() };
        let placed = log.append_durably(&checked, stamp).await.unwrap();
        assert_eq!(placed.base_offset, at(left));
        assert_eq!(log.truncate(at(left)).await.unwrap(), at(left));
    }
}

async fn retention_removes_the_oldest_segments_by_size_time_and_offset<I: Io>(io: I, dir: PathBuf) {
    let shard = shard(&io);
    let sized = LogSettings { segment_bytes: 8192, retention_bytes: Some(20_000), ..small() };
    let log = open(&shard, &dir, sized.clone()).await;
    for n in 0..30 {
        append(&log, &batch(1, 2_000, n, i64::try_from(n).unwrap() * 1_000)).await;
    }
    let before = log.size_bytes();
    let held_back = log.apply_retention(ms(0), at(0)).await.unwrap();
    assert_eq!(held_back.segments, 0, "nothing above the high watermark goes");
    let report = log.apply_retention(ms(0), log.offsets().durable).await.unwrap();
    assert!(report.segments > 0 && report.start > at(0));
    assert_eq!(log.size_bytes(), before - report.bytes);
    assert!(log.size_bytes() >= 20_000 && log.size_bytes() < 20_000 + 8192 + 4096);
    assert_eq!(header(&contents(&log).await[0]).base_offset, report.start.value());
    let gone = log.read(at(0), log.offsets().durable, 1, true).await.unwrap_err();
    assert!(matches!(gone, ReadError::OutOfRange { .. }));

    let aged = LogSettings { retention_age_max: Some(Duration::from_secs(3)), ..sized };
    log.update_settings(aged.clone()).unwrap();
    let report = log.apply_retention(ms(31_000), log.offsets().durable).await.unwrap();
    assert!(report.segments > 0);
    assert!(!contents(&log).await.is_empty());
    let report = log.apply_retention(ms(99_000), log.offsets().durable).await.unwrap();
    assert_eq!(report.start, at(30), "the active segment was sealed and went too");
    assert_eq!(log.size_bytes(), 0);
    log.close().await.unwrap();
    let log = open(&shard, &dir, aged).await;
    assert_eq!((log.offsets().start, log.offsets().end), (at(30), at(30)));
    assert_eq!(append(&log, &batch(9, 10, 1, 1)).await.base_offset, at(30));

    // By offset, in the middle of a segment: for good, though the bytes stay.
    log.delete_before(at(33)).await.unwrap();
    let beyond = log.delete_before(at(99)).await.unwrap_err();
    assert!(matches!(beyond, MaintainError::OutOfRange { .. }));
    log.close().await.unwrap();
    let log = open(&shard, &dir, small()).await;
    assert_eq!((log.offsets().start, log.offsets().end), (at(33), at(39)));
    let slices = log.read(at(33), at(39), 1, true).await.unwrap();
    assert_eq!(header(&slices.to_vec()).base_offset, 30, "the batch that holds the start is whole");
}

async fn batches_are_found_by_time<I: Io>(io: I, dir: PathBuf) {
    for (shard, reopen) in [(shard(&io), false), (cold_shard(&io), true)] {
        let log = open(&shard, &dir, LogSettings { segment_bytes: 8192, ..small() }).await;
        if !reopen {
            assert_eq!(log.max_timestamp(at(0)).await.unwrap(), None);
            for n in 0..40 {
                // Every tenth batch is late by much.
                let late = if n % 10 == 9 { -5_000 } else { 0 };
                append(&log, &batch(2, 300, 1, 10_000 + n * 100 + late)).await;
            }
        }
        let end = log.offsets().durable;
        for n in 0..40 {
            let found = log.find_timestamp(ms(10_000 + n * 100 + 1), end).await.unwrap();
            // A late batch's own time was passed by the one before; the next one is found.
            let found = found.map(|batch| header(&batch).base_offset / 2);
            let expected = if n % 10 == 9 { n + 1 } else { n };
            assert_eq!(found, (expected < 40).then_some(expected), "{n}");
        }
        assert_eq!(
            log.find_timestamp(ms(0), end).await.unwrap().map(|b| header(&b).base_offset),
            Some(0)
        );
        let (latest, batch) = log.max_timestamp(end).await.unwrap().unwrap();
        assert_eq!((latest, header(&batch).base_offset), (ms(13_801), 76));
        for visible in 1..40 {
            let (latest, batch) = log.max_timestamp(at(visible * 2)).await.unwrap().unwrap();
            let last = visible - 1 - i64::from((visible - 1) % 10 == 9);
            assert_eq!(latest, ms(10_001 + last * 100), "{visible}");
            assert_eq!(header(&batch).base_offset, last * 2);
        }
        log.close().await.unwrap();
    }
}

async fn sequences_are_remembered_across_rolls_and_reopening<I: Io>(io: I, dir: PathBuf) {
    let shard = shard(&io);
    let settings = LogSettings { segment_bytes: 4096, ..small() };
    let mut log = open(&shard, &dir, settings.clone()).await;
    let first = i32::MAX - 20;
    for n in 0..40 {
        let sequence = if n <= 10 { first + n * 2 } else { n * 2 - 21 };
        let bytes = sequenced(7, 3, sequence, 2);
        let checked = CheckedBatch::check(&bytes).unwrap();
        let check = log.check_producer(checked.header(), io.now());
        assert_eq!(check, Ok(SequenceCheck::New), "{n}");
        let placed = append(&log, &bytes).await;
        if n % 7 == 3 {
            log.close().await.unwrap();
            log = open(&shard, &dir, settings.clone()).await;
        }
        let again = log.check_producer(checked.header(), io.now()).unwrap();
        assert_eq!(
            again,
            SequenceCheck::Duplicate {
                base_offset: placed.base_offset,
                last_offset: at(placed.end_offset.value() - 1),
                log_append_time: None,
            }
        );
    }
    let gap = sequenced(7, 3, 60, 1);
    let gap = log.check_producer(CheckedBatch::check(&gap).unwrap().header(), io.now());
    assert!(matches!(gap, Err(SequenceError::OutOfOrder { expected: 59, actual: 60, .. })));
    let old = sequenced(7, 2, 0, 1);
    let old = log.check_producer(CheckedBatch::check(&old).unwrap().header(), io.now());
    assert!(matches!(old, Err(SequenceError::StaleEpoch { current: 3, .. })));
}

async fn missing_and_garbled_indexes_are_rebuilt<I: Io>(io: I, dir: PathBuf) {
    let shard = cold_shard(&io);
    let log = open(&shard, &dir, small()).await;
    for n in 0..80 {
        append(&log, &batch(2, 500, n, i64::try_from(n).unwrap() * 10)).await;
    }
    log.close().await.unwrap();
    drop(log);
    for entry in io.list_dir(&dir).await.unwrap() {
        let path = dir.join(&entry.name);
        if entry.name.ends_with(".timeindex") {
            io.remove_file(&path).await.unwrap();
        } else if entry.name.ends_with(".index") {
            // Entries that increase as they should and point nowhere.
            let bytes: Vec<u8> =
                (1..4_u32).flat_map(|n| [n, n * 100]).flat_map(u32::to_be_bytes).collect();
            overwrite(&io, &shard, &path, &bytes).await;
        }
    }
    let (log, report) = Log::open(&shard, &dir, small()).await.unwrap();
    assert_eq!(report.rebuilt_indexes.len(), log.segment_count() - 1);
    assert!(!report.clean, "the last segment was scanned");
    assert_eq!(contents(&log).await.len(), 80);
    let found = log.find_timestamp(ms(401), at(160)).await.unwrap().unwrap();
    assert_eq!(header(&found).base_offset, 80);
    log.close().await.unwrap();
    let (_, report) = Log::open(&shard, &dir, small()).await.unwrap();
    assert!(report.clean && report.rebuilt_indexes.is_empty());
}

async fn overwrite<I: Io>(
    io: &I,
    shard: &ringlog_engine::shard::Shard<I>,
    path: &Path,
    bytes: &[u8],
) {
    use ringlog_engine::io::{Durability, File, OpenMode};
    let file = io.open(path, OpenMode::CreateBuffered).await.unwrap();
    let mut buffer = shard.pool().try_acquire(bytes.len()).unwrap();
    buffer.extend_from_slice(bytes);
    file.write_at(buffer.freeze(), 0, Durability::Written).await.unwrap();
}

async fn a_missing_segment_is_refused<I: Io>(io: I, dir: PathBuf) {
    let shard = shard(&io);
    let log = open(&shard, &dir, LogSettings { segment_bytes: 4096, ..small() }).await;
    for n in 0..20 {
        append(&log, &batch(1, 1_000, n, 1)).await;
    }
    log.close().await.unwrap();
    let entries = io.list_dir(&dir).await.unwrap();
    let logs: Vec<_> = entries.iter().filter(|entry| entry.name.ends_with(".log")).collect();
    io.remove_file(&dir.join(&logs[1].name)).await.unwrap();
    let error = Log::open(&shard, &dir, small()).await.unwrap_err();
    assert!(matches!(error, OpenError::SegmentGap { .. }), "{error}");
    io.remove_file(&dir.join(&logs[0].name)).await.unwrap();
    let error = Log::open(&shard, &dir, small()).await.unwrap_err();
    assert!(matches!(error, OpenError::SegmentGap { .. }), "{error}");
}

async fn a_relaxed_log_acknowledges_and_can_become_strict<I: Io>(io: I, dir: PathBuf) {
    let relaxed = FlushPolicy::Relaxed { messages: 10, interval: Some(Duration::from_millis(1)) };
    let settings = LogSettings { durability: relaxed, ..small() };
    let log = open(&shard(&io), &dir, settings.clone()).await;
    for n in 0..25 {
        append(&log, &batch(3, 100, n, 1)).await;
    }
    log.update_settings(small()).unwrap();
    append(&log, &batch(3, 100, 99, 1)).await;
    assert_eq!(log.offsets().durable, at(78));
    assert_eq!(contents(&log).await.len(), 26);
    log.close().await.unwrap();
}

async fn a_deleted_log_leaves_nothing<I: Io>(io: I, dir: PathBuf) {
    let shard = shard(&io);
    let log = open(&shard, &dir, small()).await;
    for n in 0..30 {
        append(&log, &batch(3, 800, n, 1)).await;
    }
    let other = log.clone();
    log.delete().await.unwrap();
    assert_eq!(other.read(at(0), at(3), 1, true).await, Err(ReadError::Closed));
    assert!(io.list_dir(&dir).await.is_err());
    let log = open(&shard, &dir, small()).await;
    assert_eq!(log.offsets().end, at(0));
}

async fn waiting_for_more_ends_when_more_is_durable_or_the_log_closes<I: Io>(io: I, dir: PathBuf) {
    let log = open(&shard(&io), &dir, small()).await;
    append(&log, &batch(1, 10, 1, 1)).await;
    assert_eq!(log.advanced(at(0)).await, Ok(()));
    let waiting = log.clone();
    let appending = log.clone();
    io.spawn(async move {
        append(&appending, &batch(1, 10, 2, 1)).await;
    });
    assert_eq!(waiting.advanced(at(1)).await, Ok(()));
    assert_eq!(log.offsets().durable, at(2));
    let closing = log.clone();
    io.spawn(async move { closing.close().await.unwrap() });
    assert_eq!(waiting.advanced(at(2)).await, Err(AppendError::Closed));
    // What is there is still announced to who has not seen it.
    assert_eq!(waiting.advanced(at(1)).await, Ok(()));
    assert_eq!(log.durable(at(3)).await, Err(AppendError::Closed));
}

macro_rules! on_every_backend {
    ($($name:ident),* $(,)?) => {
        mod simulated {
            use super::*;
            $(
                #[test]
                fn $name() {
                    let io = SimIo::new(1);
                    io.run(Box::pin(super::$name(io.clone(), PathBuf::from("/data/log"))));
                }
            )*
        }

        mod on_the_ring {
            use super::*;
            $(
                #[test]
                fn $name() {
                    // Beside the build, because a temporary folder may be in memory, where there
                    // is no direct I/O.
                    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
                    let io = UringIo::plain(256).unwrap();
                    io.block_on(Box::pin(super::$name(io.clone(), dir.path().join("log"))));
                }
            )*
        }
    };
}

on_every_backend! {
    what_was_appended_is_read_across_rolls_and_reopening,
    frames_are_read_across_rolls_and_reopening,
    a_read_gives_whole_batches_within_its_limits,
    a_read_gives_whole_frames_within_its_limits,
    batches_larger_than_a_read_are_read_whole,
    frames_larger_than_a_read_are_read_whole,
    frames_are_stamped_found_by_time_and_truncated,
    the_log_stamps_offset_epoch_and_time,
    the_stamped_maximum_is_stored_and_found_instead_of_the_headers,
    truncation_cuts_batches_segments_producers_and_epochs,
    retention_removes_the_oldest_segments_by_size_time_and_offset,
    batches_are_found_by_time,
    sequences_are_remembered_across_rolls_and_reopening,
    missing_and_garbled_indexes_are_rebuilt,
    a_missing_segment_is_refused,
    a_relaxed_log_acknowledges_and_can_become_strict,
    a_deleted_log_leaves_nothing,
    waiting_for_more_ends_when_more_is_durable_or_the_log_closes,
}
