//! `simulate`: Ringlog's code on simulated disks, seed by seed.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringlog_tools::simulate::main()
}
