//! A broker that is killed: a process of its own, which is this test's program once more.

use std::net::SocketAddr;

use ringlog_bench::child::ReservedPort;
use ringlog_bench::cli::Cli;
use ringlog_bench::error::BenchError;
use ringlog_bench::report::Report;

use super::support::serve;

pub(crate) const ADDRESS: &str = "RINGLOG_BENCH_TEST_ADDRESS";
pub(crate) const FOLDER: &str = "RINGLOG_BENCH_TEST_FOLDER";

fn run(command: &str, address: SocketAddr) -> Result<Report, BenchError> {
    let bootstrap = address.to_string();
    let line = ["bench", "restart", "--size-mib", "4", "--patience", "60"];
    let rest = ["--bootstrap", &bootstrap, "--command", command];
    let cli = Cli::read(line.into_iter().chain(rest)).unwrap();
    cli.scenario.reports().map(|mut reports| reports.remove(0))
}

#[test]
fn a_killed_broker_serves_again_and_has_lost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let reserved = ReservedPort::new().unwrap();
    let program = std::env::current_exe().unwrap();
    let command = format!(
        "env {ADDRESS}={} {FOLDER}='{}' '{}' --ignored --exact \
         restart::a_broker_for_the_other_test",
        reserved.address(),
        folder.path().display(),
        program.display()
    );
    let report = run(&command, reserved.address()).unwrap();
    assert!(report.is_clean(), "{report}");
    let figures = &report.measurements[0].figures;
    let names: Vec<_> = figures.iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["start", "1st produce", "1st fetch"]);
    assert!(figures.iter().all(|figure| figure.value > 0.0), "{report}");
}

#[test]
fn a_broker_that_does_not_start_is_an_error() {
    let error = run("false", ReservedPort::new().unwrap().address()).unwrap_err();
    assert!(matches!(error, BenchError::Command { .. }), "{error}");
}

#[test]
#[ignore = "another test starts it as a process of its own, and kills it"]
fn a_broker_for_the_other_test() {
    if let (Ok(address), Ok(folder)) = (std::env::var(ADDRESS), std::env::var(FOLDER)) {
        let _server = serve(&address, folder.as_ref());
        loop {
            std::thread::park();
        }
    }
}
