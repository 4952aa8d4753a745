//! What others do while a log is compacted.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::compaction::{CompactionSettings, Uncompressed};
use ringlog_engine::error::{CompactError, MaintainError};
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::Log;

use crate::model::*;
use crate::support::*;

#[test]
fn readers_and_appenders_go_on_while_a_log_is_compacted() {
    for seed in seeds(20) {
        let replay = replay(seed, "readers");
        let mut model = Model::default();
        let io = prepared(seed, &mut model, &replay);
        let model = Rc::new(RefCell::new(model));
        io.run(async {
            let log = open_log(&io, &replay).await;
            let done = Rc::new(Cell::new(false));
            {
                let (log, done, replay) = (log.clone(), Rc::clone(&done), replay.clone());
                io.spawn(async move {
                    compact(&log, &replay).await;
                    done.set(true);
                });
            }
            let mut random = Random(seed);
            while !done.get() {
                let snapshot = model.borrow().clone();
                check_safety(&log, &snapshot, &mut random, &replay).await;
                let mut next = snapshot;
                step(&log, &mut next, &mut random, &io, true).await;
                *model.borrow_mut() = next;
            }
            let snapshot = model.borrow().clone();
            check_safety(&log, &snapshot, &mut random, &replay).await;
        });
    }
}

#[test]
fn segments_may_be_replaced_at_any_moment_of_a_cold_read() {
    for seed in seeds(2) {
        let mut model = Model::default();
        let prepared = prepared(seed, &mut model, "prepared");
        for delay in 0..200 {
            let replay = format!("{}, delay {delay}", replay(seed, "segments_may"));
            let io = prepared.fork(delay);
            io.run(async {
                let opened = Log::open(&cold_shard(&io), Path::new(DIR), log_settings()).await;
                let log = opened.unwrap().0;
                let (cleaned, its_replay) = (log.clone(), replay.clone());
                let done = Rc::new(Cell::new(false));
                let sets = Rc::clone(&done);
                io.spawn(async move {
                    compact(&cleaned, &its_replay).await;
                    sets.set(true);
                });
                let pause = Duration::from_micros(5);
                io.sleep(Duration::from_micros(delay * 61)).await;
                // One read of each segment, all at once.
                let reading = Rc::new(Cell::new(0));
                for from in (0..log.offsets().durable.value()).step_by(40) {
                    let (log, reading) = (log.clone(), Rc::clone(&reading));
                    reading.set(reading.get() + 1);
                    io.spawn(async move {
                        let end = log.offsets().durable;
                        let read = log.read(at(from), end, 2_000, true).await.unwrap();
                        assert!(!read.is_empty());
                        reading.set(reading.get() - 1);
                    });
                }
                while reading.get() > 0 || !done.get() {
                    io.sleep(pause).await;
                }
                check_safety(&log, &model, &mut Random(delay), &replay).await;
            });
        }
    }
}

#[test]
fn a_log_may_be_cut_at_either_end_in_the_middle_of_a_compaction() {
    let overtaken = Cell::new(0);
    let io = SimIo::new(15);
    io.run(async {
        let log = open_log(&io, "").await;
        io.sync_dir(Path::new("/")).await.unwrap();
        for n in 0..400 {
            append(&log, &one(&format!("{}", n % 30), Some("value"), io.now())).await;
        }
        log.roll().await.unwrap();
        log.close().await.unwrap();
    });
    for delay in 0..120 {
        let replay = format!("delay {delay}");
        let io = io.fork(delay);
        io.run(async {
            let log = open_log(&io, &replay).await;
            log.roll().await.unwrap();
            let (cleaned, its_replay) = (log.clone(), replay.clone());
            let report = Rc::new(Cell::new(None));
            let sets = Rc::clone(&report);
            io.spawn(async move { sets.set(Some(compact(&cleaned, &its_replay).await)) });
            io.sleep(Duration::from_micros(delay * 83)).await;
            let (start, end) = if delay % 2 == 0 {
                (at(0), log.truncate(at(150)).await.unwrap())
            } else {
                log.delete_before(at(150)).await.unwrap();
                (at(150), at(400))
            };
            let report = loop {
                match report.take() {
                    Some(report) => break report,
                    None => io.sleep(Duration::from_micros(10)).await,
                }
            };
            overtaken.set(overtaken.get() + u64::from(report.overtaken));
            for log in [log.clone(), open_after(&io, &log, &replay).await] {
                let offsets = log.offsets();
                assert_eq!((offsets.start, offsets.durable), (start, end), "{replay}");
                let held: Vec<_> =
                    keys(&log).await.into_iter().filter(|(at, _)| *at >= start.value()).collect();
                for (offset, key) in &held {
                    assert_eq!(*key, (offset % 30).to_string(), "{replay}");
                }
                // Of what was last before the cut, nothing is missing if it was not compacted.
                if delay % 2 == 1 {
                    let newest: Vec<_> = (370..400).map(|n| (n, (n % 30).to_string())).collect();
                    assert_eq!(held[held.len() - 30..], newest, "{replay}");
                }
            }
        });
    }
    assert!(overtaken.get() > 10, "{}", overtaken.get());
}

/// The same log, closed and opened again.
async fn open_after(io: &SimIo, log: &Log<SimIo>, replay: &str) -> Log<SimIo> {
    log.close().await.unwrap();
    open_log(io, replay).await
}

#[test]
fn one_compaction_at_a_time_and_none_of_a_closed_log() {
    let io = SimIo::new(12);
    io.run(async {
        let log = open_log(&io, "").await;
        append(&log, &one("a", Some("1"), io.now())).await;
        log.roll().await.unwrap();
        let (settings, end) = (settings(), log.offsets().durable);
        let first = log.compact(&settings, end, &Uncompressed);
        let mut first = std::pin::pin!(first);
        std::future::poll_fn(|cx| {
            assert!(first.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        let second = log.compact(&settings, end, &Uncompressed).await;
        assert_eq!(second, Err(CompactError::Running));
        first.await.unwrap();
        log.compact(&settings, end, &Uncompressed).await.unwrap();
        log.close().await.unwrap();
        let closed = log.compact(&settings, end, &Uncompressed).await;
        assert_eq!(closed, Err(CompactError::Log(MaintainError::Closed)));
    });
}

#[test]
fn a_log_can_be_closed_or_deleted_in_the_middle_of_a_compaction() {
    for seed in seeds(60) {
        let replay = replay(seed, "a_log_can_be_closed");
        let mut model = Model::default();
        let io = prepared(seed % 5, &mut model, &replay).fork(seed);
        io.run(async {
            let log = open_log(&io, &replay).await;
            let (cleaned, ended) = (log.clone(), Rc::new(Cell::new(None)));
            let outcome = Rc::clone(&ended);
            let slow = CompactionSettings { bytes_per_second: Some(1), ..settings() };
            let chosen = if seed % 2 == 0 { settings() } else { slow };
            io.spawn(async move {
                let end = cleaned.offsets().durable;
                outcome.set(Some(cleaned.compact(&chosen, end, &Flipped).await));
            });
            io.sleep(Duration::from_micros(seed * 100)).await;
            let began = io.elapsed();
            if seed % 3 == 0 {
                log.delete().await.unwrap();
                let names = io.list_dir(Path::new("/data")).await.unwrap();
                assert!(names.is_empty(), "{names:?} ({replay})");
            } else {
                log.close().await.unwrap();
                let log = open_log(&io, &replay).await;
                check_safety(&log, &model, &mut Random(seed), &replay).await;
            }
            assert!(io.elapsed() - began < Duration::from_secs(1), "{replay}");
            let outcome = ended.take().expect("it has ended before");
            let closed = Err(CompactError::Log(MaintainError::Closed));
            assert!(outcome.is_ok() || outcome == closed, "{outcome:?} ({replay})");
        });
    }
}

#[test]
fn a_compaction_that_others_have_overtaken_leaves_the_log_dirty() {
    let overtaken = Cell::new(0);
    let io = SimIo::new(17);
    io.run(async {
        let log = open_log(&io, "").await;
        io.sync_dir(Path::new("/")).await.unwrap();
        // Small segments, which are joined.
        for value in 0..3 {
            append(&log, &one("other", Some("value"), io.now())).await;
            append(&log, &one("key", Some(&value.to_string()), io.now())).await;
            log.roll().await.unwrap();
        }
        log.close().await.unwrap();
    });
    for delay in 0..60 {
        let replay = format!("delay {delay}");
        let io = io.fork(delay);
        io.run(async {
            let log = open_log(&io, &replay).await;
            log.roll().await.unwrap();
            let (cleaned, its_replay) = (log.clone(), replay.clone());
            let report = Rc::new(Cell::new(None));
            let sets = Rc::clone(&report);
            io.spawn(async move { sets.set(Some(compact(&cleaned, &its_replay).await)) });
            io.sleep(Duration::from_micros(delay * 43)).await;
            log.delete_before(at(2)).await.unwrap();
            let report = loop {
                match report.take() {
                    Some(report) => break report,
                    None => io.sleep(Duration::from_micros(10)).await,
                }
            };
            overtaken.set(overtaken.get() + u64::from(report.overtaken));
            // What was left as it was is cleaned by the next one.
            append(&log, &one("more", Some("value"), io.now())).await;
            log.roll().await.unwrap();
            compact(&log, &replay).await;
            let held: Vec<_> = keys(&log).await.into_iter().map(|(offset, _)| offset).collect();
            assert_eq!(held, [4, 5, 6], "{report:?} ({replay})");
        });
    }
    assert!(overtaken.get() > 3, "{}", overtaken.get());
}
