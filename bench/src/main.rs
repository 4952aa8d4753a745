//! `ringlog-bench`: measures any Kafka-protocol broker.

use std::error::Error;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use ringlog_bench::cli::Cli;
use ringlog_bench::error::BenchError;
use ringlog_bench::report::{Report, html};

/// Clears the rest of a terminal's line.
const CLEAR: &str = "\x1b[K";

/// 0: a clean run. 1: errors or repeated offsets in the answers. 2: no run.
fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to stdout.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // A page that cannot be written is better known before the measurement than after it.
    let page = match cli.html.as_ref().map(File::create).transpose() {
        Ok(page) => page,
        Err(source) => return fail(&BenchError::System { what: "make the HTML page", source }),
    };
    let mut reports = Vec::new();
    let on_terminal = std::io::stderr().is_terminal();
    let mut is_clean = true;
    let mut printed = Ok(());
    let result = cli.scenario.run(
        &mut |step, over| {
            if on_terminal {
                eprint!("\r{:3.0} %  {step}{CLEAR}", over * 100.0);
            }
        },
        &mut |report| {
            if on_terminal {
                eprint!("\r{CLEAR}");
            }
            is_clean &= report.is_clean();
            if printed.is_ok() {
                printed = print(report, cli.json);
            }
            if cli.html.is_some() {
                reports.push(report.clone());
            }
        },
    );
    // What was measured before something broke off is worth its page.
    let result = result.and(page.map_or(Ok(()), |page| write_page(page, &reports)));
    match (result, printed) {
        (Ok(()), Ok(())) if is_clean => ExitCode::SUCCESS,
        (Ok(()), Ok(())) => ExitCode::from(1),
        (Ok(()), Err(error)) => fail(&error),
        (Err(error), _) => fail(&error),
    }
}

fn print(report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)
    } else {
        writeln!(out, "{report}")
    }
}

fn write_page(mut page: File, reports: &[Report]) -> Result<(), BenchError> {
    let failed = |source| BenchError::System { what: "write the HTML page", source };
    page.write_all(html::page(reports)?.as_bytes()).map_err(failed)
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
