//! What a comparison has found: the same figures of several servers, and their ratios pair by pair.

pub mod text;

use serde::Serialize;

use super::measurement::{FLOOR_CPU, Flow, Measurement, ServerReport, float};

/// Batches from here on are counted in MB, smaller ones in requests.
const LARGE_BATCH_BYTES: usize = 16 * 1024;

/// A server that was compared, or the floor.
#[derive(Debug, Clone, Serialize)]
pub struct ContenderReport {
    /// What people call it.
    pub name: String,
    /// How it was set.
    pub told: String,
    /// Where it listened, if it stood anywhere.
    pub bootstrap: Option<String>,
    /// Seconds of load that it got before.
    pub warmup_s: f64,
}

/// One line, measured once against one server.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Which scenario.
    pub scenario: &'static str,
    /// Which contender, by its place among them.
    pub contender: usize,
    /// In which round, from 1.
    pub round: u32,
    /// What was found.
    pub measurement: Measurement,
}

impl Run {
    /// A run of the contender at place `contender`.
    #[must_use]
    pub fn new(
        scenario: &'static str,
        contender: usize,
        round: u32,
        measurement: Measurement,
    ) -> Self {
        Self { scenario, contender, round, measurement }
    }
}

/// All runs. The first contender is the one that others are compared with.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Who was compared.
    pub contenders: Vec<ContenderReport>,
    /// What was measured, in that order.
    pub runs: Vec<Run>,
    /// Runs that broke off, a sentence each.
    pub broken: Vec<String>,
}

/// The middle of some figures, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle, or the mean of the two that are.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// That of `figures`; `None` of none.
    #[must_use]
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = sorted.len() / 2;
        let lower = (sorted.len() - 1) / 2;
        let median = f64::midpoint(*sorted.get(lower)?, *sorted.get(upper)?);
        Some(Self { median, min, max })
    }
}

/// One line's figures of all contenders.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedLine {
    /// Which scenario.
    pub scenario: &'static str,
    /// Which of its lines.
    pub name: String,
    /// Whether all kept a rate, so that throughput says nothing.
    pub keeps_a_rate: bool,
    /// The figures.
    pub figures: Vec<ComparedFigure>,
}

/// One figure of all contenders.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedFigure {
    /// What it is.
    pub name: &'static str,
    /// Of what.
    pub unit: &'static str,
    /// What each contender reached, in their order; `None` where it is not known.
    pub reached: Vec<Option<Spread>>,
    /// What the first contender reached over what each other one did in the same round.
    pub ratios: Vec<Ratio>,
}

/// The first contender's figures over a rival's.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// The rival's place among the contenders.
    pub rival: usize,
    /// One for each round in which both have the figure.
    pub pairs: Vec<f64>,
    /// Of the pairs.
    pub spread: Option<Spread>,
}

/// A figure, its unit, and where it is found.
pub(super) type Column = (&'static str, &'static str, fn(&Measurement) -> Option<f64>);

impl Comparison {
    /// A comparison of which nothing has run.
    #[must_use]
    pub fn new(contenders: Vec<ContenderReport>) -> Self {
        Self { contenders, runs: Vec::new(), broken: Vec::new() }
    }

    /// All lines, in the order in which they were first measured.
    #[must_use]
    pub fn lines(&self) -> Vec<ComparedLine> {
        let mut lines: Vec<(&'static str, &str, Vec<&Run>)> = Vec::new();
        for run in &self.runs {
            let (scenario, name) = (run.scenario, &run.measurement.name[..]);
            match lines.iter_mut().find(|line| (line.0, line.1) == (scenario, name)) {
                Some((_, _, runs)) => runs.push(run),
                None => lines.push((scenario, name, vec![run])),
            }
        }
        let line = |(scenario, name, runs): (&'static str, &str, Vec<&Run>)| ComparedLine {
            scenario,
            name: name.to_owned(),
            keeps_a_rate: runs.iter().all(|run| run.measurement.keeps_a_rate()),
            figures: self.figures(&runs),
        };
        lines.into_iter().map(line).collect()
    }

    fn figures(&self, runs: &[&Run]) -> Vec<ComparedFigure> {
        let Some(first) = runs.first() else { return Vec::new() };
        let figure = |(name, unit, of): Column| {
            let places = 0..self.contenders.len();
            let reached = places.clone().map(|place| reached(runs, place, of)).collect();
            let ratios = places.skip(1).map(|rival| ratio(runs, rival, of)).collect();
            ComparedFigure { name, unit, reached, ratios }
        };
        columns(&first.measurement).into_iter().map(figure).collect()
    }
}

/// The figures that a line is about.
pub(super) fn columns(one: &Measurement) -> Vec<Column> {
    let is_large = one.batch_bytes >= LARGE_BATCH_BYTES;
    let (throughput, cpu): (Column, Column) = match (&one.produced, &one.fetched) {
        (_, Some(_)) if is_large => (
            ("throughput", "MB/s out", |one| flow(one.fetched.as_ref(), |flow| flow.mb_per_s)),
            ("server CPU", "us/MB out", |one| server(one, |used| used.cpu_us_per_mb_fetched)),
        ),
        _ if is_large => (
            ("throughput", "MB/s", |one| flow(one.produced.as_ref(), |flow| flow.mb_per_s)),
            ("server CPU", "us/MB", |one| {
                server(one, |used| used.cpu_us_per_mb_produced).or_else(|| floor(one, "us/MB"))
            }),
        ),
        _ => (
            ("throughput", "requests/s", |one| {
                flow(one.produced.as_ref(), |flow| flow.requests_per_s)
            }),
            ("server CPU", "us/request", |one| {
                server(one, |used| used.cpu_us_per_request).or_else(|| floor(one, "us/request"))
            }),
        ),
    };
    let memory =
        |one: &Measurement| one.server.map(|used| float(used.resident_bytes) / (1024.0 * 1024.0));
    vec![
        throughput,
        cpu,
        ("p50", "us", |one| one.latency().map(|latency| latency.summary.p50_us)),
        ("p99", "us", |one| one.latency().map(|latency| latency.summary.p99_us)),
        ("p99.9", "us", |one| one.latency().map(|latency| latency.summary.p99_9_us)),
        ("memory", "MiB", memory),
    ]
}

fn flow(flow: Option<&Flow>, of: fn(&Flow) -> f64) -> Option<f64> {
    flow.map(of)
}

fn server(one: &Measurement, of: fn(ServerReport) -> Option<f64>) -> Option<f64> {
    one.server.and_then(of)
}

/// The CPU time of the floor, which is no server.
fn floor(one: &Measurement, unit: &str) -> Option<f64> {
    let mut figures = one.figures.iter();
    figures.find(|one| (one.name, one.unit) == (FLOOR_CPU, unit)).map(|one| one.value)
}

fn reached(runs: &[&Run], place: usize, of: fn(&Measurement) -> Option<f64>) -> Option<Spread> {
    let own = runs.iter().filter(|run| run.contender == place);
    let figures: Vec<f64> = own.filter_map(|run| of(&run.measurement)).collect();
    Spread::of(&figures)
}

fn ratio(runs: &[&Run], rival: usize, of: fn(&Measurement) -> Option<f64>) -> Ratio {
    let of_round = |place: usize, round: u32| {
        let run = runs.iter().find(|run| (run.contender, run.round) == (place, round))?;
        of(&run.measurement)
    };
    let rounds = runs.iter().filter(|run| run.contender == 0).map(|run| run.round);
    let pairs: Vec<f64> = rounds
        .filter_map(|round| of_round(0, round).zip(of_round(rival, round)))
        .filter(|(_, other)| *other > 0.0)
        .map(|(own, other)| own / other)
        .collect();
    Ratio { rival, spread: Spread::of(&pairs), pairs }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::measurement::Figure;
    use crate::report::measurement::tests::measurement;

    fn comparison(runs: &[(usize, u32, u64)]) -> Comparison {
        let contender = |name: &str| ContenderReport {
            name: name.into(),
            told: String::new(),
            bootstrap: None,
            warmup_s: 0.0,
        };
        let mut comparison = Comparison::new(vec![contender("own"), contender("rival")]);
        let run = |&(place, round, answered)| {
            Run::new("produce-small", place, round, measurement(answered))
        };
        comparison.runs = runs.iter().map(run).collect();
        comparison
    }

    #[test]
    fn the_ratio_of_each_round_is_told_with_its_median_and_spread() {
        let runs = [(0, 1, 300), (1, 1, 100), (0, 2, 200), (1, 2, 100), (0, 3, 900), (1, 3, 90)];
        let comparison = comparison(&runs);
        let lines = comparison.lines();
        assert_eq!(lines.len(), 1);
        let throughput = &lines[0].figures[0];
        assert_eq!((throughput.name, throughput.unit), ("throughput", "requests/s"));
        assert_eq!(throughput.ratios[0].pairs, [3.0, 2.0, 10.0]);
        assert_eq!(throughput.ratios[0].spread, Some(Spread { median: 3.0, min: 2.0, max: 10.0 }));
        let told = comparison.to_string();
        assert!(told.contains("3.00 x (2.00..10.0)   pair by pair 3.00 2.00 10.0"), "{told}");
        let sentence = comparison.in_words().join("\n");
        assert!(sentence.contains("own over rival: throughput 3.00 x"), "{sentence}");
        assert!(sentence.contains("server CPU 1.00 x"), "{sentence}");
    }

    #[test]
    fn the_floors_own_cpu_time_stands_for_that_of_a_server() {
        let mut comparison = comparison(&[(0, 1, 300), (1, 1, 100)]);
        let floor = &mut comparison.runs[1].measurement;
        floor.server = None;
        floor.figures = vec![
            Figure { name: FLOOR_CPU, value: 7.0, unit: "us/MB" },
            Figure { name: FLOOR_CPU, value: 5.0, unit: "us/request" },
        ];
        let lines = comparison.lines();
        let cpu = lines[0].figures.iter().find(|figure| figure.name == "server CPU").unwrap();
        assert_eq!((cpu.unit, &cpu.ratios[0].pairs[..]), ("us/request", &[2.0][..]));
    }

    #[test]
    fn a_round_that_broke_off_on_one_side_has_no_pair() {
        let comparison = comparison(&[(0, 1, 300), (0, 2, 200), (1, 2, 100)]);
        let figure = &comparison.lines()[0].figures[0];
        assert_eq!(figure.ratios[0].pairs, [2.0]);
        assert_eq!(figure.reached[0], Some(Spread { median: 250.0, min: 200.0, max: 300.0 }));
    }
}
