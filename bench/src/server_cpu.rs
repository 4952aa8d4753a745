//! The CPU time that another process has used, from `/proc/PID/stat`.

use std::fs;
use std::io;
use std::time::Duration;

use crate::error::BenchError;

/// Reads a process's CPU time. The kernel counts it in ticks, usually of 10 ms.
#[derive(Debug, Clone, Copy)]
pub struct ServerCpu {
    pid: u32,
}

impl ServerCpu {
    /// The CPU time of process `pid`.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// User and system time of all threads up to now.
    ///
    /// # Errors
    ///
    /// [`BenchError::ServerCpu`] if there is no such process or its times cannot be read.
    pub fn used(&self) -> Result<Duration, BenchError> {
        let failed = |source| BenchError::ServerCpu { pid: self.pid, source };
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).map_err(failed)?;
        let ticks = ticks(&stat).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidData, "stat has no user and system time"))
        })?;
        let ticks_per_s = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / ticks_per_s)))
    }
}

/// User and system ticks: the 14th and 15th field. The second, the program's name in brackets, may
/// hold blanks and brackets itself.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_own_process_has_cpu_time_and_a_missing_one_is_an_error() {
        assert!(ServerCpu::new(std::process::id()).used().is_ok());
        assert!(matches!(ServerCpu::new(u32::MAX).used(), Err(BenchError::ServerCpu { .. })));
    }
}
