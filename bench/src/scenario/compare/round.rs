//! What a comparison measures: scenarios taken apart into lines, so that two servers meet the same
//! line one right after the other, and one that breaks off takes no other with it.

use std::error::Error;

use super::contender::{Contender, Place};
use crate::admin;
use crate::args::{Headroom, Timing};
use crate::cli::{Cli, Scenario};
use crate::error::BenchError;
use crate::report::measurement::Measurement;
use crate::scenario::{Tell, floor};

/// Kafka's code for a topic that is not there.
const UNKNOWN_TOPIC: i16 = 3;

/// What holds for every contender and line.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// Cores of the load threads.
    pub cpu: &'a [usize],
    /// For how long.
    pub timing: Timing,
    /// The generator's own limit.
    pub headroom: Headroom,
}

/// One line of one scenario.
#[derive(Debug, Clone)]
pub struct Line {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The scenario and its own options, as the command line has them.
    words: Vec<String>,
    /// Which of its lines this is.
    index: usize,
}

impl Line {
    /// The scenario that has this line alone.
    fn part(
        &self,
        bootstrap: &str,
        pid: Option<u32>,
        topic: &str,
        common: &Common<'_>,
    ) -> Result<Option<Scenario>, BenchError> {
        let scenario = read(&self.words, bootstrap, pid, topic, common)?;
        let parts = parts(scenario).map(|(_, parts)| parts).unwrap_or_default();
        Ok(parts.into_iter().nth(self.index))
    }
}

/// All lines of `scenarios`, each of which is a name, names with commas, or a name with options.
///
/// # Errors
///
/// [`BenchError::Line`] if one cannot be read, [`BenchError::NotCompared`] if one needs no server
/// or starts its own.
pub fn lines(scenarios: &[String], common: &Common<'_>) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for text in scenarios {
        let one_with_options = text.trim().contains(char::is_whitespace);
        let separator = if one_with_options { '\n' } else { ',' };
        for text in text.split(separator).filter(|text| !text.trim().is_empty()) {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let Some((scenario, parts)) = parts(scenario_of(&words, &[])?) else {
                return Err(BenchError::NotCompared { scenario: text.to_owned() });
            };
            let count = parts.len();
            // Where servers will listen makes no difference to whether the line can be read.
            read(&words, "none:0", None, "none", common)?;
            let line = |index| Line { scenario, words: words.clone(), index };
            lines.extend((0..count).map(line));
        }
    }
    Ok(lines)
}

/// Measures one line against one contender, with a topic of its own, which is deleted afterwards.
///
/// # Errors
///
/// A [`BenchError`] if the run could not be made or broke off.
pub fn turn(
    line: &Line,
    contender: &Contender,
    common: &Common<'_>,
    name: &str,
    tell: Tell<'_>,
) -> Result<Vec<Measurement>, BenchError> {
    let topic = format!("ringlog-bench-{}-{}-{name}", line.scenario, line.index);
    let (bootstrap, pid) = match &contender.place {
        Place::Server { bootstrap, pid } => (&bootstrap[..], *pid),
        Place::Floor { folder, cpu } => {
            return match line.part("none:0", None, &topic, common)? {
                Some(
                    Scenario::Produce(args)
                    | Scenario::ProduceLarge(args)
                    | Scenario::ProduceSmall(args),
                ) => floor::under(&args, folder, *cpu, tell),
                _ => Ok(Vec::new()),
            };
        }
    };
    let mut measurements = Vec::new();
    let part = line.part(bootstrap, pid, &topic, common)?;
    let measured = part.map_or(Ok(()), |part| {
        part.run(tell, &mut |report| measurements.extend(report.measurements.iter().cloned()))
    });
    // Whatever became of the run, the topic goes; the run's own error is the one to tell.
    let deleted = admin::delete_topic(bootstrap, &topic);
    measured?;
    match deleted {
        // The scenario may have deleted it itself.
        Ok(()) | Err(BenchError::Topic { code: UNKNOWN_TOPIC, .. }) => Ok(measurements),
        Err(error) => Err(error),
    }
}

/// An error and its causes.
#[must_use]
pub fn told(error: &BenchError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}

/// The scenario of a line. An option that is the comparison's own is refused where it is repeated.
fn read(
    words: &[String],
    bootstrap: &str,
    pid: Option<u32>,
    topic: &str,
    common: &Common<'_>,
) -> Result<Scenario, BenchError> {
    let Timing { duration, warmup } = common.timing;
    let mut options = Vec::new();
    let mut option = |name: &str, value: &dyn ToString| {
        options.extend([name.to_owned(), value.to_string()]);
    };
    option("--bootstrap", &bootstrap);
    option("--topic", &topic);
    option("--duration", &duration);
    option("--ceiling", &common.headroom.ceiling_s);
    // Partitions are measured from their first second on.
    if words.first().is_none_or(|name| name != "many-partitions") {
        option("--warmup", &warmup);
    }
    if let Some(pid) = pid {
        option("--pid", &pid);
    }
    for core in common.cpu {
        option("--cpu", core);
    }
    scenario_of(words, &options)
}

fn scenario_of(words: &[String], options: &[String]) -> Result<Scenario, BenchError> {
    let program = ["ringlog-bench".to_owned()];
    let cli = Cli::read([&program, words, options].concat());
    cli.map(|cli| cli.scenario).map_err(|error| BenchError::Line { source: error })
}

/// A scenario's name, and the same scenario once for each of its lines; `None` if it needs no
/// server or starts its own.
fn parts(scenario: Scenario) -> Option<(&'static str, Vec<Scenario>)> {
    /// The scenario for each value of the list at `field` alone.
    macro_rules! split {
        ($name:literal, $kind:ident, $args:ident, $($field:ident).+) => {{
            let values = $args.$($field).+.clone();
            let part = |value| {
                let mut part = $args.clone();
                part.$($field).+ = vec![value];
                Scenario::$kind(part)
            };
            ($name, values.into_iter().map(part).collect())
        }};
    }
    Some(match scenario {
        Scenario::Produce(args) => split!("produce", Produce, args, shape.connections),
        Scenario::ProduceLarge(args) => {
            split!("produce-large", ProduceLarge, args, shape.connections)
        }
        Scenario::ProduceSmall(args) => {
            split!("produce-small", ProduceSmall, args, shape.connections)
        }
        Scenario::EndToEnd(args) => split!("end-to-end", EndToEnd, args, rate),
        Scenario::TailFanout(args) => split!("tail-fanout", TailFanout, args, readers),
        Scenario::ManyPartitions(args) => {
            split!("many-partitions", ManyPartitions, args, partitions)
        }
        Scenario::CatchUp(_) => ("catch-up", vec![scenario]),
        Scenario::Connections(_) => ("connections", vec![scenario]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing { duration: 3.0, warmup: 0.5 };
    const COMMON: Common<'_> =
        Common { cpu: &[1, 2], timing: TIMING, headroom: Headroom { ceiling_s: 0.0 } };

    fn of(scenarios: &[&str]) -> Result<Vec<Line>, BenchError> {
        let scenarios: Vec<String> = scenarios.iter().map(|&one| one.to_owned()).collect();
        lines(&scenarios, &COMMON)
    }

    #[test]
    fn scenarios_are_taken_apart_into_lines() {
        let found = of(&["produce,produce-small", "end-to-end --rate 10,20,30"]).unwrap();
        let found: Vec<_> = found.iter().map(|line| (line.scenario, line.index)).collect();
        let small = [("produce-small", 0), ("produce-small", 1)];
        let rates = [("end-to-end", 0), ("end-to-end", 1), ("end-to-end", 2)];
        assert_eq!(found, [&[("produce", 0)][..], &small, &rates].concat());
    }

    #[test]
    fn a_part_has_one_value_and_everything_that_is_common() {
        let words = ["produce-small", "--depth", "7"].map(str::to_owned);
        let read = read(&words, "here:1", Some(9), "t", &COMMON).unwrap();
        let (_, parts) = parts(read).unwrap();
        let Scenario::ProduceSmall(second) = &parts[1] else { panic!("{parts:?}") };
        assert_eq!((&second.shape.connections[..], second.shape.depth), (&[64][..], 7));
        let target = &second.target;
        assert_eq!(
            (&target.bootstrap[..], target.pid, &target.topic[..]),
            ("here:1", Some(9), "t")
        );
        assert_eq!((&target.cpu[..], second.timing.duration), (&[1, 2][..], 3.0));
    }

    #[test]
    fn what_cannot_be_compared_is_refused_before_anything_starts() {
        for scenario in ["floor", "all", "ceiling", "compare --rival kafka"] {
            let refused = of(&[scenario]);
            assert!(
                matches!(refused, Err(BenchError::NotCompared { .. })),
                "{scenario}: {refused:?}"
            );
        }
        assert!(matches!(of(&["nonsense"]), Err(BenchError::Line { .. })));
        // It is the comparison that says how long.
        assert!(matches!(of(&["produce --duration 5"]), Err(BenchError::Line { .. })));
    }
}
