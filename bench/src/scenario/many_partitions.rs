//! `many-partitions`: the same load over one partition and over thousands, from the first second
//! of each topic's life on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use super::produce::Shape;
use super::{Tell, in_words, measure, with_commas};
use crate::admin;
use crate::args::{Headroom, Target, Timing, parse_rate};
use crate::error::BenchError;
use crate::load::Plan;
use crate::report::Report;
use crate::report::measurement::{Figure, Measurement, float, float_of, ratio};
use crate::server_process::ServerProcess;

/// The settings of `many-partitions`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct ManyPartitionsArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
    /// Partitions of a fresh topic; a line of the result for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000,10000",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: Vec<u32>,
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
    #[command(flatten)]
    #[serde(flatten)]
    /// The generator's own limit.
    pub headroom: Headroom,
}

/// Runs the scenario. Each topic is deleted after its line.
///
/// # Errors
///
/// A [`BenchError`] if a run could not be made or broke off.
pub fn run(args: &ManyPartitionsArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut measurements: Vec<Measurement> = Vec::new();
    for &count in &args.partitions {
        for &connections in &args.shape.connections {
            let run = since.as_millis();
            let topic = format!("{}-{count}-{connections}-{run}", args.target.topic);
            measurements.push(line(args, &topic, count, connections, tell)?);
        }
    }
    let first = measurements.first().cloned();
    let verdict = first.map_or_else(Vec::new, |first| {
        measurements.iter().map(|one| verdict(one, &first)).collect()
    });
    Ok(Report::new("many-partitions", args, measurements, verdict))
}

fn line(
    args: &ManyPartitionsArgs,
    topic: &str,
    count: u32,
    connections: u32,
    tell: Tell<'_>,
) -> Result<Measurement, BenchError> {
    let target = &args.target;
    let server = target.pid.map(ServerProcess::new);
    let resident = || server.map(|server| server.resident_bytes()).transpose();
    let plural = if count == 1 { "" } else { "s" };
    let name = format!("{} partition{plural}", with_commas(count.into()));
    tell(&format!("{name}: creating the topic"), 0.0);
    let payload = args.shape.payload()?;
    let before = resident()?;
    let begun = Instant::now();
    let leaders = admin::prepare_topic(&target.bootstrap, topic, count)?;
    let created = begun.elapsed();
    let after = resident()?;
    let plan = Plan {
        rate: args.rate,
        cpu: &target.cpu,
        server,
        ..args.shape.plan(topic, &leaders, &payload, args.timing, connections)
    };
    let measured = measure(&name, &plan, args.headroom.ceiling_s, tell);
    // Whatever became of the run, the topic goes; the run's own error is the one to tell.
    let deleted = admin::delete_topic(&target.bootstrap, topic);
    let mut one = measured?;
    deleted?;
    one.figures.push(created_in(created));
    if let Some((before, after)) = before.zip(after) {
        let grown = float(after.saturating_sub(before));
        let kib = grown / 1024.0 / f64::from(count);
        one.figures.push(Figure { name: "idle", value: kib, unit: "KiB of memory a partition" });
    }
    one.figures.extend(first_second(&one));
    Ok(one)
}

fn created_in(took: Duration) -> Figure {
    let value = took.as_secs_f64() * 1000.0;
    Figure { name: "created", value, unit: "ms until every partition has a leader" }
}

/// The first second by itself: partitions that are slow to open show there.
fn first_second(one: &Measurement) -> Vec<Figure> {
    let latency = one.produced.as_ref().and_then(|flow| flow.latency.as_ref());
    let Some(first) = latency.and_then(|latency| latency.by_second.first()) else {
        return Vec::new();
    };
    let within_s = one.counted_s.min(1.0);
    let mb = ratio(float(first.count) * float_of(one.batch_bytes) / 1e6, within_s);
    vec![
        Figure { name: "1st second", value: mb, unit: "MB/s" },
        Figure { name: "1st second", value: first.p99_us, unit: "us p99" },
    ]
}

fn verdict(one: &Measurement, first: &Measurement) -> String {
    let mb = |one: &Measurement| one.produced.as_ref().map_or(0.0, |flow| flow.mb_per_s);
    let p99 = |one: &Measurement| one.latency().map_or(0.0, |latency| latency.summary.p99_us);
    format!(
        "{}: {:.1} MB/s, {:.0} % of the first line's; p99 {}, {:.1} x the first line's.",
        one.name,
        mb(one),
        100.0 * ratio(mb(one), mb(first)),
        in_words(p99(one)),
        ratio(p99(one), p99(first))
    )
}
