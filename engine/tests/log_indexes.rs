//! Damaged indexes: they are derived from the batches, so nobody must notice more of the damage than
//! the time it takes to derive them again.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::{Path, PathBuf};

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{Log, LogSettings};
use support::*;

const DIR: &str = "/data/log";
const BATCHES: i64 = 60;

/// Three segments and a bit, of many index entries each.
fn settings() -> LogSettings {
    LogSettings { segment_bytes: 16 * 1024, index_interval_bytes: 512, ..small() }
}

/// A log that was closed cleanly.
fn closed() -> SimIo {
    let io = SimIo::new(7);
    io.run(async {
        let log = open(&shard(&io), Path::new(DIR), settings()).await;
        for n in 0..BATCHES {
            append(&log, &batch(1, 900, u64::try_from(n).unwrap(), time(n))).await;
        }
        assert!(log.segment_count() > 3);
        log.close().await.unwrap();
    });
    io
}

/// Times rise, but for every fifth batch.
fn time(n: i64) -> i64 {
    if n % 5 == 4 { 1_000 } else { 10_000 + 10 * n }
}

/// Reads every batch by itself, finds each by its time, and the latest.
async fn check(log: &Log<SimIo>, what: &str) {
    let end = log.offsets().durable;
    assert_eq!(end, at(BATCHES), "{what}");
    for n in 0..BATCHES {
        let read = log.read(at(n), end, 1, true).await;
        let read = read.unwrap_or_else(|error| panic!("{what}: offset {n}: {error}"));
        assert_eq!(header(&read.to_vec()).base_offset, n, "{what}");
        let found = log.find_timestamp(ms(time(n)), end).await.unwrap().unwrap();
        let expected = (0..BATCHES).find(|&first| time(first) >= time(n)).unwrap();
        assert_eq!(header(&found).base_offset, expected, "{what}: the time of {n}");
    }
    let latest = log.max_timestamp(end).await.unwrap().unwrap().0;
    assert_eq!(latest, ms((0..BATCHES).map(time).max().unwrap()), "{what}");
}

async fn index_files(io: &SimIo) -> Vec<PathBuf> {
    let entries = io.list_dir(Path::new(DIR)).await.unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    let names = names.filter(|name| name.ends_with("index"));
    let paths: Vec<_> = names.map(|name| Path::new(DIR).join(name)).collect();
    assert!(paths.len() > 6, "{paths:?}");
    paths
}

#[test]
fn a_flipped_bit_anywhere_in_an_index_changes_no_answer() {
    let io = closed();
    io.run(async {
        for path in index_files(&io).await {
            let good = io.read_file(&path).unwrap();
            for position in (0..good.len()).step_by(5) {
                let what = format!("byte {position} of {}", path.display());
                io.flip_bit(&path, u64::try_from(position).unwrap()).unwrap();
                let log = open(&cold_shard(&io), Path::new(DIR), settings()).await;
                check(&log, &what).await;
                drop(log);
                io.write_file(&path, &good).unwrap();
            }
        }
    });
}

#[test]
fn a_flipped_bit_in_an_index_that_no_catalog_knows_changes_no_answer() {
    let io = closed();
    io.run(async {
        io.remove_file(&Path::new(DIR).join("ringlog.segments")).await.unwrap();
        for path in index_files(&io).await {
            let good = io.read_file(&path).unwrap();
            for position in (0..good.len()).step_by(5) {
                let what = format!("byte {position} of {}", path.display());
                io.flip_bit(&path, u64::try_from(position).unwrap()).unwrap();
                let log = open(&cold_shard(&io), Path::new(DIR), settings()).await;
                check(&log, &what).await;
                drop(log);
                io.write_file(&path, &good).unwrap();
            }
        }
    });
}

#[test]
fn an_index_that_was_found_wrong_is_written_anew() {
    let io = closed();
    io.run(async {
        let path = Path::new(DIR).join("00000000000000000000.timeindex");
        let good = io.read_file(&path).unwrap();
        io.flip_bit(&path, 7).unwrap();
        let shard = cold_shard(&io);
        let log = open(&shard, Path::new(DIR), settings()).await;
        check(&log, "rebuilt").await;
        assert_eq!(io.read_file(&path).unwrap(), good);
        log.close().await.unwrap();
        let loaded = shard.segment_stats().indexes_loaded;
        let log = open(&shard, Path::new(DIR), settings()).await;
        check(&log, "opened again").await;
        let segments = u64::try_from(log.segment_count()).unwrap();
        assert!(shard.segment_stats().indexes_loaded - loaded < segments, "each is read once");
    });
}

#[test]
fn an_index_that_cannot_be_written_anew_is_of_use_all_the_same() {
    let io = closed();
    io.run(async {
        let path = Path::new(DIR).join("00000000000000000000.timeindex");
        io.flip_bit(&path, 7).unwrap();
        io.set_capacity(io.used());
        let log = open(&cold_shard(&io), Path::new(DIR), settings()).await;
        check(&log, "a full disk").await;
    });
}

#[test]
fn the_age_of_a_segment_that_no_catalog_knows_does_not_follow_from_a_wrong_entry() {
    let io = closed();
    io.run(async {
        io.remove_file(&Path::new(DIR).join("ringlog.segments")).await.unwrap();
        let path = Path::new(DIR).join("00000000000000000000.timeindex");
        let mut bytes = io.read_file(&path).unwrap();
        let last = bytes.len() - 12;
        // A time far in the future keeps the segment for ever.
        bytes[last + 2] ^= 1;
        io.write_file(&path, &bytes).unwrap();
        let opened = Log::open(&cold_shard(&io), Path::new(DIR), settings()).await;
        let (log, report) = opened.unwrap();
        assert_eq!(report.rebuilt_indexes, [path.with_extension("log")]);
        check(&log, "a wrong last entry").await;
    });
}
