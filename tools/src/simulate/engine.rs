//! Many seeds, on all cores.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::args::Seeds;
use super::report::{self, Sum};
use super::run::run;
use super::shrink::shrink;
use super::swarm;

/// Seeds that a thread takes at once.
const SHARE: u64 = 64;

/// Runs the seeds and prints what came of them. Whether all was fine.
pub(crate) fn run_seeds(seeds: &Seeds) -> bool {
    match seeds.seed {
        Some(seed) => replay(seed),
        None => run_many(seeds),
    }
}

fn replay_line(seed: u64) -> String {
    format!("cargo run --release -p ringlog-tools --bin simulate -- engine --seed {seed}")
}

fn replay(seed: u64) -> bool {
    let history = swarm::draw(seed);
    println!("seed {seed}: {:?}", history.setup);
    let outcome = run(&history, true);
    println!("{} disk operations, fingerprint {:016x}", outcome.operations, outcome.fingerprint);
    tell_failure(seed, true)
}

/// Runs a seed again, shrinks it if it fails, and prints that, traced if asked. Whether it was
/// fine.
fn tell_failure(seed: u64, is_traced: bool) -> bool {
    let history = swarm::draw(seed);
    let outcome = run(&history, false);
    if outcome.failure.is_none() {
        println!("seed {seed}: fine");
        return true;
    }
    println!("seed {seed} fails: {}", outcome.failure.as_deref().unwrap_or_default());
    let (short, outcome) = shrink(&history, outcome);
    if is_traced {
        println!("the short history:");
        run(&short, true);
    }
    print!("{}", report::failure(&short, &outcome));
    println!("{}", replay_line(seed));
    false
}

fn run_many(seeds: &Seeds) -> bool {
    let begun = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = seeds.jobs.unwrap_or(cores).max(1);
    let last = seeds.first_seed.saturating_add(seeds.seeds);
    let next = AtomicU64::new(seeds.first_seed);
    // The lowest seed that failed: those below it are still run, so that it is the same one however
    // many threads there are.
    let failing = AtomicU64::new(u64::MAX);
    let is_over = || seeds.seconds.is_some_and(|most| begun.elapsed().as_secs() >= most);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let from = next.fetch_add(SHARE, Ordering::Relaxed);
            if from >= last || is_over() {
                return sum;
            }
            for seed in from..(from + SHARE).min(last) {
                if seed > failing.load(Ordering::Relaxed) {
                    return sum;
                }
                let outcome = run(&swarm::draw(seed), false);
                sum.add(&outcome);
                if outcome.failure.is_some() {
                    failing.fetch_min(seed, Ordering::Relaxed);
                }
            }
        }
    };
    let mut total = Sum::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            // Panics of the engine are caught where they happen.
            total.merge(&worker.join().expect("a worker"));
        }
    });
    print!("{}", total.tell(begun.elapsed()));
    let unreached = total.unreached();
    for branch in &unreached {
        println!("no seed has reached this: {}", branch.what());
    }
    match failing.into_inner() {
        u64::MAX => unreached.is_empty(),
        seed => tell_failure(seed, false),
    }
}
