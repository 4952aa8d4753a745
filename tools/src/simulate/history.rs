//! What happens in one simulation, as data: drawn from a seed, run, shrunk, printed.

use std::io::ErrorKind;
use std::time::Duration;

use ringlog_engine::compaction::CompactionSettings;
use ringlog_engine::io::sim::Operation;
use ringlog_engine::log::{FlushPolicy, LogSettings};

/// Records of most batches at most.
pub(crate) const RECORDS_MAX: u32 = 6;

/// Records of any batch at most.
pub(crate) const RECORDS_MOST: u32 = 40;

/// A whole simulation.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Decides what the disk does: delays, and what a crash leaves.
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}

/// What stays the same throughout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) logs: Vec<LogSetup>,
    /// Files and bytes of each of the journal's; `None` for a shard without one.
    pub(crate) journal: Option<(usize, u64)>,
    pub(crate) pool_bytes: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) open_files_max: usize,
    pub(crate) index_cache_bytes: usize,
    pub(crate) read_ahead_bytes: usize,
    pub(crate) latency_max_us: u64,
    pub(crate) slow_one_in: u64,
    pub(crate) short_one_in: u64,
    /// A crash may undo a change of names and keep a later one.
    pub(crate) has_unordered_names: bool,
}

/// The settings that differ between logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogSetup {
    pub(crate) segment_bytes: u64,
    pub(crate) index_interval_bytes: u64,
    pub(crate) checkpoint_bytes: u64,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention_age_max_ms: Option<u64>,
    pub(crate) flush: FlushPolicy,
    /// Of a compacted log.
    pub(crate) table: Option<TableSetup>,
}

/// What is particular to a log that is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableSetup {
    /// Different keys.
    pub(crate) keys: u64,
    /// Records without a value, and without a key, in percent.
    pub(crate) tombstone_percent: u64,
    pub(crate) keyless_percent: u64,
    /// Whether all producers but the first have transactions.
    pub(crate) has_transactions: bool,
    pub(crate) delete_retention_ms: u64,
}

/// How a log is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cleaning {
    /// Share of dirty bytes from which it is worthwhile.
    pub(crate) dirty_percent: u32,
    pub(crate) min_lag_ms: u64,
    pub(crate) max_lag_ms: Option<u64>,
    pub(crate) key_map_bytes: usize,
    pub(crate) bytes_per_second: Option<u64>,
    /// What counts as replicated, as a part of 255 of what is durable.
    pub(crate) up_to: u8,
}

impl Cleaning {
    /// Cleans all that may be cleaned.
    pub(crate) const WHOLE: Self = Self {
        dirty_percent: 0,
        min_lag_ms: 0,
        max_lag_ms: None,
        key_map_bytes: 1 << 20,
        bytes_per_second: None,
        up_to: u8::MAX,
    };

    pub(crate) fn settings(&self, table: &TableSetup) -> CompactionSettings {
        CompactionSettings {
            min_cleanable_ratio: f64::from(self.dirty_percent) / 100.0,
            min_lag: Duration::from_millis(self.min_lag_ms),
            max_lag: self.max_lag_ms.map(Duration::from_millis),
            delete_retention: Duration::from_millis(table.delete_retention_ms),
            key_map_bytes: self.key_map_bytes,
            bytes_per_second: self.bytes_per_second,
            ..CompactionSettings::default()
        }
    }
}

impl LogSetup {
    pub(crate) fn settings(&self) -> LogSettings {
        LogSettings {
            segment_bytes: self.segment_bytes,
            index_interval_bytes: self.index_interval_bytes,
            checkpoint_bytes: self.checkpoint_bytes,
            retention_bytes: self.retention_bytes,
            retention_age_max: self.retention_age_max_ms.map(Duration::from_millis),
            batch_bytes_max: 256 * 1024,
            segment_age_max: Duration::from_secs(1_000_000),
            durability: self.flush,
            ..LogSettings::default()
        }
    }

    pub(crate) fn is_strict(&self) -> bool {
        self.flush == FlushPolicy::EveryBatch
    }
}

/// One thing that is done, and how much of the disk's time passes before the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Which log, counted around.
    pub(crate) log: usize,
    pub(crate) action: Action,
    pub(crate) patience: Patience,
}

/// When the next step follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// When the action is done.
    Done,
    /// When so many operations of the disk have completed: the action goes on beside what follows.
    Operations(u32),
    /// The same, but of renames, removals and syncs of folders alone.
    Names(u32),
}

/// Sizes of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) records: u32,
    /// Bytes of each record's value.
    pub(crate) bytes: u32,
}

/// What can be done. Offsets are chosen when it is done: `at` is a part of 255.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Appends batches, by `tasks` tasks at once, and waits for their durability or not.
    Append {
        tasks: u32,
        batches: u32,
        shape: Shape,
        producer: Option<u32>,
        wait: bool,
    },
    /// Sends an idempotent producer's batch again, and one that is out of order.
    Repeat {
        producer: u32,
        back: u32,
    },
    /// Gives a producer a new epoch.
    Bump {
        producer: u32,
    },
    /// Reads from an offset on.
    Read {
        at: u8,
        bytes: u32,
        at_least_one: bool,
    },
    /// Reads everything.
    ReadAll,
    /// Finds batches by time.
    Search {
        at: u8,
    },
    /// Waits until everything appended is durable, then looks that it is.
    Flush,
    Roll,
    Retain,
    DeleteBefore {
        at: u8,
    },
    Truncate {
        at: u8,
    },
    /// The next appends have a newer leader epoch.
    NewEpoch,
    Settings {
        flush: FlushPolicy,
        segment_bytes: u64,
    },
    /// Compacts a log that is compacted.
    Compact {
        cleaning: Cleaning,
    },
    /// Ends a producer's transaction, as a newer instance of the producer or not.
    EndTransaction {
        producer: u32,
        commits: bool,
        fences: bool,
    },
    /// Lets time pass.
    Pass {
        ms: u64,
    },
    /// Closes the log cleanly and opens it again.
    Reopen,
    /// Removes the log and makes a new one in its place.
    Recreate,
    /// An operation to come fails.
    Fail {
        operation: Option<Operation>,
        skip: u32,
        kind: ErrorKind,
    },
    /// A write or read to come goes elsewhere.
    Misdirect {
        operation: Operation,
        skip: u32,
    },
    /// The disk has room for only so many bytes more.
    Fill {
        spare: u32,
    },
    /// The disk has room again.
    Free,
    /// The machine stops and starts again, perhaps with a bit flipped in a file at rest.
    Crash {
        power: bool,
        flip: Option<Flip>,
    },
}

/// Which bit changes while the machine is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flip {
    /// Whether it is one of the journal's and not of the log's.
    pub(crate) in_journal: bool,
    /// Which of the files, counted around.
    pub(crate) file: u32,
    /// Which of its bytes that are not reserved space, as a part of 65,535.
    pub(crate) at: u16,
}
