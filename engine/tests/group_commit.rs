//! How many writes of the journal the appends of many tasks take.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{Log, LogSettings};
use support::{STAMP, batch, journaled_shard};

/// Appends of each task.
const APPENDS: u64 = 40;
/// How long every operation of the disk takes.
const LATENCY: Duration = Duration::from_micros(100);

/// The operations of the disk that this many tasks take to make their appends, each after the
/// acknowledgement of its last one. Every second task begins while the first frame is in flight.
fn operations_of(tasks: usize) -> u64 {
    let io = SimIo::new(1);
    io.run(async {
        let shard = journaled_shard(&io, 8, 4 << 20).await;
        let (log, _) =
            Log::open(&shard, Path::new("/data/a-0"), LogSettings::default()).await.unwrap();
        let batch = Rc::new(batch(1, 10, 1, 1_000));
        // The segment's file and its space are there from then on.
        log.append_durably(&CheckedBatch::check(&batch).unwrap(), STAMP).await.unwrap();
        io.set_latency(LATENCY, LATENCY);
        let left = Rc::new(Cell::new(tasks));
        let before = io.operations();
        for task in 0..tasks {
            let (io, log, batch) = (io.clone(), log.clone(), Rc::clone(&batch));
            let left = Rc::clone(&left);
            io.clone().spawn(async move {
                if task % 2 == 1 {
                    io.sleep(LATENCY / 2).await;
                }
                for _ in 0..APPENDS {
                    log.append_durably(&CheckedBatch::check(&batch).unwrap(), STAMP).await.unwrap();
                }
                left.set(left.get() - 1);
            });
        }
        while left.get() > 0 {
            io.sleep(LATENCY).await;
        }
        io.operations() - before
    })
}

#[test]
fn tasks_that_append_again_once_acknowledged_come_to_share_their_frames() {
    let alone = operations_of(1);
    let eight = operations_of(8);
    assert!(alone >= APPENDS, "{alone} operations for {APPENDS} appends, one after the other");
    // A few more: the tasks did not begin together.
    let shared = alone + 5;
    assert!(eight <= shared, "{eight} operations for 8 tasks, {alone} for one of them");
}
