//! `compare`: the same scenarios against Ringlog and its rivals, by turns, on the same machine.
//!
//! | module | holds |
//! |---|---|
//! | [`rival`] | who can be compared with, as the command line names them |
//! | [`contender`] | servers: started, or running already |
//! | [`kafka`] | how a Kafka node is started |
//! | [`round`] | the lines to measure, and one turn of a contender |

pub mod contender;
pub mod kafka;
pub mod rival;
pub mod round;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use self::contender::{Contender, Folder, Place};
use self::rival::{Rival, parse_rival};
use self::round::{Common, Line, lines};
use super::Tell;
use crate::affinity;
use crate::args::{Headroom, Timing, parse_seconds};
use crate::error::BenchError;
use crate::report::Report;
use crate::report::comparison::{Comparison, ContenderReport, Run};

/// Seconds of load after which Ringlog is itself: it compiles nothing while it runs.
const OWN_WARMUP_S: f64 = 10.0;
/// Seconds of load that a JVM needs at least.
const JVM_WARMUP_S: f64 = 240.0;

/// The settings of `compare`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct CompareArgs {
    /// Whom Ringlog is compared with: `kafka` (answers from the page cache, as by default),
    /// `kafka-synced` (`flush.messages=1`), `ringlog-relaxed` (Ringlog that promises no more than
    /// Kafka does by default), `floor` (the least server that answers the same produce requests,
    /// synced, on the `--floor-ground` of the line: see `produce --help`; lines of other scenarios
    /// leave it out), or a server that runs already, as
    /// NAME=HOST:PORT or, with its process on this machine for CPU time and memory,
    /// NAME=HOST:PORT,PID.
    #[arg(long, value_name = "RIVAL", required = true, value_parser = parse_rival)]
    pub rival: Vec<Rival>,
    /// Ringlog's program; the `ringlog` beside this one by default.
    #[arg(long, value_name = "FILE")]
    pub ringlog: Option<PathBuf>,
    /// A folder with Kafka's jars, as `tools/compat/kafka_jars.sh DIR` fills it; the `libs` of
    /// `KAFKA_HOME` by default.
    #[arg(long, value_name = "FOLDER")]
    pub kafka_jars: Option<PathBuf>,
    /// Each server that is started has its data in an empty folder below this one, on the disk to
    /// measure; it is removed at the end.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub dir: PathBuf,
    /// What is measured: names with commas, or one name and its options in quotes, such as
    /// 'produce --batch-bytes 16384'. May be given again.
    #[arg(
        long,
        value_name = "SCENARIO",
        default_value = "produce,produce-large,produce-small,end-to-end,tail-fanout"
    )]
    pub scenario: Vec<String>,
    /// Rounds. In each, every line is measured against one server after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub pairs: u32,
    /// Seconds of load that each rival gets before the first round, in all scenarios by turns. A
    /// JVM needs minutes to be itself. Ringlog gets as much, but 10 seconds at most.
    #[arg(long, value_name = "SECONDS", default_value = "240", value_parser = parse_seconds)]
    pub rival_warmup: f64,
    /// Cores that the load threads are pinned to; the first core by default.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// The core that each server which is started is pinned to; by default one that the load is
    /// not pinned to.
    #[arg(long, value_name = "CORE")]
    pub server_cpu: Option<usize>,
    /// Seconds that a server's start may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: u64,
    #[command(flatten)]
    #[serde(flatten)]
    /// For how long.
    pub timing: Timing,
    #[command(flatten)]
    #[serde(flatten)]
    /// The generator's own limit.
    pub headroom: Headroom,
}

/// Runs the scenario. Servers that it started are killed at its end, whatever that is.
///
/// # Errors
///
/// A [`BenchError`] if a server could not be started. A line that one of them broke off is none:
/// the report has it.
pub fn run(args: &CompareArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let cores = Cores::choose(args);
    let common = Common { cpu: &cores.load, timing: args.timing, headroom: args.headroom };
    let lines = lines(&args.scenario, &common)?;
    // Servers are dropped before the folder that they write to.
    let folder = Folder::new(&args.dir)?;
    let contenders = contender::start_all(args, &folder, cores.server, tell)?;
    let mut comparison = Comparison::new(contenders.iter().map(report_of).collect());
    for contender in &contenders {
        warm_up(contender, &lines, &common, tell)?;
    }
    for round in 1..=args.pairs {
        for line in &lines {
            for (number, contender) in contenders.iter().enumerate() {
                let step = format!("round {round} of {}, {}", args.pairs, contender.name);
                let tell: Tell<'_> = &mut |line, over| tell(&format!("{step}: {line}"), over);
                let outcome = round::turn(line, contender, &common, &round.to_string(), tell);
                let scenario = line.scenario;
                folder.settle()?;
                match outcome {
                    Ok(measurements) => comparison.runs.extend(
                        measurements.into_iter().map(|one| Run::new(scenario, number, round, one)),
                    ),
                    Err(error) => {
                        let broken = round::told(&error);
                        comparison.broken.push(format!("{scenario}, {step} broke off: {broken}"));
                    }
                }
            }
        }
    }
    let verdict = verdict(args, &comparison, &cores);
    Ok(Report::of_comparison(args, comparison, verdict))
}

/// Puts load on a contender for as long as it needs, in all lines by turns, and forgets what comes
/// out.
fn warm_up(
    contender: &Contender,
    lines: &[Line],
    common: &Common<'_>,
    tell: Tell<'_>,
) -> Result<(), BenchError> {
    let timing = Timing { duration: 5.0, warmup: 0.0 };
    let common = Common { timing, headroom: Headroom { ceiling_s: 0.0 }, ..*common };
    let begun = Instant::now();
    for (number, line) in lines.iter().cycle().enumerate() {
        let over = begun.elapsed().as_secs_f64();
        let left = contender.warmup_s - over;
        if left <= 0.0 {
            break;
        }
        let timing = Timing { duration: timing.duration.min(left.max(0.1)), ..timing };
        let common = Common { timing, ..common };
        let step = format!("warming {} up", contender.name);
        let mut tell = |line: &str, _: f64| {
            tell(&format!("{step}: {line}"), over / contender.warmup_s);
        };
        let turn = round::turn(line, contender, &common, &format!("warm-up-{number}"), &mut tell);
        // A rate that is too high for a cold server breaks its line off, which is no harm here.
        if let Err(error) = turn
            && matches!(error, BenchError::Connect { .. })
        {
            return Err(error);
        }
    }
    Ok(())
}

fn report_of(contender: &Contender) -> ContenderReport {
    let Contender { name, told, place, warmup_s, .. } = contender;
    let bootstrap = match place {
        Place::Server { bootstrap, .. } => Some(bootstrap.clone()),
        Place::Floor { .. } => None,
    };
    ContenderReport { name: name.clone(), told: told.clone(), bootstrap, warmup_s: *warmup_s }
}

/// Which core is whose.
struct Cores {
    load: Vec<usize>,
    server: Option<usize>,
}

impl Cores {
    fn choose(args: &CompareArgs) -> Self {
        let taken: Vec<usize> = args.server_cpu.into_iter().collect();
        let load = match &args.cpu[..] {
            [] => affinity::other_core(&taken).into_iter().collect(),
            cpu => cpu.to_vec(),
        };
        let server = args.server_cpu.or_else(|| affinity::other_core(&load));
        Self { load, server }
    }
}

fn verdict(args: &CompareArgs, comparison: &Comparison, cores: &Cores) -> Vec<String> {
    let mut verdict = comparison.in_words();
    verdict.extend(comparison.broken.iter().cloned());
    match cores.server {
        Some(server) if cores.load.contains(&server) => verdict.push(format!(
            "Servers were pinned to core {server}, which the load uses too: they wait for it."
        )),
        Some(server) => verdict.push(format!(
            "Servers that were started here were pinned to core {server}, the load to others."
        )),
        None => verdict.push("There is one core only, which servers and load share.".into()),
    }
    let is_jvm = args.rival.iter().any(Rival::is_kafka);
    if is_jvm && args.rival_warmup < JVM_WARMUP_S {
        verdict.push(format!(
            "Kafka was under load for {} s before; a JVM needs minutes, so its figures are too \
             low.",
            args.rival_warmup
        ));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Scenario};

    fn read(line: &str) -> CompareArgs {
        let cli = Cli::read(line.split_whitespace()).unwrap();
        let Scenario::Compare(args) = cli.scenario else { panic!("{line}") };
        args
    }

    #[test]
    fn load_and_servers_get_cores_of_their_own_where_there_are_two() {
        let args = read("bench compare --rival kafka");
        let cores = Cores::choose(&args);
        assert_eq!(cores.load.len(), 1);
        assert!(!cores.load.contains(&cores.server.unwrap_or(usize::MAX)));
        let first = affinity::other_core(&[]).unwrap();
        let line = format!("bench compare --rival kafka --server-cpu {first}");
        let cores = Cores::choose(&read(&line));
        assert_eq!(cores.server, Some(first));
        assert!(!cores.load.contains(&first));
    }

    #[test]
    fn a_jvm_that_was_hardly_warm_is_told_of() {
        let args = read("bench compare --rival kafka --rival-warmup 5");
        let cores = Cores { load: vec![0], server: Some(1) };
        let verdict = verdict(&args, &Comparison::new(Vec::new()), &cores).join("\n");
        assert!(verdict.contains("under load for 5 s"), "{verdict}");
    }
}
