//! Where and with what a report was made.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine that generates the load, and the tool. The server may run elsewhere.
#[derive(Debug, Clone, Serialize)]
pub struct Environment {
    /// The processor, as the kernel names it.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The tool's version.
    pub version: &'static str,
    /// The commit that the tool was built from.
    pub commit: &'static str,
    /// Whether the tool was built with debug assertions: its figures are then worthless.
    pub debug_build: bool,
    /// Seconds since 1970, at the end of the run.
    pub finished_unix_s: u64,
}

impl Environment {
    /// This machine, now.
    #[must_use]
    pub fn detect() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let release = rustix::system::uname();
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores,
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
            kernel: release.release().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("RINGLOG_BENCH_COMMIT"),
            debug_build: cfg!(debug_assertions),
            finished_unix_s: since.as_secs(),
        }
    }
}

/// The first `key : value` line's value.
fn value(text: &str, key: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> u64 {
    let kib = value(meminfo, "MemTotal")
        .and_then(|total| total.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()));
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_described() {
        let here = Environment::detect();
        assert!(here.cores > 0 && here.memory_bytes > 0 && !here.kernel.is_empty(), "{here:?}");
    }
}
