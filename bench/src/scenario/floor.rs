//! `floor`: the least work that answers the same produce requests with the same durability, on this
//! machine.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::produce::{ProduceArgs, Shape};
use super::{Tell, latency_in_words};
use crate::affinity;
use crate::args::{Timing, parse_rate};
use crate::error::BenchError;
use crate::load::{Leaders, Plan, Reading, run as run_plan};
use crate::peer::floor::{Floor, Ground};
use crate::report::Report;
use crate::report::measurement::{FLOOR_CPU, Figure, Measurement, float, float_of, ratio};

const TOPIC: &str = "ringlog-bench";

/// Where the floor writes.
#[derive(Debug, Clone, Args, Serialize)]
pub struct FloorPlace {
    /// A folder on the disk to measure.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub dir: PathBuf,
    /// What is written on; a line of the result for each.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "prewritten,fresh")]
    pub ground: Vec<Ground>,
    /// The core that the floor's thread is pinned to; another one than the load's by default.
    #[arg(long, value_name = "CORE")]
    pub floor_cpu: Option<usize>,
}

/// The settings of `floor`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct FloorArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// Where it writes.
    pub place: FloorPlace,
    /// Partitions to write to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: u32,
    #[command(flatten)]
    #[serde(flatten)]
    /// What is sent.
    pub shape: Shape,
    /// Records per second over all connections; closed loop without it.
    #[arg(long, value_name = "RECORDS_PER_S", value_parser = parse_rate)]
    pub rate: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    /// For how long.
    pub timing: Timing,
    /// Cores that the load threads are pinned to, in turn.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
}

/// Runs the scenario.
///
/// # Errors
///
/// A [`BenchError`] if a run could not be made or broke off.
pub fn run(args: &FloorArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let payload = args.shape.payload()?;
    let leaders = no_leaders(args.partitions);
    let mut measurements = Vec::new();
    for &connections in &args.shape.connections {
        let plan = Plan {
            rate: args.rate,
            cpu: &args.cpu,
            ..args.shape.plan(TOPIC, &leaders, &payload, args.timing, connections)
        };
        for &ground in &args.place.ground {
            let name = format!("{}, {}", args.shape.name(connections), in_words(ground));
            let FloorPlace { dir, floor_cpu, .. } = &args.place;
            measurements.push(against_floor(&name, &plan, dir, ground, *floor_cpu, tell)?);
        }
    }
    let verdict = measurements.iter().map(verdict).collect();
    Ok(Report::new("floor", args, measurements, verdict))
}

/// Runs the lines of a `produce` scenario against the floor instead of its server, under the same
/// names.
///
/// # Errors
///
/// As for [`against_floor`].
pub fn under(
    args: &ProduceArgs,
    folder: &Path,
    cpu: Option<usize>,
    tell: Tell<'_>,
) -> Result<Vec<Measurement>, BenchError> {
    let ProduceArgs { target, shape, .. } = args;
    let payload = shape.payload()?;
    let leaders = no_leaders(args.partitions);
    let mut measurements = Vec::new();
    for &connections in &shape.connections {
        let plan = Plan {
            rate: args.rate,
            cpu: &target.cpu,
            ..shape.plan(TOPIC, &leaders, &payload, args.timing, connections)
        };
        let name = shape.name(connections);
        measurements.push(against_floor(&name, &plan, folder, args.floor_ground, cpu, tell)?);
    }
    Ok(measurements)
}

/// Partitions without addresses: the floor's takes their place.
fn no_leaders(partitions: u32) -> Leaders {
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    (0..partitions).map(|partition| (partition, String::new())).collect()
}

/// Runs the producing part of `plan` against the floor, with its file in `folder` and its thread on
/// core `cpu`, or on another one than the load's.
///
/// # Errors
///
/// A [`BenchError`] if the floor could not be started, or the run broke off.
pub fn against_floor(
    name: &str,
    plan: &Plan<'_>,
    folder: &Path,
    ground: Ground,
    cpu: Option<usize>,
    tell: Tell<'_>,
) -> Result<Measurement, BenchError> {
    tell(&format!("{name}: preparing the file"), 0.0);
    let other = affinity::other_core(plan.cpu).filter(|_| !plan.cpu.is_empty());
    let floor = Floor::start(folder, ground, plan.payload.bytes.len(), cpu.or(other))?;
    let address = floor.address().to_string();
    let partitions = plan.leaders.keys();
    let leaders: Leaders = partitions.map(|&partition| (partition, address.clone())).collect();
    let reading = Reading::none();
    let plan = Plan { leaders: &leaders, server: None, reading, ..plan.clone() };
    let outcome = run_plan(&plan, &mut |over| tell(name, over));
    // A write that failed is why a run broke off, and the better answer.
    let used = floor.stop()?;
    let outcome = outcome?;
    let mut one = Measurement::new(name, &plan, &outcome);
    // The thread's time is of the whole run, so it is compared with the whole run's requests.
    let requests = float(outcome.tally.answered_in_all);
    let micros = used.as_secs_f64() * 1e6;
    let megabytes = requests * float_of(one.batch_bytes) / 1e6;
    let (each, mb) = (ratio(micros, requests), ratio(micros, megabytes));
    one.figures.push(Figure { name: FLOOR_CPU, value: mb, unit: "us/MB" });
    one.figures.push(Figure { name: FLOOR_CPU, value: each, unit: "us/request" });
    Ok(one)
}

/// A ground as people read it.
#[must_use]
pub fn in_words(ground: Ground) -> &'static str {
    match ground {
        Ground::Prewritten => "prewritten space",
        Ground::Fresh => "fresh space",
    }
}

fn verdict(one: &Measurement) -> String {
    let (mb, requests) =
        one.produced.as_ref().map_or((0.0, 0.0), |flow| (flow.mb_per_s, flow.requests_per_s));
    format!(
        "{}: a server that does nothing else could durably take {mb:.1} MB/s in {requests:.0} \
         requests/s; answers {}.",
        one.name,
        latency_in_words(one)
    )
}
