//! Crashes that undo one change of a folder's names and keep later ones.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};
use support::*;

const DIR: &str = "/data/log";
const BATCHES: i64 = 30;

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 4096,
        retention_age_max: Some(Duration::from_millis(1)),
        ..small()
    }
}

/// A log of some segments on a disk whose names have no order.
async fn log(io: &SimIo, settings: LogSettings) -> Log<SimIo> {
    io.set_unordered_names();
    io.create_dir_all(Path::new("/data")).await.unwrap();
    io.sync_dir(Path::new("/")).await.unwrap();
    let log = open(&shard(io), Path::new(DIR), settings).await;
    for n in 0..BATCHES {
        append(&log, &batch(1, 700, u64::try_from(n).unwrap(), 1)).await;
    }
    assert!(log.segment_count() > 4);
    log
}

/// Crashes in the middle of what `work` does, in many ways, and opens the log; gives how often less
/// than all of it had been done.
fn crash_in(settings: &LogSettings, work: impl AsyncFn(&Log<SimIo>)) -> usize {
    let mut undone = 0;
    for seed in 0..180 {
        let io = SimIo::new(seed);
        let log = io.run(log(&io, settings.clone()));
        let worked = io.run_operations(work(&log), 1 + seed % 60);
        undone += usize::from(worked.is_none());
        drop(log);
        let io = io.crash();
        io.run(async {
            let opened = Log::open(&shard(&io), Path::new(DIR), settings.clone()).await;
            let (log, _) = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let offsets = log.offsets();
            let held: i64 = contents(&log)
                .await
                .iter()
                .map(|batch| header(batch).last_offset())
                .max()
                .unwrap_or(-1);
            assert!(offsets.start == offsets.end || held + 1 == offsets.end.value(), "seed {seed}");
            append(&log, &batch(1, 10, 0, 1)).await;
        });
    }
    undone
}

#[test]
fn a_retention_leaves_no_hole() {
    let undone = crash_in(&settings(), async |log| {
        log.delete_before(at(20)).await.unwrap();
    });
    assert!(undone > 20, "{undone}");
}

#[test]
fn a_retention_of_everything_leaves_a_log_that_ends_where_it_starts() {
    let undone = crash_in(&settings(), async |log| {
        let report = log.apply_retention(ms(1_000_000), at(BATCHES)).await.unwrap();
        assert_eq!(report.start, at(BATCHES));
    });
    assert!(undone > 20, "{undone}");
}

#[test]
fn a_truncation_leaves_no_hole() {
    let undone = crash_in(&settings(), async |log| {
        assert_eq!(log.truncate(at(5)).await.unwrap(), at(5));
    });
    assert!(undone > 20, "{undone}");
}

#[test]
fn a_log_that_starts_past_what_it_lost_goes_on_there_however_often_that_is_interrupted() {
    let durability = FlushPolicy::Relaxed { messages: u64::MAX, interval: None };
    let relaxed = LogSettings { durability, ..settings() };
    let strict = settings();
    for seed in 0..80 {
        let io = SimIo::new(seed);
        io.run(async {
            let log = log(&io, relaxed.clone()).await;
            log.delete_before(at(BATCHES)).await.unwrap();
        });
        let mut io = io.crash();
        for step in 0..6 {
            io.set_unordered_names();
            let shard = shard(&io);
            let opening = Log::open(&shard, Path::new(DIR), strict.clone());
            let _ = io.run_operations(opening, 5 + (seed + 7 * step) % 30);
            io = io.crash();
        }
        io.run(async {
            let opened = Log::open(&shard(&io), Path::new(DIR), strict.clone()).await;
            let (log, _) = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(log.offsets().end, at(BATCHES), "seed {seed}");
        });
    }
}
