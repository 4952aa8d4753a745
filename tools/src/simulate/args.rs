//! The command line.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "planted")]
use super::planted;
use super::{engine, exhaustive, panics};
use crate::real_crash;

/// Runs Ringlog's engine on a simulated disk that lies, against a model of what it promises.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Random histories of logs, faults and crashes, one a seed.
    Engine(Seeds),
    /// Every crash of a few short histories, one by one.
    Exhaustive {
        /// Stop after so many seconds, however many moments are left.
        #[arg(long)]
        seconds: Option<u64>,
    },
    #[command(flatten)]
    Real(real_crash::Command),
    /// Looks for every bug that was planted in the engine, and says how many seeds each took.
    Planted {
        /// The seed to begin with.
        #[arg(long, default_value_t = 0)]
        first_seed: u64,
        /// Only bugs whose name holds this.
        #[arg(long)]
        only: Option<String>,
    },
    /// Looks for one planted bug: a run that does not find it fails.
    Canary,
}

/// Which seeds, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Seeds {
    /// How many seeds to run.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    pub(crate) first_seed: u64,
    /// One seed only, with a trace of what happens.
    #[arg(long, conflicts_with_all = ["seeds", "first_seed"])]
    pub(crate) seed: Option<u64>,
    /// Threads to run on; as many as there are cores if not given.
    #[arg(long)]
    pub(crate) jobs: Option<usize>,
    /// Stop after so many seconds, however many seeds are left.
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
}

/// Runs the command line's command.
#[must_use]
pub fn main() -> ExitCode {
    panics::keep_quiet();
    let is_fine = match Arguments::parse().command {
        Command::Engine(seeds) => engine::run_seeds(&seeds),
        Command::Exhaustive { seconds } => exhaustive::run_all(seconds),
        Command::Real(command) => command.run(),
        #[cfg(feature = "planted")]
        Command::Planted { first_seed, only } => planted::table(first_seed, only.as_deref()),
        #[cfg(feature = "planted")]
        Command::Canary => planted::canary(),
        #[cfg(not(feature = "planted"))]
        Command::Planted { .. } | Command::Canary => {
            eprintln!("no bugs are planted in this build: build it with --features planted");
            false
        }
    };
    if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
