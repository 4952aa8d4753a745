//! What many histories came to, in words.

use std::fmt::Write;
use std::time::Duration;

use ringlog_engine::io::Rare;
use ringlog_engine::io::sim::{Fault, FaultCounts};

use super::history::History;
use super::run::Outcome;

/// Seeds from which on a rare branch of the engine that none of them has reached is a failure: the
/// histories are blind to it. Each is reached by one seed in a thousand or more.
pub(crate) const REACHED_SEEDS_MIN: u64 = 15_000;

/// How often the engine took a rare branch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reached {
    times: u64,
    seeds: u64,
}

/// The sum of many histories.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    pub(crate) seeds: u64,
    pub(crate) operations: u64,
    pub(crate) faults: FaultCounts,
    pub(crate) reached: [Reached; Rare::ALL.len()],
}

impl Default for Sum {
    fn default() -> Self {
        let reached = [Reached::default(); Rare::ALL.len()];
        Self { seeds: 0, operations: 0, faults: FaultCounts::default(), reached }
    }
}

impl Sum {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.operations += outcome.operations;
        self.faults.merge(&outcome.faults);
        for (reached, branch) in self.reached.iter_mut().zip(Rare::ALL) {
            let times = outcome.reached.of(*branch);
            reached.times += times;
            reached.seeds += u64::from(times > 0);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.operations += other.operations;
        self.faults.merge(&other.faults);
        for (mine, theirs) in self.reached.iter_mut().zip(other.reached) {
            mine.times += theirs.times;
            mine.seeds += theirs.seeds;
        }
    }

    /// Rare branches that no seed has reached, though there were so many that one should have.
    pub(crate) fn unreached(&self) -> Vec<Rare> {
        let each = Rare::ALL.iter().zip(self.reached);
        let none = each.filter(|(_, reached)| reached.seeds == 0).map(|(branch, _)| *branch);
        if self.seeds < REACHED_SEEDS_MIN { Vec::new() } else { none.collect() }
    }

    pub(crate) fn tell(&self, elapsed: Duration) -> String {
        let mut text = String::new();
        let rate = self.seeds as f64 / elapsed.as_secs_f64().max(1e-9);
        let _ = writeln!(
            text,
            "{} seeds in {:.1} s: {rate:.0} seeds/s, {} disk operations in their last lives",
            self.seeds,
            elapsed.as_secs_f64(),
            self.operations
        );
        let _ = writeln!(text, "faults injected:");
        for fault in Fault::ALL {
            let _ = writeln!(text, "  {:>12}  {}", self.faults.of(fault), fault.name());
        }
        let _ = writeln!(text, "rare branches of the engine, times and seeds that reached them:");
        for (branch, Reached { times, seeds }) in Rare::ALL.iter().zip(self.reached) {
            let _ = writeln!(text, "  {times:>12} {seeds:>8}  {}", branch.what());
        }
        text
    }
}

/// A failure, with the short history that shows it.
pub(crate) fn failure(history: &History, outcome: &Outcome) -> String {
    let mut text = String::new();
    let what = outcome.failure.as_deref().unwrap_or("nothing");
    let _ = writeln!(text, "seed {} fails: {what}", history.seed);
    let _ = writeln!(text, "shrunk to {} steps on {:?}:", history.steps.len(), history.setup);
    for (number, step) in history.steps.iter().enumerate() {
        let _ = writeln!(text, "  {number:>3}  {step:?}");
    }
    text
}
