//! `all`: the other scenarios one after the other, each with its own defaults.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::Tell;
use crate::args::{Headroom, Target, Timing};
use crate::cli::Cli;
use crate::error::BenchError;
use crate::report::Report;

/// The settings of `all`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct AllArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
    #[command(flatten)]
    #[serde(flatten)]
    /// For how long.
    pub timing: Timing,
    #[command(flatten)]
    #[serde(flatten)]
    /// The generator's own limit.
    pub headroom: Headroom,
    /// Measure the floor too, beside each `produce` scenario, with its file in this folder, which
    /// is best on the server's disk.
    #[arg(long, value_name = "FOLDER")]
    pub floor: Option<PathBuf>,
    /// The server's data folder, for cold reads: see `catch-up --help`.
    #[arg(long, value_name = "FOLDER")]
    pub evict: Option<PathBuf>,
    /// MiB of the log of `catch-up`.
    #[arg(long, value_name = "MIB", default_value_t = 8192,
          value_parser = clap::value_parser!(u64).range(1..=16 * 1024 * 1024))]
    pub size_mib: u64,
    /// Idle connections of `connections`.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub idle: u32,
    /// Partitions of `many-partitions`; a line of the result for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: Vec<u32>,
}

/// Runs the scenarios that need nothing but a server, and tells each report as it is finished.
///
/// # Errors
///
/// The first scenario's [`BenchError`] that could not be made or broke off; what was told before
/// holds.
pub fn run(
    args: &AllArgs,
    tell: Tell<'_>,
    finished: &mut dyn FnMut(&Report),
) -> Result<(), BenchError> {
    for line in lines(args) {
        // The lines are made of arguments that were read already.
        let scenario = Cli::read(line).map_err(|error| BenchError::Line { source: error })?;
        scenario.scenario.run(tell, finished)?;
    }
    Ok(())
}

/// The command line of each scenario, with its own defaults where `all` has no setting.
fn lines(args: &AllArgs) -> Vec<Vec<String>> {
    let floor = option("--floor", args.floor.as_ref().map(|folder| folder.display()));
    let evict = option("--evict", args.evict.as_ref().map(|folder| folder.display()));
    let warmup = option("--warmup", Some(args.timing.warmup));
    let size = option("--size-mib", Some(args.size_mib));
    let idle = option("--idle", Some(args.idle));
    let counts: Vec<String> = args.partitions.iter().map(u32::to_string).collect();
    let counts = option("--partitions", Some(counts.join(",")));
    let own: [(&str, Vec<&[String]>); 8] = [
        ("produce", vec![&warmup, &floor]),
        ("produce-large", vec![&warmup, &floor]),
        ("produce-small", vec![&warmup, &floor]),
        ("end-to-end", vec![&warmup]),
        ("tail-fanout", vec![&warmup]),
        ("connections", vec![&warmup, &idle]),
        // Partitions are measured from their first second on.
        ("many-partitions", vec![&counts]),
        ("catch-up", vec![&warmup, &size, &evict]),
    ];
    own.into_iter()
        .map(|(name, own)| {
            let mut line = vec!["ringlog-bench".to_owned(), name.to_owned()];
            line.extend(common(args, name));
            line.extend(own.into_iter().flatten().cloned());
            line
        })
        .collect()
}

fn common(args: &AllArgs, name: &str) -> Vec<String> {
    let target = &args.target;
    // A log that is read from its beginning is not the one that the others write to.
    let topic = format!("{}{}", target.topic, if name == "catch-up" { "-catch-up" } else { "" });
    let cores: Vec<String> = target.cpu.iter().map(usize::to_string).collect();
    let cores = Some(cores.join(",")).filter(|cores| !cores.is_empty());
    [
        option("--bootstrap", Some(&target.bootstrap)),
        option("--topic", Some(topic)),
        option("--pid", target.pid),
        option("--cpu", cores),
        option("--duration", Some(args.timing.duration)),
        option("--ceiling", Some(args.headroom.ceiling_s)),
    ]
    .concat()
}

fn option(name: &str, value: Option<impl ToString>) -> Vec<String> {
    value.map_or_else(Vec::new, |value| vec![name.to_owned(), value.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Scenario;

    #[test]
    fn every_scenarios_line_can_be_read_and_has_what_all_was_given() {
        let line = "bench all --bootstrap here:1 --topic t --pid 7 --cpu 1,2 --duration 3 \
                    --floor disk --evict data --idle 5 --size-mib 6 --partitions 1,8 --ceiling 0.5";
        let Scenario::All(args) = Cli::read(line.split_whitespace()).unwrap().scenario else {
            panic!("{line}")
        };
        let lines = lines(&args);
        let read = lines.iter().map(|line| Cli::read(line).unwrap().scenario);
        for scenario in read {
            let target = match &scenario {
                Scenario::Produce(one) => {
                    assert_eq!(one.floor, args.floor);
                    &one.target
                }
                Scenario::ProduceLarge(one) | Scenario::ProduceSmall(one) => &one.target,
                Scenario::EndToEnd(one) => &one.target,
                Scenario::TailFanout(one) => &one.target,
                Scenario::Connections(one) => {
                    assert_eq!(one.idle, 5);
                    &one.target
                }
                Scenario::ManyPartitions(one) => {
                    assert_eq!((&one.partitions[..], one.timing.warmup), (&[1, 8][..], 0.0));
                    &one.target
                }
                Scenario::CatchUp(one) => {
                    assert_eq!((one.size_mib, &one.evict), (6, &args.evict));
                    assert_eq!(one.target.topic, "t-catch-up");
                    &one.target
                }
                other => panic!("{other:?}"),
            };
            assert_eq!((target.pid, &target.cpu[..]), (Some(7), &[1, 2][..]));
            assert_eq!(target.bootstrap, "here:1");
        }
    }
}
