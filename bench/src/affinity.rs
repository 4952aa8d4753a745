//! Which thread runs on which core, and how much of it a thread uses.

use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::error::BenchError;

/// Pins the calling thread to core `cpu`; without one it stays free.
///
/// # Errors
///
/// [`BenchError::System`] if there is no such core.
pub fn pin(cpu: Option<usize>) -> Result<(), BenchError> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    if cpu < CpuSet::MAX_CPU {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).map_err(|error| BenchError::System {
        what: "pin a thread to its core",
        source: error.into(),
    })
}

/// What the calling thread has used of its core.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A core that this process may use and that is none of `taken`.
#[must_use]
pub fn other_core(taken: &[usize]) -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu) && !taken.contains(&cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_is_taken_is_not_given() {
        let first = other_core(&[]).unwrap();
        assert_ne!(other_core(&[first]), Some(first));
        pin(Some(first)).unwrap();
        assert_eq!(other_core(&[first]), None);
        assert!(pin(Some(usize::MAX)).is_err());
    }
}
