//! The commands, for the binary that has them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Fault, Plan, Summary, Task, report, run, work};

/// What the program that runs the rounds must answer to: its own children call it.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Crashes the engine for real: a child works on real files until it is killed, again and
    /// again, and what is left is judged.
    Real(Rounds),
    /// Works on logs until it is killed.
    #[command(hide = true)]
    RealWork(Child),
    /// Tells what logs hold.
    #[command(hide = true)]
    RealReport(Child),
}

/// How often, and how.
#[derive(Debug, Clone, Args)]
pub struct Rounds {
    /// How many crashes.
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// What is drawn follows from this; when things happen does not.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The kind of crash.
    #[arg(long, value_enum, default_value_t = Kind::Kill)]
    fault: Kind,
    /// An empty folder on a file system that takes O_DIRECT; under a loss of power, what our own
    /// disk is mounted at, which takes /dev/fuse and root.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// `kill -9`.
    Kill,
    /// The power goes.
    Power,
}

/// What a child is to do.
#[derive(Debug, Clone, Args)]
pub struct Child {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    logs: usize,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    relaxed: bool,
    #[arg(long)]
    journal: bool,
}

impl From<Child> for Task {
    fn from(child: Child) -> Self {
        let Child { dir, logs, seed, relaxed, journal } = child;
        Self { dir, logs, seed, relaxed, journal }
    }
}

impl Command {
    /// Runs the command; says whether all went well.
    #[must_use]
    pub fn run(self) -> bool {
        // A child that panics says so to its parent.
        drop(std::panic::take_hook());
        let done = match self {
            Self::Real(rounds) => rounds.run(),
            Self::RealWork(child) => work(&child.into()).map_err(|error| error.to_string()),
            Self::RealReport(child) => report(&child.into()).map_err(|error| error.to_string()),
        };
        done.inspect_err(|error| eprintln!("{error}")).is_ok()
    }
}

impl Rounds {
    fn run(self) -> Result<(), String> {
        let Self { rounds, seed, fault, dir } = self;
        let (fault, name) = match fault {
            Kind::Kill => (Fault::Kill, "kill"),
            Kind::Power => (Fault::PowerLoss, "power"),
        };
        let replay =
            format!("simulate real --seed {seed} --rounds {rounds} --fault {name} --dir DIR");
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let summary = run(&Plan { program, dir, rounds, seed, fault });
        print(&summary.map_err(|error| format!("{error}\n{replay}"))?);
        Ok(())
    }
}

fn print(summary: &Summary) {
    let Summary { losses, .. } = summary;
    println!("crashes survived       {}", summary.rounds);
    println!("crashed recoveries     {}", summary.crashed_recoveries);
    println!("batches appended       {}", summary.appended);
    println!("acknowledgements       {}", summary.acknowledgements);
    println!("records kept           {}", summary.records_kept);
    println!("batches gone, unacked  {}", summary.batches_lost);
    println!("sectors lost           {}", losses.sectors_lost);
    println!("sectors kept           {}", losses.sectors_kept);
    println!("sectors garbled        {}", losses.sectors_garbled);
    println!("lengths lost           {}", losses.lengths_lost);
    println!("names lost             {}", losses.names_lost);
}
