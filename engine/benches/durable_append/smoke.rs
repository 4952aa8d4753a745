//! What `cargo test` runs: that the benchmark still measures.

use std::path::PathBuf;
use std::time::Duration;

use crate::cell::Failure;
use crate::machine::Machine;
use crate::plan::{FLOOR, RINGLOG, Scenario, Timing};
use crate::report::{self, Report};
use crate::run::Runner;

/// The name of the one test, for filters.
const NAME: &str = "durable_append_measures_ringlog_and_the_floor";

/// Runs the test, unless the arguments, which are those of Rust's own test harness, choose others.
pub(crate) fn test(given: &[String]) -> Result<(), Failure> {
    let mut filters = given.iter().filter(|one| !one.starts_with('-')).peekable();
    let is_chosen =
        filters.peek().is_none() || filters.any(|filter| NAME.contains(filter.as_str()));
    if given.iter().any(|one| one == "--list") || !is_chosen {
        return Ok(());
    }
    let timing = Timing {
        rounds: 2,
        warm_up: Duration::from_millis(10),
        measured: Duration::from_millis(200),
        bytes_max: 64 << 20,
    };
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let runner = Runner { timing, dir, cpu: None, rivals: None };
    let mut report = Report::new(Machine::of(&runner.dir)?, timing);
    let loads = [(100, 3, 8, None), (16 * 1024, 1, 1, Some(500))];
    for (payload_bytes, logs, in_flight, rate) in loads {
        let scenario = Scenario { payload_bytes, logs, in_flight, rate };
        let table = runner.table(scenario, |one| one.package.is_none());
        for row in &table.rows {
            let name = row.contender.name;
            if let Some(failure) = &row.failure {
                return Err(format!("{name} failed: {failure}").into());
            }
            assert_eq!(row.rounds.len(), timing.rounds, "{name} ran in each round");
            for figures in &row.rounds {
                assert!(figures.appends > 0, "{name} appended: {figures:?}");
                assert!(figures.p50_us > 0.0 && figures.p50_us <= figures.max_us, "{figures:?}");
                assert!(figures.cpu_us > 0.0 && figures.rss_peak_bytes > 0, "{figures:?}");
            }
        }
        println!("{}", report::table(&table));
        report.tables.push(table);
    }
    assert!(report.markdown().contains(RINGLOG) && report.json()?.contains(FLOOR));
    println!("test {NAME} ... ok");
    Ok(())
}
