//! Makes a failing history short: steps go, as long as what is left still fails.

use std::time::{Duration, Instant};

use ringlog_engine::log::FlushPolicy;

use super::history::{History, Patience};
use super::run::{Outcome, run};

/// Time a shrink may take.
const TIME_MAX: Duration = Duration::from_secs(20);

/// A shorter history that fails too, perhaps in another way, and its outcome.
pub(crate) fn shrink(history: &History, outcome: Outcome) -> (History, Outcome) {
    let mut search = Search { best: (history.clone(), outcome), begun: Instant::now() };
    let mut chunk = history.steps.len().div_ceil(2).max(1);
    loop {
        let before = search.best.0.steps.len();
        search.without_chunks(chunk);
        if chunk == 1 && search.best.0.steps.len() == before {
            break;
        }
        chunk = (chunk / 2).max(1);
        if search.is_over() {
            break;
        }
    }
    search.simpler_setup();
    search.simpler_steps();
    search.without_chunks(1);
    search.best
}

struct Search {
    best: (History, Outcome),
    begun: Instant,
}

impl Search {
    fn is_over(&self) -> bool {
        self.begun.elapsed() > TIME_MAX
    }

    /// Takes the history if it fails.
    fn try_out(&mut self, history: History) -> bool {
        if self.is_over() {
            return false;
        }
        let outcome = run(&history, false);
        let fails = outcome.failure.is_some();
        if fails {
            self.best = (history, outcome);
        }
        fails
    }

    fn without_chunks(&mut self, chunk: usize) {
        let mut from = 0;
        while from < self.best.0.steps.len() {
            let mut shorter = self.best.0.clone();
            let to = (from + chunk).min(shorter.steps.len());
            shorter.steps.drain(from..to);
            if !self.try_out(shorter) {
                from += chunk;
            }
        }
    }

    fn simpler_setup(&mut self) {
        for change in [
            (|history| history.setup.slow_one_in = 0) as fn(&mut History),
            |history| history.setup.short_one_in = 0,
            |history| history.setup.has_unordered_names = false,
            |history| history.setup.latency_max_us = 11,
            |history| history.setup.logs.truncate(1),
            |history| history.setup.cache_bytes = 4 << 20,
            |history| {
                for log in &mut history.setup.logs {
                    log.flush = FlushPolicy::EveryBatch;
                }
            },
            |history| {
                for log in &mut history.setup.logs {
                    (log.retention_bytes, log.retention_age_max_ms) = (None, None);
                }
            },
        ] {
            let mut simpler = self.best.0.clone();
            change(&mut simpler);
            if simpler.setup != self.best.0.setup {
                self.try_out(simpler);
            }
        }
    }

    fn simpler_steps(&mut self) {
        for index in 0..self.best.0.steps.len() {
            if self.best.0.steps[index].patience != Patience::Done {
                let mut simpler = self.best.0.clone();
                simpler.steps[index].patience = Patience::Done;
                self.try_out(simpler);
            }
            if let super::history::Action::Append { tasks, batches, shape, .. } =
                &self.best.0.steps[index].action
                && (*tasks, *batches, shape.records) != (1, 1, 1)
            {
                let mut simpler = self.best.0.clone();
                if let super::history::Action::Append { tasks, batches, shape, .. } =
                    &mut simpler.steps[index].action
                {
                    (*tasks, *batches, shape.records) = (1, 1, 1);
                }
                self.try_out(simpler);
            }
        }
    }
}
