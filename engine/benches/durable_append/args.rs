//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::machine::last_core;
use crate::plan::{
    Contender, FLOOR, RINGLOG_DIRECT, RINGLOG_JOURNAL, Scenario, Timing, flush_sizes, loaded,
};

/// Bytes of an append, as the comparison is published.
const PAYLOADS: [usize; 4] = [100, 1024, 16 * 1024, 256 * 1024];
/// Logs, as the comparison is published.
const LOGS: [usize; 3] = [1, 100, 10_000];

/// Compares appends that are synced before they are acknowledged: Ringlog, the crates one might
/// take instead, and a bare ring loop as the floor.
#[derive(Debug, Parser)]
#[command(name = "durable_append", disable_version_flag = true)]
pub(crate) struct Args {
    /// Bytes of one append.
    #[arg(long, value_delimiter = ',', default_values_t = PAYLOADS)]
    payload: Vec<usize>,
    /// Logs that the appends go to in turn.
    #[arg(long, value_delimiter = ',', default_values_t = LOGS)]
    logs: Vec<usize>,
    /// One append at a time, many in flight, or both.
    #[arg(long, value_enum, default_value_t = Load::Both)]
    load: Load,
    /// Appends in flight when there are many [default: 64, or 4 above 64 KiB].
    #[arg(long)]
    in_flight: Option<usize>,
    /// Appends a second that are asked for, at fixed times; latencies count from there [default:
    /// each as soon as the one before it is acknowledged].
    #[arg(long)]
    rate: Option<u32>,
    /// Only these contenders; a crate's name stands for all ways to drive it. `ringlog:direct` and
    /// `ringlog:journal` force one way to the disk, and take part only when they are named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave out the other crates, which need a build of their own.
    #[arg(long)]
    no_rivals: bool,
    /// Rounds, in each of which every contender has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each contender is measured in each round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before that.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// GiB of payload after which a measurement ends early.
    #[arg(long, default_value_t = 8)]
    gib_max: u64,
    /// A quick look: two sizes, 1 and 100 logs, one short round.
    #[arg(long)]
    quick: bool,
    /// Find the size from which a flush had better go past the journal: appends of 4 to 512 KiB, to
    /// one log and to 100, both ways.
    #[arg(long, conflicts_with_all = ["quick", "only"])]
    flush_sizes: bool,
    /// A folder for the data, on the disk to measure [default: in cargo's target folder].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The core for contenders of one thread [default: the last one that this process may use].
    #[arg(long)]
    cpu: Option<usize>,
    /// Where to write all figures of all rounds, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Where to write the tables; they are printed in any case.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
    /// Run one cell and print its figures: what the benchmark starts for each turn.
    #[arg(long, hide = true)]
    pub(crate) cell: Option<String>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How many appends are in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Load {
    /// One: the next after the acknowledgement.
    Alone,
    /// Many.
    Loaded,
    /// First one, then many.
    Both,
}

impl Args {
    /// The tables to make.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        if self.flush_sizes {
            return flush_sizes();
        }
        let (payloads, logs) = if self.quick {
            (vec![100, 16 * 1024], vec![1, 100])
        } else {
            (self.payload.clone(), self.logs.clone())
        };
        let mut scenarios = Vec::new();
        for &payload_bytes in &payloads {
            let many = self.in_flight.unwrap_or_else(|| loaded(payload_bytes));
            let loads = match self.load {
                Load::Alone => vec![1],
                Load::Loaded => vec![many],
                Load::Both => vec![1, many],
            };
            for in_flight in loads {
                let rate = self.rate;
                let of = |&logs: &usize| Scenario { payload_bytes, logs, in_flight, rate };
                scenarios.extend(logs.iter().map(of));
            }
        }
        scenarios
    }

    /// Whether this contender was asked for.
    pub(crate) fn wants(&self, one: &Contender) -> bool {
        if self.flush_sizes {
            return [FLOOR, RINGLOG_DIRECT, RINGLOG_JOURNAL].contains(&one.name);
        }
        if one.package.is_some() && self.no_rivals {
            return false;
        }
        let is_named = |only: &String| only == one.name || one.package == Some(only);
        self.only.iter().any(is_named) || (self.only.is_empty() && one.is_usual)
    }

    /// How long and how often.
    pub(crate) fn timing(&self) -> Timing {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let bytes_max = self.gib_max.saturating_mul(1 << 30);
        if self.quick {
            let (warm_up, measured) = (Duration::from_millis(100), Duration::from_millis(300));
            return Timing { rounds: 1, warm_up, measured, bytes_max };
        }
        let (warm_up, measured) = (seconds(self.warm_up), seconds(self.seconds));
        Timing { rounds: self.rounds.max(1), warm_up, measured, bytes_max }
    }

    /// The folder for the data.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")))
    }

    /// The core for contenders of one thread.
    pub(crate) fn cpu(&self) -> Option<usize> {
        self.cpu.or_else(last_core)
    }
}
