//! The shard's clock: the one of its storage backend, so that simulation owns all time.

use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::offset::Timestamp;

use super::storage::Disk;

/// Tells the time. Cloning gives another handle to the same clock.
#[derive(Clone)]
pub struct Clock {
    disk: Disk,
}

impl Clock {
    /// The clock of a backend.
    #[must_use]
    pub fn of(disk: &Disk) -> Self {
        Self { disk: disk.clone() }
    }

    /// Wall-clock time.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.disk.now()
    }

    /// Time since some fixed point, never going back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.disk.elapsed()
    }
}
