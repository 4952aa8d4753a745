//! The simulator's own test: bugs that were planted must be found.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use ringlog_engine::planted::{Bug, activate};

use super::run::run;
use super::swarm;

/// The bug that every CI run must find. It needs few seeds.
const CANARY: Bug = Bug::JournalWithoutSync;

/// Seeds after which a bug that was not found is a failure.
const SEEDS_MAX: u64 = 10_000;

/// Seeds that a bug may need in the median.
const MEDIAN_MAX: u64 = 500;

/// How a bug was found.
struct Finding {
    bug: Bug,
    /// Seeds until then, and what was wrong; `None` if it was not found.
    found: Option<(u64, String)>,
}

fn find(bug: Bug, first_seed: u64) -> Finding {
    activate(Some(bug));
    let found = (0..SEEDS_MAX).find_map(|count| {
        let outcome = run(&swarm::draw(first_seed + count), false);
        outcome.failure.map(|what| (count + 1, what))
    });
    activate(None);
    Finding { bug, found }
}

/// Looks for the canary. Whether it was found.
pub(crate) fn canary() -> bool {
    let finding = find(CANARY, 0);
    match finding.found {
        Some((seeds, what)) => {
            println!("the canary ({CANARY:?}) was found after {seeds} seeds: {what}");
            true
        }
        None => {
            println!("the canary ({CANARY:?}) passed {SEEDS_MAX} seeds: the simulator is blind");
            false
        }
    }
}

/// Looks for every bug, or those whose name holds `only`, and prints a table. Whether all were
/// found soon enough.
pub(crate) fn table(first_seed: u64, only: Option<&str>) -> bool {
    let begun = Instant::now();
    let wanted = |bug: &&Bug| only.is_none_or(|only| format!("{bug:?}").contains(only));
    let bugs: Vec<Bug> = Bug::ALL.iter().filter(wanted).copied().collect();
    let next = AtomicUsize::new(0);
    let seeds_run = AtomicU64::new(0);
    let work = || {
        let mut findings = Vec::new();
        while let Some(&bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let finding = find(bug, first_seed);
            let seeds = finding.found.as_ref().map_or(SEEDS_MAX, |(seeds, _)| *seeds);
            seeds_run.fetch_add(seeds, Ordering::Relaxed);
            findings.push(finding);
        }
        findings
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut findings: Vec<Finding> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        // Panics of the engine are caught where they happen.
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    findings.sort_by_key(|finding| finding.bug as usize);
    println!("{:>6}  {:<26}  what", "seeds", "bug");
    for Finding { bug, found } in &findings {
        let what = bug.what();
        match found {
            Some((seeds, how)) => {
                let how: String = how.chars().take(100).collect();
                println!("{seeds:>6}  {:<26}  {what} -> {how}", format!("{bug:?}"));
            }
            None => println!("  none  {:<26}  {what}", format!("{bug:?}")),
        }
    }
    let missed = findings.iter().filter(|finding| finding.found.is_none()).count();
    let mut seeds: Vec<u64> =
        findings.iter().filter_map(|finding| finding.found.as_ref().map(|found| found.0)).collect();
    seeds.sort_unstable();
    let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
    println!(
        "{} bugs, {missed} not found within {SEEDS_MAX} seeds; median {median} seeds; {} seeds in \
         {:.1} s",
        findings.len(),
        seeds_run.into_inner(),
        begun.elapsed().as_secs_f64()
    );
    missed == 0 && median <= MEDIAN_MAX
}
