//! Tables in Markdown, and everything in JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::cell::{Failure, Figures};
use crate::machine::Machine;
use crate::plan::{
    CONTENDERS, Contender, FLOOR, FLOOR_FRESH, RINGLOG, RINGLOG_BATCH, RINGLOG_DIRECT,
    RINGLOG_JOURNAL, Scenario, Timing,
};
use crate::rivals;
use crate::run::{Row, Table};

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    machine: Machine,
    timing: Timing,
    pub(crate) tables: Vec<Table>,
}

impl Report {
    /// A run that has no tables yet.
    pub(crate) fn new(machine: Machine, timing: Timing) -> Self {
        Self { machine, timing, tables: Vec::new() }
    }

    /// All figures of all rounds.
    pub(crate) fn json(&self) -> Result<String, Failure> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// All that was printed, in one text.
    pub(crate) fn markdown(&self) -> String {
        let tables: String = self.tables.iter().map(table).collect();
        format!("{}\n{}\n{}\n{tables}", self.head(), self.summary(), self.crossing())
    }

    /// What was measured, where and how.
    pub(crate) fn head(&self) -> String {
        let Timing { rounds, warm_up, measured, .. } = self.timing;
        let mut text = format!(
            "{}.\n\nRounds in turn: {rounds}; each cell {measured:?} after {warm_up:?} of warm-up, in \
             a process of its own. Each figure is the median over the rounds; \
             ± is half of the range, in per cent of the median.\n\n\
             | contender | version | durable | driven by |\n|---|---|---|---|\n",
            self.machine
        );
        let took_part = |one: &Contender| {
            self.tables
                .iter()
                .flat_map(|table| &table.rows)
                .any(|row| row.contender.name == one.name)
        };
        for one in CONTENDERS.iter().filter(|one| took_part(one)) {
            let version = one.package.and_then(rivals::version).unwrap_or_default();
            let durable = if one.is_durable { "yes" } else { "**no**" };
            line(&mut text, &[one.name.to_owned(), version, durable.into(), one.drive.to_owned()]);
        }
        text
    }

    /// Ringlog, driven in the way that is faster there, against the floor, against the best of the durable crates, and 100 and 10,000 logs
    /// against one.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from(
            "| load | driven as | appends/s | of the floor | of the floor on fresh ground | CPU v floor | \
             best other crate | times that crate | CPU v that crate | throughput v 1 log | \
             p99 v 1 log |\n|---|---|---:|---:|---:|---:|---|---:|---:|---:|---:|\n",
        );
        for table in &self.tables {
            let Some(ours) = best_of_ours(table) else { continue };
            let against_floor = |floor: &str, of: fn(&Figures) -> f64| {
                let floor = measured(table, floor);
                shown(floor.map(|floor| 100.0 * ratio(ours, floor, of)), " %", 0)
            };
            let rivals = table.rows.iter().filter(|row| {
                row.contender.package.is_some()
                    && row.contender.is_durable
                    && !row.rounds.is_empty()
            });
            let best = rivals.max_by(|a, b| median(a, rate).total_cmp(&median(b, rate)));
            let alone = self
                .with_one_log(table.scenario)
                .and_then(|one| measured(one, ours.contender.name));
            let against_best =
                |of: fn(&Figures) -> f64| shown(best.map(|best| ratio(ours, best, of)), "×", 2);
            let against_one = |of: fn(&Figures) -> f64| {
                shown(alone.map(|alone| median(ours, of) / median(alone, of)), "×", 2)
            };
            let cells = [
                table.scenario.to_string(),
                ours.contender.name.to_owned(),
                format!("{:.0}", median(ours, rate)),
                against_floor(FLOOR, rate),
                against_floor(FLOOR_FRESH, rate),
                against_floor(FLOOR, cpu),
                best.map_or_else(String::new, |row| row.contender.name.to_owned()),
                against_best(rate),
                against_best(cpu),
                against_one(rate),
                against_one(|figures| figures.p99_us),
            ];
            line(&mut text, &cells);
        }
        text
    }

    /// The journal against the way past it, where both were measured.
    pub(crate) fn crossing(&self) -> String {
        let mut text = String::from(
            "| load | direct, appends/s | journal, appends/s | journal v direct | CPU | p50 | p99 | \
             device bytes |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        let head = text.len();
        for table in &self.tables {
            let both = measured(table, RINGLOG_DIRECT).zip(measured(table, RINGLOG_JOURNAL));
            let Some((direct, journal)) = both else { continue };
            let times = |of: fn(&Figures) -> f64| format!("{:.2}×", ratio(journal, direct, of));
            let cells = [
                table.scenario.to_string(),
                format!("{:.0}", median(direct, rate)),
                format!("{:.0}", median(journal, rate)),
                times(rate),
                times(cpu),
                times(|figures| figures.p50_us),
                times(|figures| figures.p99_us),
                times(|figures| {
                    figures.device_bytes.unwrap_or(0) as f64 / figures.appends.max(1) as f64
                }),
            ];
            line(&mut text, &cells);
        }
        if text.len() == head { String::new() } else { text }
    }

    /// The same load with one log, if this is one with more.
    fn with_one_log(&self, scenario: Scenario) -> Option<&Table> {
        let one = Scenario { logs: 1, ..scenario };
        self.tables.iter().find(|table| table.scenario == one && scenario.logs > 1)
    }
}

/// One scenario.
pub(crate) fn table(table: &Table) -> String {
    let mut text = format!(
        "\n### {}\n\n| contender | appends/s | ± | MB/s | of the floor | p50 µs | p99 µs | p99.9 µs | \
         max µs | CPU µs/append | device bytes per byte | flushes per 1,000 | peak MiB |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        table.scenario
    );
    let floor = measured(table, FLOOR);
    for row in &table.rows {
        let mark = if row.contender.is_durable { "" } else { " (not durable)" };
        let name = format!("{}{mark}", row.contender.name);
        if row.rounds.is_empty() {
            let failure = row.failure.clone().unwrap_or_default();
            line(&mut text, &[name, format!("failed: {failure}")]);
            continue;
        }
        let payload = table.scenario.payload_bytes as f64;
        let of = |figure: fn(&Figures) -> f64, digits: usize| {
            format!("{:.digits$}", median(row, figure))
        };
        let per = |figure: fn(&Figures) -> Option<u64>, unit: f64, digits: usize| {
            let each = |figures: &Figures| {
                Some(figure(figures)? as f64 / figures.appends.max(1) as f64 * unit)
            };
            let values: Option<Vec<f64>> = row.rounds.iter().map(each).collect();
            shown(values.map(middle), "", digits)
        };
        let cells = [
            name,
            of(rate, 0),
            format!("{:.0} %", spread(row)),
            format!("{:.1}", median(row, rate) * payload / 1e6),
            shown(floor.map(|floor| 100.0 * ratio(row, floor, rate)), " %", 0),
            of(|figures| figures.p50_us, 0),
            of(|figures| figures.p99_us, 0),
            of(|figures| figures.p99_9_us, 0),
            of(|figures| figures.max_us, 0),
            of(cpu, 2),
            per(|figures| figures.device_bytes, 1.0 / payload, 2),
            per(|figures| figures.device_flushes, 1000.0, 1),
            of(|figures| figures.rss_peak_bytes as f64 / f64::from(1 << 20), 0),
        ];
        line(&mut text, &cells);
    }
    text
}

/// Appends a second.
fn rate(figures: &Figures) -> f64 {
    figures.appends as f64 / figures.seconds
}

/// Microseconds of CPU for an append.
fn cpu(figures: &Figures) -> f64 {
    figures.cpu_us / figures.appends.max(1) as f64
}

/// Ringlog's row, driven in the way that appends more; at a fixed rate, in the usual way.
fn best_of_ours(table: &Table) -> Option<&Row> {
    let mut ways = [RINGLOG, RINGLOG_BATCH].map(|name| measured(table, name)).into_iter().flatten();
    match table.scenario.rate {
        None => ways.max_by(|a, b| median(a, rate).total_cmp(&median(b, rate))),
        Some(_) => ways.next(),
    }
}

/// The row of this contender, if it has figures.
fn measured<'a>(table: &'a Table, name: &str) -> Option<&'a Row> {
    table.rows.iter().find(|row| row.contender.name == name && !row.rounds.is_empty())
}

fn median(row: &Row, of: impl Fn(&Figures) -> f64) -> f64 {
    middle(row.rounds.iter().map(of).collect())
}

/// The median of the ratios round by round: what both met in the same minute.
fn ratio(row: &Row, to: &Row, of: impl Fn(&Figures) -> f64) -> f64 {
    let pairs = row.rounds.iter().zip(&to.rounds);
    middle(pairs.map(|(mine, theirs)| of(mine) / of(theirs)).collect())
}

/// Half of the range of the appends a second, in per cent of their median.
fn spread(row: &Row) -> f64 {
    let rates: Vec<f64> = row.rounds.iter().map(rate).collect();
    let largest = rates.iter().copied().fold(f64::MIN, f64::max);
    let smallest = rates.iter().copied().fold(f64::MAX, f64::min);
    50.0 * (largest - smallest) / middle(rates)
}

/// The median; of an even number, the mean of the two in the middle.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[half],
        _ => f64::midpoint(values[half - 1], values[half]),
    }
}

fn shown(value: Option<f64>, unit: &str, digits: usize) -> String {
    value.map_or_else(String::new, |value| format!("{value:.digits$}{unit}"))
}

fn line(text: &mut String, cells: &[String]) {
    // Writing into a string does not fail.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}
