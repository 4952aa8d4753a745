//! What the figures were measured on, and how the process is set up for them.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{major, minor};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use crate::cell::Failure;

/// Where a run took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Type and device of the file system that holds the data.
    pub(crate) file_system: String,
    /// The commit that was measured, with a mark if files differ from it.
    pub(crate) commit: String,
}

impl Machine {
    /// This machine, with `dir` as the folder of the data.
    pub(crate) fn of(dir: &Path) -> Result<Self, Failure> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let memory_kib = after(&memory, "MemTotal:").and_then(|rest| rest.split(' ').next());
        Ok(Self {
            processor: after(&processors, "model name\t:").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory_kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: file_system(dir)?,
            commit: commit(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} cores, {} MiB), Linux {}, {}, commit {}",
            self.processor, self.cores, self.memory_mib, self.kernel, self.file_system, self.commit
        )
    }
}

/// What follows `key` in the first line that begins with it.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// The type and device of the file system that holds `dir`.
fn file_system(dir: &Path) -> Result<String, Failure> {
    let device = fs::metadata(dir)?.dev();
    let number = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number));
    let mut words = mount.and_then(|line| line.split_once(" - ")).map(|(_, rest)| rest.split(' '));
    let mut word = || words.as_mut().and_then(Iterator::next).unwrap_or("unknown");
    Ok(format!("{} on {}", word(), word()))
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let head = git(&["rev-parse", "--short=12", "HEAD"]);
    let head = head.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let is_changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    match head {
        Some(head) if is_changed => format!("{head} with changes"),
        Some(head) => head,
        None => "unknown".to_owned(),
    }
}

/// The last core that this process may use: the first one has more of the machine's own work.
pub(crate) fn last_core() -> Option<usize> {
    let allowed = sched_getaffinity(None).ok()?;
    (0..CpuSet::MAX_CPU).rev().find(|&cpu| allowed.is_set(cpu))
}

/// Pins the calling thread to a core, if one is given.
pub(crate) fn pin(cpu: Option<usize>) -> Result<(), Failure> {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)
            .map_err(|error| format!("cannot pin to core {cpu}: {error}"))?;
    }
    Ok(())
}

/// Raises the soft limit of open files to the hard one: 10,000 logs are as many files. What a
/// process starts inherits it.
pub(crate) fn raise_file_limit() -> Result<(), Failure> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
