//! When logs are asked to put into their segments what the journal has of them.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::io::{Io, Rare};
use ringlog_engine::log::{Log, LogSettings};
use support::{STAMP, batch, journaled_shard};

const LOGS: usize = 100;
/// How long every operation of the disk takes.
const LATENCY: Duration = Duration::from_micros(100);

#[test]
fn hundreds_of_logs_are_settled_before_the_journal_is_full() {
    let io = SimIo::new(1);
    let slowest = io.run(async {
        let shard = journaled_shard(&io, 8, 4 << 20).await;
        let batch = Rc::new(batch(1, 100, 1, 1_000));
        let mut logs = Vec::new();
        for number in 0..LOGS {
            let dir = PathBuf::from(format!("/data/a-{number}"));
            let (log, _) = Log::open(&shard, &dir, LogSettings::default()).await.unwrap();
            logs.push(log);
        }
        // All of them have a little in the journal's first file.
        let left = Rc::new(Cell::new(LOGS));
        for log in &logs {
            let (log, batch, left) = (log.clone(), Rc::clone(&batch), Rc::clone(&left));
            io.spawn(async move {
                log.append_durably(&CheckedBatch::check(&batch).unwrap(), STAMP).await.unwrap();
                left.set(left.get() - 1);
            });
        }
        while left.get() > 0 {
            io.sleep(LATENCY).await;
        }
        io.set_latency(LATENCY, LATENCY);
        // And one fills all of its files, and the first of them again.
        let mut slowest = Duration::ZERO;
        for _ in 0..200 {
            let begun = io.elapsed();
            let checked = CheckedBatch::check(&batch).unwrap();
            logs[0].append_durably(&checked, STAMP).await.unwrap();
            slowest = slowest.max(io.elapsed() - begun);
        }
        slowest
    });
    let counts = io.reached_counts();
    assert!(counts.of(Rare::JournalFileFreed) > 0, "no file was ever wanted back");
    assert_eq!(counts.of(Rare::JournalFull), 0);
    assert!(slowest <= 10 * LATENCY, "an append took {slowest:?}");
}
