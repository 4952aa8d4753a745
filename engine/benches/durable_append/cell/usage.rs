//! What the process and the device have done, from the kernel's counters.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{major, minor};
use rustix::time::{ClockId, clock_gettime};

use super::Failure;

/// Bytes of a sector in `/sys/dev/block/*/stat`, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;
/// Fields of that file, from 0: sectors written, and flush requests.
const SECTORS_WRITTEN: usize = 6;
const FLUSHES: usize = 15;

/// Counters at one moment, or the differences between two.
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) device_bytes: Option<u64>,
    pub(super) device_flushes: Option<u64>,
}

impl Usage {
    /// The counters of this process and of the device that holds `dir`.
    pub(super) fn of(dir: &Path) -> Result<Self, Failure> {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let cpu = Duration::new(u64::try_from(cpu.tv_sec)?, u32::try_from(cpu.tv_nsec)?);
        let device = fs::metadata(dir)?.dev();
        let stat = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
        let counters: Vec<u64> = fs::read_to_string(stat)
            .unwrap_or_default()
            .split_ascii_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        Ok(Self {
            cpu,
            device_bytes: counters.get(SECTORS_WRITTEN).map(|sectors| sectors * SECTOR_BYTES),
            device_flushes: counters.get(FLUSHES).copied(),
        })
    }

    /// What was added since `before`.
    pub(super) fn since(&self, before: &Self) -> Self {
        let difference = |after: Option<u64>, before: Option<u64>| {
            after.zip(before).map(|(after, before)| after.saturating_sub(before))
        };
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            device_bytes: difference(self.device_bytes, before.device_bytes),
            device_flushes: difference(self.device_flushes, before.device_flushes),
        }
    }

    /// The most memory this process ever had.
    pub(super) fn rss_peak_bytes() -> Result<u64, Failure> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .ok_or("/proc/self/status has no VmHWM in kB")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }
}
