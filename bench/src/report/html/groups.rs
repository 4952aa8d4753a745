//! Which measurements stand in one table and are drawn into the same plots: all lines of a
//! scenario, or one line of a comparison with all contenders.

use crate::histogram::LatencyReport;
use crate::report::Report;
use crate::report::comparison::{ComparedLine, Comparison, columns};
use crate::report::measurement::Measurement;

/// Measurements that are looked at together.
#[derive(Debug)]
pub struct Group<'a> {
    /// What they have in common, where that is not the whole report.
    pub title: Option<String>,
    /// The contenders' names, in their order; empty where nothing is compared.
    pub names: Vec<&'a str>,
    /// The line that is compared.
    pub compared: Option<ComparedLine>,
    /// The measurements.
    pub members: Vec<Member<'a>>,
}

/// A measurement in a group.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// What tells it from the others.
    pub label: &'a str,
    /// Which colour it has; the same for all rounds of a contender.
    pub colour: usize,
    /// In which round it was made, where there are rounds.
    pub round: Option<u32>,
    /// What was found.
    pub measurement: &'a Measurement,
}

/// A member's latencies.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// Whose.
    pub member: Member<'a>,
    /// What was found.
    pub latency: &'a LatencyReport,
}

impl Member<'_> {
    /// Its label, with the round where there are rounds.
    #[must_use]
    pub fn label_with_round(&self) -> String {
        let Self { label, round, .. } = self;
        round.map_or_else(|| (*label).to_owned(), |round| format!("{label}, round {round}"))
    }
}

impl Curve<'_> {
    /// Its member's label, with the round where there are rounds.
    #[must_use]
    pub fn label_with_round(&self) -> String {
        self.member.label_with_round()
    }
}

/// The groups of a report.
#[must_use]
pub fn groups(report: &Report) -> Vec<Group<'_>> {
    match &report.comparison {
        Some(comparison) => compared(comparison),
        None if report.measurements.is_empty() => Vec::new(),
        None => vec![whole(report)],
    }
}

fn whole(report: &Report) -> Group<'_> {
    let members = report.measurements.iter().enumerate();
    let members = members.map(|(colour, measurement)| Member {
        label: &measurement.name,
        colour,
        round: None,
        measurement,
    });
    Group { title: None, names: Vec::new(), compared: None, members: members.collect() }
}

fn compared(comparison: &Comparison) -> Vec<Group<'_>> {
    let names: Vec<&str> = comparison.contenders.iter().map(|one| &one.name[..]).collect();
    let group = |line: ComparedLine| {
        let runs = comparison
            .runs
            .iter()
            .filter(|run| (run.scenario, &run.measurement.name) == (line.scenario, &line.name));
        let members = runs.map(|run| Member {
            label: names.get(run.contender).copied().unwrap_or_default(),
            colour: run.contender,
            round: Some(run.round),
            measurement: &run.measurement,
        });
        Group {
            title: Some(format!("{}: {}", line.scenario, line.name)),
            members: members.collect(),
            names: names.clone(),
            compared: Some(line),
        }
    };
    comparison.lines().into_iter().map(group).collect()
}

/// A bar: what it is of, its colour, how long it is.
pub type Bar = (String, usize, f64);

impl<'a> Group<'a> {
    /// Throughput and CPU time, each with its unit as the title; one plot for each unit.
    #[must_use]
    pub fn bars(&self) -> Vec<(String, Vec<Bar>)> {
        let mut plots: Vec<(String, Vec<Bar>)> = Vec::new();
        for name in ["throughput", "server CPU"] {
            for member in &self.members {
                let columns = columns(member.measurement);
                let column = columns.iter().find(|column| column.0 == name);
                let Some((_, unit, of)) = column else { continue };
                let Some(value) = of(member.measurement) else { continue };
                let title = format!("{name}, {unit}");
                let bar = (member.label_with_round(), member.colour, value);
                match plots.iter_mut().find(|plot| plot.0 == title) {
                    Some((_, bars)) => bars.push(bar),
                    None => plots.push((title, vec![bar])),
                }
            }
        }
        for (_, bars) in &mut plots {
            // The rounds of a contender beside each other.
            bars.sort_by_key(|(_, colour, _)| *colour);
        }
        plots
    }

    /// The latencies of those that have some.
    #[must_use]
    pub fn curves(&self) -> Vec<Curve<'a>> {
        let curve = |member: &Member<'a>| {
            let latency = member.measurement.latency().filter(|one| one.summary.count > 0)?;
            Some(Curve { member: *member, latency })
        };
        self.members.iter().filter_map(curve).collect()
    }
}
