//! A broker in the test's own process, and scenarios run against it.

use std::path::Path;

use ringlog_bench::cli::Cli;
use ringlog_bench::error::BenchError;
use ringlog_bench::report::Report;
use ringlog_bench::report::measurement::Measurement;
use ringlog_broker::config::{self, Machine};
use ringlog_broker::server::{RunningServer, Server};

/// A broker on a free port, with its data in a folder that goes with it.
pub(crate) struct Broker {
    server: Option<RunningServer>,
    _folder: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = serve("127.0.0.1:0", folder.path());
        Self { server: Some(server), _folder: folder }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.server.as_ref().unwrap().address().to_string()
    }

    /// Runs `SCENARIO OPTIONS...` for half a second a line.
    pub(crate) fn run(&self, line: &str) -> Result<Report, BenchError> {
        self.reports(line).map(|mut reports| reports.remove(0))
    }

    /// The same for `all`, which has a report for each scenario.
    pub(crate) fn reports(&self, line: &str) -> Result<Vec<Report>, BenchError> {
        let bootstrap = self.address();
        let (scenario, rest) = line.split_once(' ').unwrap_or((line, ""));
        let fixed = ["bench", scenario, "--bootstrap", &bootstrap];
        let duration = if rest.contains("--duration") { "" } else { "--duration 0.5" };
        let ceiling = if rest.contains("--ceiling") { "" } else { "--ceiling 0" };
        let rest = [rest, ceiling, duration].into_iter().flat_map(str::split_whitespace);
        let warmup = ["--warmup", "0.1"];
        let cli = Cli::read(fixed.into_iter().chain(warmup).chain(rest)).unwrap();
        cli.scenario.reports()
    }
}

/// A broker with one shard in this process.
pub(crate) fn serve(listen: &str, folder: &Path) -> RunningServer {
    let cli = config::Cli {
        listen: Some(listen.to_owned()),
        data_dir: Some(folder.display().to_string()),
        set: vec!["shards=1".to_owned()],
        ..config::Cli::default()
    };
    let config = config::load(&cli, std::iter::empty(), Machine::detect()).unwrap();
    Server::start(config).unwrap()
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = server.stop();
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

/// How many latencies were recorded.
pub(crate) fn latencies(one: &Measurement) -> u64 {
    one.latency().unwrap().summary.count
}
