//! Two brokers by turns: one that the comparison starts, and one in this process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ringlog_bench::admin;
use ringlog_bench::cli::Cli;
use ringlog_bench::error::BenchError;
use ringlog_bench::report::Report;

use super::restart::{ADDRESS, FOLDER};
use super::support::Broker;

/// A program that takes the options of `ringlog`, and is this test's program once more.
fn ringlog(folder: &Path) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nexec env {ADDRESS}=\"$2\" {FOLDER}=\"$4\" '{}' --ignored --exact \
         restart::a_broker_for_the_other_test\n",
        program.display()
    );
    let path = folder.join("ringlog");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

fn run(ringlog: &Path, dir: &Path, rest: &[&str]) -> Result<Report, BenchError> {
    let (ringlog, dir) = (ringlog.to_str().unwrap(), dir.to_str().unwrap());
    let fixed = ["bench", "compare", "--ringlog", ringlog, "--dir", dir, "--duration", "0.2"];
    let times = ["--warmup", "0", "--ceiling", "0", "--patience", "60"];
    let line = [&fixed[..], &times, rest].concat();
    Cli::read(line).unwrap().scenario.reports().map(|mut reports| reports.remove(0))
}

#[test]
fn every_line_is_measured_on_both_in_every_round_and_nothing_of_it_stays() {
    let (programs, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rival = Broker::start();
    let address = rival.address();
    let named = format!("other={address},{}", std::process::id());
    let scenarios = [
        "--scenario",
        "produce-small --connections 1,3",
        "--scenario",
        "tail-fanout \
                      --readers 2 --rate 2000",
    ];
    let rest =
        [&["--rival", &named, "--pairs", "2", "--rival-warmup", "0.3"][..], &scenarios].concat();
    let report = run(&ringlog(programs.path()), dir.path(), &rest).unwrap();
    assert!(report.is_clean(), "{report}");
    let comparison = report.comparison.as_ref().unwrap();
    assert!(comparison.broken.is_empty(), "{report}");
    let order: Vec<_> = comparison.runs.iter().map(|run| (run.round, run.contender)).collect();
    let round = |round| [(round, 0), (round, 1)].repeat(3);
    assert_eq!(order, [round(1), round(2)].concat());
    let lines = comparison.lines();
    assert_eq!(lines.len(), 3, "{report}");
    for figure in lines.iter().flat_map(|line| &line.figures) {
        // So short a run need not use a tick of CPU time.
        if figure.name != "server CPU" {
            assert_eq!(figure.ratios[0].pairs.len(), 2, "{}: {report}", figure.name);
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the data of what was started");
    let own = comparison.contenders[0].bootstrap.as_deref().unwrap();
    // The kernel ends what a ring accepts a moment after the process that had it.
    let is_gone = || {
        thread::park_timeout(Duration::from_millis(1));
        admin::Server::connect(own).is_err()
    };
    assert!((0..5_000).any(|_| is_gone()), "what was started is killed");
    let mut server = admin::Server::connect(&address).unwrap();
    let topic = "ringlog-bench-produce-small-0-1";
    let code = server.metadata(topic).unwrap().topics.first().map(|topic| topic.error_code);
    assert_eq!(code, Some(3), "its topics are deleted");
}

#[test]
fn the_floor_is_measured_beside_where_there_is_one() {
    let (programs, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rest = ["--rival", "floor", "--pairs", "1", "--rival-warmup", "0", "--scenario"];
    let line =
        [&rest[..], &["produce-small --connections 2", "--scenario", "tail-fanout"]].concat();
    let report = run(&ringlog(programs.path()), dir.path(), &line).unwrap();
    assert!(report.is_clean(), "{report}");
    let comparison = report.comparison.as_ref().unwrap();
    assert!(comparison.broken.is_empty(), "{report}");
    let lines = comparison.lines();
    let floors: Vec<bool> = lines.iter().map(|line| line.figures[0].reached[1].is_some()).collect();
    assert_eq!(floors, [true, false, false], "tail-fanout has two lines and no floor: {report}");
    let ratios = lines[0].figures.iter().filter(|figure| !figure.ratios[0].pairs.is_empty());
    let names: Vec<&str> = ratios.map(|figure| figure.name).collect();
    for name in ["throughput", "p50", "p99", "p99.9"] {
        assert!(names.contains(&name), "{name}: {report}");
    }
}

#[test]
fn a_server_that_does_not_start_is_an_error_with_the_end_of_its_log() {
    let (programs, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = ringlog(programs.path());
    fs::write(&path, "#!/bin/sh\necho no disk for me >&2\nexit 3\n").unwrap();
    let error = run(&path, dir.path(), &["--rival", "ringlog-relaxed"]).unwrap_err();
    assert!(error.to_string().contains("no disk for me"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_rival_that_breaks_off_takes_no_other_line_with_it() {
    let (programs, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rest = ["--rival", "gone=127.0.0.1:1", "--rival-warmup", "0", "--pairs", "1"];
    let line = [&rest[..], &["--scenario", "produce-small"]].concat();
    let report = run(&ringlog(programs.path()), dir.path(), &line).unwrap();
    let comparison = report.comparison.as_ref().unwrap();
    assert_eq!((comparison.broken.len(), comparison.runs.len()), (2, 2), "{report}");
    assert!(report.to_string().contains("broke off"), "{report}");
}
