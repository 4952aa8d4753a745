//! How long appends are held back where a shard asks for it, and where it does not.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use ringlog_engine::error::AppendError;
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::{Operation, SimIo};
use ringlog_engine::journal::JournalSettings;
use ringlog_engine::log::Log;
use ringlog_engine::shard::{Shard, ShardSettings};
use support::*;

/// How long each operation of the simulated disk takes.
const OPERATION: Duration = Duration::from_millis(1);
/// Long beside an operation.
const LINGER: Duration = Duration::from_millis(100);

/// Runs `test` with logs that have been appended to, so that one more append is one write.
fn with_logs<const N: usize>(
    linger: Duration,
    is_journaled: bool,
    test: impl AsyncFnOnce(&SimIo, [Log<SimIo>; N]),
) {
    let io = SimIo::new(5);
    io.run(async {
        // What was appended stays in memory, so that an append reads nothing.
        let settings = ShardSettings { linger, cache_bytes: 4 << 20, ..cold_settings() };
        let shard = if is_journaled {
            let journal = JournalSettings::new("/data/journal", "/data");
            Shard::open(io.clone(), settings, journal).await.unwrap().0
        } else {
            Shard::new(io.clone(), settings)
        };
        let mut logs = Vec::new();
        for number in 0..N {
            let log = open(&shard, Path::new(&format!("/data/log-{number}")), small()).await;
            append(&log, &batch(1, 100, 0, 1)).await;
            logs.push(log);
        }
        // Whatever the first appends have left to be done is done by then.
        io.sleep(10 * LINGER).await;
        io.set_latency(OPERATION, OPERATION);
        test(&io, logs.try_into().unwrap()).await;
    });
}

/// How long all logs take to have what was appended on stable storage, and in how many operations.
async fn until_durable(io: &SimIo, logs: &[Log<SimIo>]) -> (Duration, u64) {
    let (begun, operations) = (io.elapsed(), io.operations());
    for log in logs {
        log.durable(log.offsets().end).await.unwrap();
    }
    (io.elapsed() - begun, io.operations() - operations)
}

#[test]
fn without_lingering_an_append_to_an_idle_device_is_written_at_once() {
    assert_eq!(ShardSettings::default().linger, Duration::ZERO);
    for is_journaled in [false, true] {
        with_logs(Duration::ZERO, is_journaled, async |io, logs: [_; 1]| {
            append_only(&logs[0], &batch(1, 100, 1, 1)).await;
            assert_eq!(until_durable(io, &logs).await, (OPERATION, 1));
        });
    }
}

#[test]
fn what_comes_while_the_first_append_lingers_joins_its_write() {
    with_logs(LINGER, true, async |io, logs: [_; 10]| {
        let begun = io.elapsed();
        for log in &logs {
            append_only(log, &batch(1, 100, 1, 1)).await;
            io.sleep(LINGER / 20).await;
        }
        until_durable(io, &logs).await;
        // Counted from the first append, not from the last.
        assert_eq!(io.elapsed() - begun, LINGER + OPERATION);
    });
    for is_journaled in [false, true] {
        with_logs(LINGER, is_journaled, async |io, logs: [_; 1]| {
            for n in 1..=5 {
                append_only(&logs[0], &batch(1, 100, n, 1)).await;
            }
            assert_eq!(until_durable(io, &logs).await, (LINGER + OPERATION, 1));
        });
    }
}

#[test]
fn the_logs_of_a_journal_that_linger_share_one_write() {
    with_logs(LINGER, true, async |io, logs: [_; 10]| {
        for log in &logs {
            append_only(log, &batch(1, 100, 1, 1)).await;
        }
        assert_eq!(until_durable(io, &logs).await, (LINGER + OPERATION, 1));
    });
}

#[test]
fn nothing_lingers_while_a_write_is_in_flight() {
    for is_journaled in [false, true] {
        with_logs(LINGER, is_journaled, async |io, logs: [_; 1]| {
            let [log] = &logs;
            append_only(log, &batch(1, 100, 1, 1)).await;
            // The middle of its write.
            io.sleep(LINGER + OPERATION / 2).await;
            append_only(log, &batch(1, 100, 2, 1)).await;
            assert_eq!(log.offsets().durable, at(1));
            assert_eq!(until_durable(io, &logs).await, (OPERATION * 3 / 2, 2));
        });
    }
}

#[test]
fn many_bytes_do_not_linger_and_take_along_what_does() {
    with_logs(LINGER, true, async |io, logs: [_; 3]| {
        append_only(&logs[0], &batch(1, 100, 1, 1)).await;
        append_only(&logs[1], &batch(1, 30_000, 1, 1)).await;
        append_only(&logs[2], &batch(1, 40_000, 1, 1)).await;
        assert_eq!(until_durable(io, &logs).await, (OPERATION, 1));
    });
    with_logs(LINGER, false, async |io, logs: [_; 1]| {
        append_only(&logs[0], &batch(1, 70_000, 1, 1)).await;
        let (taken, _) = until_durable(io, &logs).await;
        assert!(taken < LINGER, "{taken:?}");
    });
}

#[test]
fn whoever_closes_or_rolls_a_log_does_not_wait_for_what_lingers() {
    for is_journaled in [false, true] {
        with_logs(Duration::from_secs(3_600), is_journaled, async |io, logs: [_; 2]| {
            let begun = io.elapsed();
            let [rolled, closed] = &logs;
            append_only(rolled, &batch(1, 100, 1, 1)).await;
            rolled.roll().await.unwrap();
            append_only(closed, &batch(1, 100, 1, 1)).await;
            closed.close().await.unwrap();
            assert!(io.elapsed() - begun < Duration::from_secs(1));
            for log in &logs {
                assert_eq!((log.offsets().durable, contents(log).await.len()), (at(2), 2));
            }
        });
    }
}

#[test]
fn a_log_whose_last_handle_goes_while_it_lingers_is_written_all_the_same() {
    for is_journaled in [false, true] {
        with_logs(LINGER, is_journaled, async |io, [log]: [_; 1]| {
            append_only(&log, &batch(1, 100, 1, 1)).await;
            let operations = io.operations();
            drop(log);
            io.sleep(LINGER + 2 * OPERATION).await;
            assert!(io.operations() > operations);
        });
    }
}

#[test]
fn a_log_that_fails_while_it_lingers_says_so_to_those_who_wait() {
    for is_journaled in [false, true] {
        with_logs(LINGER, is_journaled, async |io, logs: [_; 1]| {
            let [log] = &logs;
            append_only(log, &batch(1, 100, 1, 1)).await;
            io.fail_once(Some(Operation::Write), 0, ErrorKind::Other);
            let error = log.durable(at(2)).await.unwrap_err();
            assert!(matches!(error, AppendError::Failed(_)), "{error}");
            assert_eq!(log.offsets().durable, at(1));
        });
    }
}
