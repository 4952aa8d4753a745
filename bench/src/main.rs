//! `ringlog-bench`: measures any Kafka-protocol broker.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringlog_bench::produce::{self, ProduceArgs};
use ringlog_bench::report::Report;

/// Measures any Kafka-protocol broker: throughput, latency, and the server's CPU time.
#[derive(Debug, Parser)]
#[command(name = "ringlog-bench", version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Produce batches of one size, in a closed loop or at a fixed rate.
    Produce(ProduceArgs),
}

/// 0: a clean run. 1: errors or repeated offsets in the answers. 2: no run.
fn main() -> ExitCode {
    let Cli { scenario: Scenario::Produce(args) } = Cli::parse();
    let on_terminal = std::io::stderr().is_terminal();
    let result = produce::run(&args, |over| {
        if on_terminal {
            eprint!("\r{:3.0} % ", over * 100.0);
        }
    });
    if on_terminal {
        eprint!("\r      \r");
    }
    match result {
        Ok(report) => match print(&report, args.json) {
            Ok(()) if report.is_clean() => ExitCode::SUCCESS,
            Ok(()) => ExitCode::from(1),
            Err(error) => fail(&error),
        },
        Err(error) => fail(&error),
    }
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)
    } else {
        write!(out, "{report}")
    }
}

fn fail(error: &dyn Error) -> ExitCode {
    eprint!("ringlog-bench: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        eprint!(": {cause}");
        source = cause.source();
    }
    eprintln!();
    ExitCode::from(2)
}
