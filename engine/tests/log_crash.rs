//! Several logs on a disk that loses power and a process that is killed, at random moments, with
//! a model of what was acknowledged as the judge.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringlog_engine::batch::CheckedBatch;
use ringlog_engine::io::Io;
use ringlog_engine::io::sim::SimIo;
use ringlog_engine::log::{FlushPolicy, Log, LogSettings};
use ringlog_engine::offset::Offset;
use support::*;

/// What one log should hold: the batches that were appended, in order, and how many of them were
/// acknowledged.
#[derive(Default)]
struct Model {
    start: i64,
    /// End offset and bytes of each batch that was given offsets.
    appended: Vec<(i64, Vec<u8>)>,
    /// Everything below was acknowledged.
    acknowledged: i64,
    /// Truncations under way; what is acknowledged meanwhile may go.
    truncating: usize,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn settings(random: &mut Random, relaxed: bool) -> LogSettings {
    let durability = if relaxed {
        let interval = (random.below(2) == 0).then_some(Duration::from_millis(3));
        FlushPolicy::Relaxed { messages: 1 + random.below(50), interval }
    } else {
        FlushPolicy::EveryBatch
    };
    let segment_bytes = 4096 << random.below(6);
    LogSettings { segment_bytes, durability, ..small() }
}

type Shared = Rc<RefCell<Model>>;

/// One task's life: appends, now and then a roll, a retention, a truncation or a close.
async fn live(log: Log<SimIo>, model: Shared, mut random: Random, rare: bool, tag: u64) {
    for step in 0..60_u64 {
        match random.below(if rare { 20 } else { 1_000_000 }) {
            0 => {
                let _ = log.roll().await;
            }
            1 => {
                let offsets = log.offsets();
                let span = offsets.durable.since(offsets.start);
                let start = offsets.start.plus(u32::try_from(random.below(span + 1)).unwrap());
                // The model's start moves first: after a crash either start is right.
                let known = model.borrow().start;
                model.borrow_mut().start = known.max(start.value());
                let _ = log.delete_before(start).await;
            }
            2 => truncate(&log, &model, &mut random).await,
            _ => {}
        }
        let records = 1 + usize::try_from(random.below(4)).unwrap();
        let bytes = usize::try_from(1_u64 << random.below(13)).unwrap();
        let bytes = batch(records, bytes, tag * 1_000 + step, 1_000);
        let Ok(reservation) = log.reserve(bytes.len()).await else { return };
        let checked = CheckedBatch::check(&bytes).unwrap();
        let Ok(appended) = log.append(reservation, &checked, STAMP) else { return };
        let end = appended.end_offset.value();
        model.borrow_mut().appended.push((end, bytes));
        if random.below(3) > 0 && log.durable(appended.end_offset).await.is_ok() {
            let mut model = model.borrow_mut();
            if model.truncating == 0 {
                model.acknowledged = model.acknowledged.max(end);
            }
        }
    }
}

async fn truncate(log: &Log<SimIo>, model: &Shared, random: &mut Random) {
    let offsets = log.offsets();
    let span = offsets.end.since(offsets.start);
    let to = offsets.start.plus(u32::try_from(random.below(span + 1)).unwrap());
    {
        let mut model = model.borrow_mut();
        // The batch that holds the new end goes too, and has at most four records.
        model.acknowledged = model.acknowledged.min(to.value() - 3);
        model.truncating += 1;
    }
    if let Ok(end) = log.truncate(to).await {
        let mut model = model.borrow_mut();
        model.acknowledged = model.acknowledged.min(end.value());
        model.truncating -= 1;
    }
}

/// The log holds a prefix of what was appended, with everything that was acknowledged.
async fn judge(log: &Log<SimIo>, model: &Shared, replay: &str) {
    let offsets = log.offsets();
    let held = contents(log).await;
    let mut model = model.borrow_mut();
    assert!(offsets.start.value() <= model.start, "{replay}: start {offsets:?}");
    assert!(
        offsets.end.value() >= model.acknowledged,
        "log.keeps_acknowledged: {} of {offsets:?} ({replay})",
        model.acknowledged
    );
    let mut kept = Vec::new();
    for bytes in &held {
        let end = header(bytes).end_offset().unwrap().value();
        // After a truncation the same offsets were given twice.
        let appended = model
            .appended
            .iter()
            .find(|(other, expected)| *other == end && unstamped(bytes) == unstamped(expected));
        let appended = appended.unwrap_or_else(|| {
            panic!("log.recovers_a_prefix: a batch up to {end} that nobody appended ({replay})")
        });
        kept.push(appended.clone());
    }
    // What was lost is lost: its offsets are given anew.
    model.appended = kept;
    model.truncating = 0;
    model.start = offsets.start.value();
    model.acknowledged = offsets.end.value();
}

#[derive(Debug, Clone, Copy)]
enum End {
    Kill,
    PowerLoss,
}

fn story(seed: u64, ends: &[End], relaxed: bool, rare: bool) {
    let replay =
        format!("RINGLOG_SEED={seed} cargo test -p ringlog-engine --test log_crash, {ends:?}");
    let mut random = Random(seed);
    let mut io = SimIo::new(seed);
    io.set_latency(Duration::from_micros(10), Duration::from_micros(10 + random.below(500)));
    let logs = 1 + random.below(4);
    let models: Vec<Shared> = (0..logs).map(|_| Shared::default()).collect();
    let settings = settings(&mut random, relaxed);
    io.run(async {
        io.create_dir_all(Path::new("/data")).await.unwrap();
        io.sync_dir(Path::new("/")).await.unwrap();
    });
    for (round, end) in ends.iter().enumerate() {
        let budget = random.below(400);
        let clean = random.below(8) == 0;
        let done = Cell::new(0);
        let work = async {
            let shard = shard(&io);
            let mut open_logs = Vec::new();
            for (index, model) in models.iter().enumerate() {
                let dir = PathBuf::from(format!("/data/log-{index}"));
                let opened = Log::open(&shard, &dir, settings.clone()).await;
                let (log, _) = opened.unwrap_or_else(|error| panic!("{error} ({replay})"));
                judge(&log, model, &replay).await;
                for task in 0..2 {
                    let random = Random(random.next());
                    let tag = (round as u64 * 10 + index as u64) * 10 + task;
                    io.spawn(live(log.clone(), Rc::clone(model), random, rare, tag));
                }
                open_logs.push(log);
            }
            if clean {
                for log in &open_logs {
                    log.close().await.unwrap_or_else(|error| panic!("{error} ({replay})"));
                }
                done.set(open_logs.len());
            }
            std::future::pending::<()>().await;
        };
        let _ = io.run_operations(Box::pin(work), 40 + budget * logs);
        io = match end {
            End::Kill => io.kill(),
            End::PowerLoss => io.crash(),
        };
    }
    io.run(async {
        let shard = cold_shard(&io);
        for (index, model) in models.iter().enumerate() {
            let dir = PathBuf::from(format!("/data/log-{index}"));
            let opened = Log::open(&shard, &dir, settings.clone()).await;
            let (log, _) = opened.unwrap_or_else(|error| panic!("{error} ({replay})"));
            judge(&log, model, &replay).await;
            let next = log.offsets().end;
            assert_eq!(append(&log, &batch(1, 9, 5, 1)).await.base_offset, next);
            log.close().await.unwrap();
            let (log, report) = Log::open(&shard, &dir, settings.clone()).await.unwrap();
            assert!(report.clean, "{report:?} ({replay})");
            assert_eq!(log.offsets().end, Offset::new(next.value() + 1).unwrap());
        }
    });
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("RINGLOG_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..150,
    }
}

#[test]
fn everything_acknowledged_survives_a_loss_of_power_at_any_moment() {
    for seed in seeds() {
        story(seed, &[End::PowerLoss; 3], false, seed % 2 == 1);
    }
}

#[test]
fn everything_acknowledged_survives_kill_under_every_policy() {
    for seed in seeds() {
        story(seed, &[End::Kill; 3], seed % 2 == 0, seed % 3 == 1);
    }
}

#[test]
fn everything_acknowledged_survives_kill_and_then_a_loss_of_power() {
    for seed in seeds() {
        story(seed, &[End::Kill, End::PowerLoss, End::Kill, End::PowerLoss], false, seed % 2 == 1);
    }
}
