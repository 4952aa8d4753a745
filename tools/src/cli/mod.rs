//! The commands of `ringlogctl`, one file each.

mod consume;
mod dump;
mod error;
mod group;
mod output;
mod produce;
mod start;
mod topic;
pub mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::client::Client;
pub use error::CliError;

/// Talks to a Ringlog broker, or any Kafka-protocol broker, and looks into Ringlog's files.
#[derive(Debug, Parser)]
#[command(
    name = "ringlogctl",
    version,
    after_help = "Exit status: 0 done; 1 the broker refused, or `verify` found problems; \
                  2 wrong usage, or a file or the broker cannot be reached."
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Any broker of the cluster.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "RINGLOG_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    bootstrap: String,
    /// Print JSON: one object or array, or one object a line where records are printed.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create, list, describe, delete and alter topics.
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Write lines from standard input to a topic.
    Produce(produce::ProduceArgs),
    /// Print the records of a topic.
    Consume(consume::ConsumeArgs),
    /// List, describe and delete consumer groups.
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Print what a .log, .index or .timeindex file holds.
    Dump(dump::DumpArgs),
    /// Check every segment and index of a data folder that no broker is using.
    Verify(verify::VerifyArgs),
}

/// Parses the command line and runs it.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        // Whoever read the output has had enough of it.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // Nobody is left to tell if standard error is gone, too.
            let _ = writeln!(io::stderr(), "ringlogctl: {error}");
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let common = cli.common;
    let mut client = Client::new(&common.bootstrap);
    match cli.command {
        Command::Topic(command) => topic::run(command, &mut client, common.json)?,
        Command::Produce(args) => produce::run(&args, &mut client, common.json)?,
        Command::Consume(args) => consume::run(&args, &mut client, common.json)?,
        Command::Group(command) => group::run(command, &mut client, common.json)?,
        Command::Dump(args) => dump::run(&args, common.json)?,
        Command::Verify(args) => return verify::run(&args, common.json),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_help() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let known = argument.get_id() == "help" || argument.get_id() == "version";
                let (name, id) = (command.get_name(), argument.get_id());
                assert!(known || argument.get_help().is_some(), "{name} {id}");
            }
            for sub in command.get_subcommands() {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }
}
