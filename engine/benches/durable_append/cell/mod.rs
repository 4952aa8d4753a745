//! One cell of the comparison: what a contender is asked to do, and what is measured of it.
//!
//! Each cell runs in a process of its own, so that memory and CPU time are the contender's alone.
//! This folder is shared by the two programs that run cells: the benchmark itself (Ringlog and the
//! floor) and `engine/benches/rivals` (the other crates).

mod course;
mod pace;
mod usage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub(crate) use course::{Course, Tally, measure};
pub(crate) use pace::Pace;

/// Why a cell could not be run.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a contender is asked to do: keep `in_flight` appends of `payload_bytes` bytes in flight,
/// spread evenly over `logs` logs, each acknowledged when it is on stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// Who runs it, by the name in the plan.
    pub(crate) contender: String,
    /// Bytes of one append, as the application counts them.
    pub(crate) payload_bytes: usize,
    /// Logs that are open, each of which has had an append before the warm-up.
    pub(crate) logs: usize,
    /// Appends that wait for their acknowledgement at any time; with a rate, at most.
    pub(crate) in_flight: usize,
    /// Appends a second that are asked for, at fixed times; `None` for each as soon as the one
    /// before it is acknowledged.
    pub(crate) rate: Option<u32>,
    /// Milliseconds before the measurement.
    pub(crate) warm_up_ms: u64,
    /// Milliseconds measured, unless `bytes_max` comes first.
    pub(crate) measure_ms: u64,
    /// Payload bytes after which the measurement ends, so that a cell cannot fill the disk.
    pub(crate) bytes_max: u64,
    /// An empty folder to work in.
    pub(crate) dir: PathBuf,
    /// The core for contenders of one thread.
    pub(crate) cpu: Option<usize>,
}

/// What was measured of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Appends acknowledged within the measured time.
    pub(crate) appends: u64,
    /// The measured time.
    pub(crate) seconds: f64,
    /// Half of the appends were acknowledged within this.
    pub(crate) p50_us: f64,
    /// 99 of 100.
    pub(crate) p99_us: f64,
    /// 999 of 1,000.
    pub(crate) p99_9_us: f64,
    /// The slowest.
    pub(crate) max_us: f64,
    /// User and system time of all threads of the process, the kernel's workers for it included.
    pub(crate) cpu_us: f64,
    /// Bytes written to the block device meanwhile, by anybody: on a quiet machine by the cell and
    /// by the file system for it. `None` where the device keeps no statistics.
    pub(crate) device_bytes: Option<u64>,
    /// Cache flushes sent to the device meanwhile.
    pub(crate) device_flushes: Option<u64>,
    /// The most memory the process had, set-up included.
    pub(crate) rss_peak_bytes: u64,
}

impl Cell {
    /// The bytes that are appended: random, so that nothing is won by compressing them.
    pub(crate) fn payload(&self) -> Vec<u8> {
        noise(self.payload_bytes)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_millis(self.warm_up_ms)
    }

    fn measured(&self) -> Duration {
        Duration::from_millis(self.measure_ms)
    }

    /// Appends after which the measurement ends.
    fn appends_max(&self) -> u64 {
        (self.bytes_max / (self.payload_bytes as u64).max(1)).max(1)
    }
}

/// The same random bytes each time.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// The clock by which everything is timed.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
