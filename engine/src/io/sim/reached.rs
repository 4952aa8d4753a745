//! How often the engine's rare branches were taken.

use crate::io::Rare;

/// How often each rare branch was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReachedCounts {
    counts: [u64; Rare::ALL.len()],
}

impl Default for ReachedCounts {
    fn default() -> Self {
        Self { counts: [0; Rare::ALL.len()] }
    }
}

impl ReachedCounts {
    pub(super) fn add(&mut self, branch: Rare) {
        self.counts[branch as usize] += 1;
    }

    /// How often this one was taken.
    #[must_use]
    pub const fn of(&self, branch: Rare) -> u64 {
        self.counts[branch as usize]
    }
}
