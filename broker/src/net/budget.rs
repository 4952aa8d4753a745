//! How many connections the whole broker serves: `max.connections`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::FILES_RESERVED_MIN;

/// The broker's count of connections. Shared by the shards; touched when a client comes or goes.
#[derive(Debug, Clone)]
pub struct ConnectionBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: AtomicUsize,
    max: usize,
}

/// Leave to serve one connection, until it is dropped.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
}

/// How many connections a process serves that is to serve `max` and may have `files_max` files
/// open (`None` is as many as it likes), `held` of them for as long as it runs. A connection is an
/// open file, and so is a segment: a quarter of the files, [`FILES_RESERVED_MIN`] at least, is left
/// to everything else.
#[must_use]
pub fn connections_max(max: usize, files_max: Option<u64>, held: u64) -> usize {
    let Some(files_max) = files_max else { return max };
    let reserved = (files_max / 4).max(FILES_RESERVED_MIN.saturating_add(held));
    let for_connections = files_max.saturating_sub(reserved);
    usize::try_from(for_connections).map_or(max, |for_connections| max.min(for_connections))
}

impl ConnectionBudget {
    /// Leave for `max` connections at a time.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { shared: Arc::new(Shared { open: AtomicUsize::new(0), max }) }
    }

    /// Leave for one more, unless as many as may be are open.
    #[must_use]
    pub fn admit(&self) -> Option<Admission> {
        let open = &self.shared.open;
        let below_max = |count| (count < self.shared.max).then_some(count + 1);
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below_max).ok()?;
        Some(Admission { shared: Arc::clone(&self.shared) })
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// How many may be.
    #[must_use]
    pub fn max(&self) -> usize {
        self.shared.max
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_admitted_as_the_limit_says_and_a_leaver_makes_room() {
        let budget = ConnectionBudget::new(2);
        let first = budget.admit().expect("room");
        let _second = budget.admit().expect("room");
        assert!(budget.admit().is_none());
        drop(first);
        assert!(budget.admit().is_some());
        assert_eq!(budget.open(), 1);
    }

    #[test]
    fn connections_leave_files_to_the_logs() {
        assert_eq!(connections_max(65_536, None, 0), 65_536);
        assert_eq!(connections_max(65_536, Some(1 << 20), 0), 65_536);
        assert_eq!(connections_max(65_536, Some(4096), 0), 3072);
        assert_eq!(connections_max(3072, Some(4096), 0), 3072);
        assert_eq!(connections_max(65_536, Some(200), 0), 136);
        assert_eq!(connections_max(100, Some(200), 0), 100);
        assert_eq!(connections_max(100, Some(64), 0), 0);
        assert_eq!(connections_max(100, Some(0), 0), 0);
        assert_eq!(connections_max(65_536, Some(200), 16), 120);
    }
}
