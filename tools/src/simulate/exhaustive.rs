//! Every crash of a few short histories, one by one: at each moment at which an operation of the
//! disk has completed, every combination of sectors, lengths and names that reached the disk or did
//! not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringlog_engine::log::FlushPolicy;

use super::history::{
    Action, Cleaning, History, LogSetup, Patience, Setup, Shape, Step, TableSetup,
};
use super::machine::Machine;
use super::panics;
use super::run::{judge_image, play_until};

/// Images of one moment at most.
const IMAGES_MAX: usize = 2048;

/// What came of one history.
#[derive(Default)]
struct Seen {
    name: &'static str,
    has_journal: bool,
    moments: u64,
    images: u64,
    /// Moments with more images than are looked at.
    cut: u64,
    /// All of its moments were looked at.
    is_whole: bool,
    failure: Option<String>,
}

fn done(action: Action) -> Step {
    Step { log: 0, action, patience: Patience::Done }
}

fn append(records: u32, bytes: u32, wait: bool) -> Step {
    let shape = Shape { records, bytes };
    let append = Action::Append { tasks: 1, batches: 1, shape, producer: Some(0), wait };
    let patience = if wait { Patience::Done } else { Patience::Operations(0) };
    Step { log: 0, action: append, patience }
}

fn setup(has_journal: bool, flush: FlushPolicy) -> Setup {
    let log = LogSetup {
        segment_bytes: 8192,
        index_interval_bytes: 512,
        checkpoint_bytes: 4096,
        retention_bytes: Some(1),
        retention_age_max_ms: None,
        flush,
        table: None,
    };
    Setup {
        logs: vec![log],
        journal: has_journal.then_some((2, 64 * 1024)),
        pool_bytes: 8 << 20,
        cache_bytes: 1 << 20,
        open_files_max: 2,
        index_cache_bytes: 4096,
        read_ahead_bytes: 0,
        latency_max_us: 50,
        slow_one_in: 0,
        short_one_in: 0,
        has_unordered_names: true,
    }
}

/// What is compacted: of one key, so that all but the last record goes.
const TABLE: TableSetup = TableSetup {
    keys: 1,
    tombstone_percent: 0,
    keyless_percent: 0,
    has_transactions: false,
    delete_retention_ms: 0,
};

/// The histories, each with and without a journal.
fn histories() -> Vec<(&'static str, History)> {
    let stories: Vec<(&'static str, FlushPolicy, Vec<Step>)> = vec![
        (
            "small batches, one by one",
            FlushPolicy::EveryBatch,
            vec![append(1, 20, true), append(2, 200, true), append(1, 20, true)],
        ),
        (
            "batches of several sectors at once",
            FlushPolicy::EveryBatch,
            vec![append(1, 700, false), append(1, 20, false), append(1, 900, true)],
        ),
        (
            "relaxed batches",
            FlushPolicy::Relaxed { messages: 3, interval: None },
            vec![append(1, 400, true), append(1, 300, true), append(2, 100, true)],
        ),
        (
            "a roll between batches",
            FlushPolicy::EveryBatch,
            vec![append(1, 100, true), done(Action::Roll), append(1, 100, true)],
        ),
        (
            "a truncation between batches",
            FlushPolicy::EveryBatch,
            vec![
                append(1, 100, true),
                append(2, 300, true),
                done(Action::Truncate { at: 200 }),
                append(1, 50, true),
            ],
        ),
        (
            "a retention",
            FlushPolicy::EveryBatch,
            vec![
                append(1, 100, true),
                done(Action::Roll),
                append(1, 200, true),
                done(Action::Retain),
                append(1, 10, true),
            ],
        ),
        (
            "a start moved up",
            FlushPolicy::EveryBatch,
            vec![
                append(2, 100, true),
                append(2, 100, true),
                done(Action::DeleteBefore { at: 200 }),
                append(1, 10, true),
            ],
        ),
        (
            "a clean close",
            FlushPolicy::EveryBatch,
            vec![append(1, 100, true), done(Action::Reopen), append(1, 600, true)],
        ),
        (
            "a log removed and made anew",
            FlushPolicy::EveryBatch,
            vec![append(1, 100, true), done(Action::Recreate), append(1, 50, true)],
        ),
        (
            "a compaction of two segments",
            FlushPolicy::EveryBatch,
            vec![
                append(2, 20, true),
                done(Action::Roll),
                append(1, 20, true),
                done(Action::Roll),
                done(Action::Compact { cleaning: Cleaning::WHOLE }),
            ],
        ),
        (
            "a checkpoint",
            FlushPolicy::EveryBatch,
            vec![append(1, 4_200, true), append(1, 300, true), append(1, 20, true)],
        ),
    ];
    let both = |(name, flush, steps): &(&'static str, FlushPolicy, Vec<Step>)| {
        [false, true].map(|has_journal| {
            let mut setup = setup(has_journal, *flush);
            if steps.iter().any(|step| matches!(step.action, Action::Compact { .. })) {
                setup.logs[0].table = Some(TABLE);
            }
            (*name, History { seed: 1, setup, steps: steps.clone() })
        })
    };
    stories.iter().flat_map(both).collect()
}

/// Looks at every image of every history, and prints how many there were. Whether all were fine.
/// With a limit, each history has its share of the time, and its moments come in such an order that
/// those looked at lie spread over all of it.
pub(crate) fn run_all(seconds: Option<u64>) -> bool {
    let begun = Instant::now();
    let histories = histories();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let rounds = u32::try_from(histories.len().div_ceil(cores)).unwrap_or(u32::MAX);
    let share = seconds.map(|most| Duration::from_secs(most) / rounds);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut seen = Vec::new();
        while let Some((name, history)) = histories.get(next.fetch_add(1, Ordering::Relaxed)) {
            seen.push(look(name, history, share));
        }
        seen
    };
    let all: Vec<Seen> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        // Panics of the engine are caught where they happen.
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    for seen in &all {
        println!(
            "{:>8} images of {:>4} moments, {} of them cut at {IMAGES_MAX}: {}{}{}",
            seen.images,
            seen.moments,
            seen.cut,
            seen.name,
            if seen.has_journal { ", with a journal" } else { "" },
            if seen.is_whole { "" } else { " (not all of them)" }
        );
    }
    let images: u64 = all.iter().map(|seen| seen.images).sum();
    println!("{images} crash images in {:.1} s", begun.elapsed().as_secs_f64());
    let mut is_fine = true;
    for seen in &all {
        if let Some(failure) = &seen.failure {
            println!("{}: {failure}", seen.name);
            println!("cargo run --release -p ringlog-tools --bin simulate -- exhaustive");
            is_fine = false;
        }
    }
    is_fine
}

/// How many moments a history has: one before each of the disk's operations, and one after them.
fn moments(history: &History) -> u64 {
    let mut machine = Machine::new(history.seed, &history.setup, false);
    let before = machine.cx.io.operations();
    play_until(&mut machine, history, u64::MAX);
    let moments = machine.cx.io.operations() - before + 1;
    machine.end();
    moments
}

/// Numbers below `count`, each once, far from those before.
fn spread(count: u64) -> impl Iterator<Item = u64> {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // About the golden ratio of it.
    let near = count * 618 / 1000;
    let step = (near.max(1)..).find(|step| gcd(*step, count) == 1).unwrap_or(1);
    (0..count).map(move |turn| turn * step % count)
}

fn look(name: &'static str, history: &History, share: Option<Duration>) -> Seen {
    let begun = Instant::now();
    let has_journal = history.setup.journal.is_some();
    let mut seen = Seen { name, has_journal, ..Seen::default() };
    let all = moments(history);
    for operations in spread(all) {
        let mut machine = Machine::new(history.seed, &history.setup, false);
        play_until(&mut machine, history, operations);
        seen.moments += 1;
        if let Some(failure) = machine.failure() {
            seen.failure = Some(format!("before operation {operations}: {failure}"));
        } else {
            images_of(&machine, history, operations, &mut seen);
        }
        machine.end();
        if seen.failure.is_some() || share.is_some_and(|most| begun.elapsed() >= most) {
            break;
        }
    }
    seen.is_whole = seen.moments == all;
    seen
}

/// Looks at every image of one moment: the choices are counted up like the digits of a number,
/// each with a base of its own.
fn images_of(machine: &Machine, history: &History, operations: u64, seen: &mut Seen) {
    let mut digits: Vec<(usize, usize)> = Vec::new();
    for count in 1.. {
        let mut at = 0;
        let io = machine.cx.io.crash_as(&mut |ways| {
            if at == digits.len() {
                digits.push((0, ways));
            }
            at += 1;
            digits[at - 1].0
        });
        seen.images += 1;
        let mut image = machine.of_image(io, history);
        let judged = catch_unwind(AssertUnwindSafe(|| judge_image(&mut image)));
        let failure = match judged {
            Ok(()) => image.failure(),
            Err(_) => Some(format!("a panic: {}", panics::last())),
        };
        image.end();
        if let Some(failure) = failure {
            let choices: Vec<usize> = digits.iter().map(|(digit, _)| *digit).collect();
            seen.failure =
                Some(format!("after operation {operations}, image {choices:?}: {failure}"));
            return;
        }
        while digits.last().is_some_and(|(digit, ways)| digit + 1 >= *ways) {
            digits.pop();
        }
        match digits.last_mut() {
            Some((digit, _)) => *digit += 1,
            None => return,
        }
        if count == IMAGES_MAX {
            seen.cut += 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_comes_once_and_the_first_few_lie_apart() {
        for count in [1, 2, 3, 10, 97, 500] {
            let mut all: Vec<u64> = spread(count).collect();
            all.sort_unstable();
            assert!(all.iter().copied().eq(0..count), "{count}");
        }
        let mut first: Vec<u64> = spread(500).take(10).collect();
        first.sort_unstable();
        assert!(first.windows(2).all(|pair| (20..100).contains(&(pair[1] - pair[0]))), "{first:?}");
    }
}
