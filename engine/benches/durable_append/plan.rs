//! Who is compared, and on what.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// One row of every table: a crate, and a way to drive it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    /// The name by which it is chosen and shown.
    pub(crate) name: &'static str,
    /// The crate, as its lock file has it; `None` for what is built into the benchmark.
    pub(crate) package: Option<&'static str>,
    /// Whether an append is on stable storage when it is acknowledged.
    pub(crate) is_durable: bool,
    /// Whether it takes part unless others are named.
    pub(crate) is_usual: bool,
    /// How it is driven.
    pub(crate) drive: &'static str,
    fits: fn(&Scenario) -> bool,
}

impl Contender {
    /// Whether this way of driving it makes sense, and differs from its others.
    pub(crate) fn fits(&self, scenario: &Scenario) -> bool {
        (self.fits)(scenario)
    }
}

/// The least that could be done.
pub(crate) const FLOOR: &str = "floor";
/// The same, for who keeps what it is given.
pub(crate) const FLOOR_FRESH: &str = "floor:fresh";
/// What all this is about.
pub(crate) const RINGLOG: &str = "ringlog";
/// The same, driven by one task.
pub(crate) const RINGLOG_BATCH: &str = "ringlog:batch";
/// The same, without the journal.
pub(crate) const RINGLOG_DIRECT: &str = "ringlog:direct";
/// The same, with everything through the journal.
pub(crate) const RINGLOG_JOURNAL: &str = "ringlog:journal";

/// Everybody, in the order of the tables. What is said of durability was seen with `strace`; see
/// the README beside this folder.
pub(crate) const CONTENDERS: [Contender; 14] = [
    Contender {
        name: FLOOR,
        package: None,
        is_durable: true,
        is_usual: true,
        drive: "a bare ring, one thread: O_DIRECT and RWF_DSYNC over a file that was written before",
        fits: |_| true,
    },
    Contender {
        name: FLOOR_FRESH,
        package: None,
        is_durable: true,
        is_usual: true,
        drive: "as above, into reserved space that is written once: nothing is overwritten",
        fits: |_| true,
    },
    Contender {
        name: RINGLOG,
        package: None,
        is_durable: true,
        is_usual: true,
        drive: "one shard, one thread; a task for each append in flight",
        fits: |_| true,
    },
    Contender {
        name: RINGLOG_BATCH,
        package: None,
        is_durable: true,
        is_usual: true,
        drive: "one shard, one thread, one task; appends all that waits as frames, then waits for it",
        fits: |_| true,
    },
    Contender {
        name: RINGLOG_DIRECT,
        package: None,
        is_durable: true,
        is_usual: false,
        drive: "as `ringlog`, without a journal: each log writes into its own segment",
        fits: |_| true,
    },
    Contender {
        name: RINGLOG_JOURNAL,
        package: None,
        is_durable: true,
        is_usual: false,
        drive: "as above, with everything through the journal, however much waits",
        fits: |_| true,
    },
    Contender {
        name: "raft-engine:batch",
        package: Some("raft-engine"),
        is_durable: true,
        is_usual: true,
        drive: "one thread; all that waits in one `LogBatch`, written with `sync`",
        fits: |_| true,
    },
    Contender {
        name: "raft-engine:threads",
        package: Some("raft-engine"),
        is_durable: true,
        is_usual: true,
        drive: "a thread for each append in flight, grouped by its own write queue",
        // A region's entries are numbered without gaps, so that two threads cannot share one.
        fits: |scenario| scenario.in_flight > 1 && scenario.logs >= scenario.in_flight,
    },
    Contender {
        name: "okaywal:batch",
        package: Some("okaywal"),
        is_durable: true,
        is_usual: true,
        drive: "one thread; all that waits as the chunks of one entry",
        fits: |_| true,
    },
    Contender {
        name: "okaywal:threads",
        package: Some("okaywal"),
        is_durable: true,
        is_usual: true,
        drive: "a thread for each append in flight, which share its fdatasync calls",
        fits: |scenario| scenario.in_flight > 1,
    },
    Contender {
        name: "walrus-rust:threads",
        package: Some("walrus-rust"),
        is_durable: true,
        is_usual: true,
        drive: "`SyncEach`; a thread for each append in flight",
        fits: |_| true,
    },
    Contender {
        name: "walrus-rust:batch",
        package: Some("walrus-rust"),
        is_durable: true,
        is_usual: true,
        drive: "`SyncEach`; one thread; all that waits in one batch of the topic",
        // A batch belongs to one topic: with a topic for each append it is a plain append.
        fits: |scenario| scenario.in_flight > 1 && scenario.logs < scenario.in_flight,
    },
    Contender {
        name: "mrecordlog:batch+fdatasync",
        package: Some("mrecordlog"),
        is_durable: true,
        is_usual: true,
        drive: "as below, and the benchmark itself syncs the crate's files after that",
        fits: |_| true,
    },
    Contender {
        name: "mrecordlog:batch",
        package: Some("mrecordlog"),
        // Its `sync` empties its own buffer into the page cache and syncs nothing.
        is_durable: false,
        is_usual: true,
        drive: "one thread; appends all that waits, then `sync`, which only writes",
        fits: |_| true,
    },
];

/// The load of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Scenario {
    pub(crate) payload_bytes: usize,
    pub(crate) logs: usize,
    pub(crate) in_flight: usize,
    pub(crate) rate: Option<u32>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { logs, in_flight, .. } = self;
        let s = if *logs == 1 { "" } else { "s" };
        write!(f, "{}, {logs} log{s}, ", Bytes(self.payload_bytes))?;
        match (self.rate, *in_flight) {
            (None, 1) => f.write_str("one append at a time"),
            (None, _) => write!(f, "{in_flight} appends in flight"),
            (Some(rate), _) => write!(f, "{rate} appends/s, at most {in_flight} in flight"),
        }
    }
}

/// A number of bytes, in the largest unit that divides it.
struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
                write!(f, "{} MiB", bytes >> 20)
            }
            bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => {
                write!(f, "{} KiB", bytes >> 10)
            }
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// The loads by which the way through the journal and the way past it are told apart: what one log
/// has waiting is one append.
pub(crate) fn flush_sizes() -> Vec<Scenario> {
    let sizes = (12..=19).map(|power| 1 << power);
    let of = |(logs, in_flight)| {
        let sizes = sizes.clone();
        sizes.map(move |payload_bytes| Scenario { payload_bytes, logs, in_flight, rate: None })
    };
    [(1, 1), (100, 16)].into_iter().flat_map(of).collect()
}

/// How many appends are in flight when the load is not one at a time.
#[must_use]
pub(crate) fn loaded(payload_bytes: usize) -> usize {
    if payload_bytes > 64 * 1024 { 4 } else { 64 }
}

/// How long and how often each cell runs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Timing {
    pub(crate) rounds: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) bytes_max: u64,
}
