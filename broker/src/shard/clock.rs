//! The shard's clock: the one of its storage backend, so that simulation owns all time.

use std::future::Future;
use std::time::Duration;

use ringlog_engine::io::Io;
use ringlog_engine::offset::Timestamp;

use super::storage::Disk;
use crate::timer::timeout;

/// Tells the time, and waits for it. Cloning gives another handle to the same clock.
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

    /// The backend whose clock it is.
    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Wall-clock time.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.disk.now()
    }

    /// Resolves after at least `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.disk.sleep(duration).await;
    }

    /// What `work` comes to, or `None` if it is not done when [`Self::elapsed`] comes to
    /// `deadline`; it is dropped then. Work that is done at once is done, however late it is.
    pub async fn timeout_at<T>(
        &self,
        deadline: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        timeout(&self.disk, deadline.saturating_sub(self.elapsed()), work).await
    }

    /// Time since some fixed point, never going back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.disk.elapsed()
    }
}
