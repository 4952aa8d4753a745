//! What another process uses: CPU time from `/proc/PID/stat`, memory from `/proc/PID/status`.

use std::fs;
use std::io;
use std::time::Duration;

use crate::error::BenchError;

/// The server's process. The kernel counts CPU time in ticks, usually of 10 ms.
#[derive(Debug, Clone, Copy)]
pub struct ServerProcess {
    pid: u32,
}

impl ServerProcess {
    /// Process `pid`.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// User and system time of all threads up to now.
    ///
    /// # Errors
    ///
    /// [`BenchError::ServerProcess`] if there is no such process or its times cannot be read.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        let failed = |source| BenchError::ServerProcess { pid: self.pid, source };
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).map_err(failed)?;
        let ticks = ticks(&stat).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidData, "stat has no user and system time"))
        })?;
        let ticks_per_s = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / ticks_per_s)))
    }

    /// Bytes of memory that the process has in use now (resident set).
    ///
    /// # Errors
    ///
    /// [`BenchError::ServerProcess`] if there is no such process or its memory cannot be read.
    pub fn resident_bytes(&self) -> Result<u64, BenchError> {
        let failed = |source| BenchError::ServerProcess { pid: self.pid, source };
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).map_err(failed)?;
        let kib = resident_kib(&status).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidData, "status has no resident memory"))
        })?;
        Ok(kib.saturating_mul(1024))
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

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
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
    fn the_own_process_has_cpu_time_and_memory_and_a_missing_one_is_an_error() {
        let own = ServerProcess::new(std::process::id());
        assert!(own.cpu_time().is_ok());
        assert!(own.resident_bytes().unwrap() > 4096);
        assert!(matches!(
            ServerProcess::new(u32::MAX).cpu_time(),
            Err(BenchError::ServerProcess { .. })
        ));
    }
}
