//! What an opening after a kill has seen, a loss of power does not take back.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;

use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};
use support::*;

const DIR: &str = "/data/log";

/// Operations of the disk that a truncation or a move of the start takes at most.
const OPERATIONS_MAX: u64 = 14;

fn relaxed() -> LogSettings {
    let durability = FlushPolicy::Relaxed { messages: 1_000_000, interval: None };
    LogSettings { durability, ..small() }
}

/// A disk with a folder for logs.
fn disk(seed: u64) -> SimIo {
    let io = SimIo::new(seed);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        io.sync_dir(Path::new("/")).await.unwrap();
    });
    io
}

async fn fill(log: &Log<SimIo>, batches: u64) {
    for n in 0..batches {
        append(log, &batch(1, 700, n, 1)).await;
    }
}

/// Every moment of what `act` does to a log of four batches, with different crashes after it.
fn at_every_moment(
    settings: &LogSettings,
    act: impl AsyncFn(&Log<SimIo>),
    then: impl Fn(SimIo, &str),
) {
    for operations in 0..OPERATIONS_MAX {
        for seed in 0..8 {
            let io = disk(seed);
            let log = io.run(async {
                let log = open(&shard(&io), Path::new(DIR), settings.clone()).await;
                fill(&log, 4).await;
                log
            });
            io.run_operations(act(&log), operations);
            drop(log);
            then(io.kill(), &format!("killed after {operations} operations, seed {seed}"));
        }
    }
}

fn offsets(io: &SimIo, settings: &LogSettings) -> (i64, i64) {
    io.run(async {
        let log = open(&shard(io), Path::new(DIR), settings.clone()).await;
        let offsets = log.offsets();
        (offsets.start.value(), offsets.end.value())
    })
}

#[test]
fn a_start_that_was_seen_does_not_fall_with_the_power() {
    let move_start = async |log: &Log<SimIo>| drop(log.delete_before(at(2)).await);
    at_every_moment(&small(), move_start, |io, moment| {
        let seen = offsets(&io, &small());
        assert_eq!(offsets(&io.crash(), &small()), seen, "{moment}");
    });
}

#[test]
fn batches_that_were_seen_to_be_cut_off_do_not_come_back_with_the_power() {
    for settings in [small(), relaxed()] {
        for to in [0, 2] {
            let truncate = async |log: &Log<SimIo>| drop(log.truncate(at(to)).await);
            at_every_moment(&settings, truncate, |io, moment| {
                let seen = offsets(&io, &settings);
                assert_eq!(offsets(&io.crash(), &settings), seen, "{moment}");
            });
        }
    }
}

#[test]
fn a_truncation_after_one_that_a_kill_interrupted_survives_a_loss_of_power_at_any_moment() {
    for first in 0..6 {
        for second in 0..OPERATIONS_MAX {
            for seed in 0..8 {
                let io = disk(seed);
                let log = io.run(async {
                    let log = open(&shard(&io), Path::new(DIR), small()).await;
                    fill(&log, 4).await;
                    log.close().await.unwrap();
                    open(&shard(&io), Path::new(DIR), small()).await
                });
                io.run_operations(log.truncate(at(3)), first);
                drop(log);
                let io = io.kill();
                let log = io.run(open(&shard(&io), Path::new(DIR), small()));
                io.run_operations(log.truncate(at(1)), second);
                drop(log);
                let (start, end) = offsets(&io.crash(), &small());
                assert_eq!(start, 0);
                assert!((1..=4).contains(&end), "{end} after {first} and {second} operations");
            }
        }
    }
}

#[test]
fn a_log_whose_start_lay_among_batches_that_nobody_synced_opens_there() {
    for seed in 0..20 {
        let io = disk(seed);
        io.run(async {
            let log = open(&shard(&io), Path::new(DIR), relaxed()).await;
            fill(&log, 6).await;
            assert_eq!(log.delete_before(at(4)).await.unwrap().start, at(4));
        });
        // The settings may have become stricter meanwhile.
        let (start, end) = offsets(&io.crash(), &small());
        assert_eq!(start, 4);
        assert!((4..=6).contains(&end), "seed {seed}: {end}");
    }
}
