//! An open loop: appends that are due at fixed times, whatever became of the ones before.

use std::time::{Duration, Instant};

use super::{Cell, now};

/// The times at which one worker's appends are due. An append's latency counts from there, so that
/// a contender that falls behind cannot hide it.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    begun: Instant,
    seconds: f64,
    taken: u32,
}

impl Pace {
    /// The share of worker `worker` of `workers` in the cell's rate, from now on. `None` if the
    /// cell has no rate.
    pub(crate) fn of(cell: &Cell, worker: usize, workers: usize) -> Option<Self> {
        let whole = 1.0 / f64::from(cell.rate?.max(1));
        let begun = now() + Duration::from_secs_f64(whole * worker as f64);
        Some(Self { begun, seconds: whole * workers as f64, taken: 0 })
    }

    /// When the next append is due.
    pub(crate) fn due(&self) -> Instant {
        self.begun + Duration::from_secs_f64(self.seconds * f64::from(self.taken))
    }

    /// The next append's time, which is thereby taken, if it has come.
    pub(crate) fn take(&mut self) -> Option<Instant> {
        let due = self.due();
        (due <= now()).then(|| {
            self.taken += 1;
            due
        })
    }
}
