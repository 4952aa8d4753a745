//! `ringlogctl`: the command-line tool for Ringlog, and for any Kafka-protocol broker.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringlog_tools::cli::main()
}
