//! `end-to-end`: single records at a fixed rate, from the moment each should have been sent to its
//! arrival at a consumer.

use clap::Args;
use serde::Serialize;

use super::tail::ReadArgs;
use super::{Tell, latency_in_words, measure, with_commas};
use crate::admin;
use crate::args::{Acks, Headroom, Target, Timing, parse_rate};
use crate::error::BenchError;
use crate::load::Plan;
use crate::load::payload::Payload;
use crate::report::Report;
use crate::report::measurement::Measurement;
use crate::scenario::produce::bytes;
use crate::server_process::ServerProcess;

/// The settings of `end-to-end`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct EndToEndArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
    /// Partitions to write to and to read from.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// Bytes of each record's value, of which 16 are the time.
    #[arg(long, value_name = "BYTES", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(16..=1024 * 1024))]
    pub record_size: u32,
    /// Records per second; a line of the result for each rate.
    #[arg(long, value_name = "RECORDS_PER_S", value_delimiter = ',', value_parser = parse_rate,
          default_value = "1000,5000,20000,50000")]
    pub rate: Vec<f64>,
    /// Requests in flight at most; what is due beyond that waits, and its latency grows.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub depth: u32,
    #[command(flatten)]
    #[serde(flatten)]
    /// How the consumer reads.
    pub read: ReadArgs,
    #[command(flatten)]
    #[serde(flatten)]
    /// For how long.
    pub timing: Timing,
    #[command(flatten)]
    #[serde(flatten)]
    /// The generator's own limit.
    pub headroom: Headroom,
}

/// Runs the scenario.
///
/// # Errors
///
/// A [`BenchError`] if a run could not be made or broke off, also if a batch was lost, repeated or
/// changed on its way to the consumer.
pub fn run(args: &EndToEndArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let target = &args.target;
    let leaders = admin::prepare_topic(&target.bootstrap, &target.topic, args.partitions)?;
    let mut measurements = Vec::new();
    for &rate in &args.rate {
        let payload = Payload::stamped(bytes(args.record_size), 1)?;
        let plan = Plan {
            topic: &target.topic,
            leaders: &leaders,
            payload: &payload,
            connections: 1,
            depth: args.depth,
            acks: Acks::All,
            rate: Some(rate),
            timing: args.timing,
            threads: 1,
            cpu: &target.cpu,
            server: target.pid.map(ServerProcess::new),
            requests_max: None,
            reading: args.read.at_the_tail(&target.topic, &leaders, 1)?,
        };
        let name = format!("{rate} records/s");
        measurements.push(measure(&name, &plan, args.headroom.ceiling_s, tell)?);
    }
    let verdict = measurements.iter().map(in_words).collect();
    Ok(Report::new("end-to-end", args, measurements, verdict))
}

fn in_words(one: &Measurement) -> String {
    let seen = one.latency().map_or(0, |latency| latency.summary.count);
    format!(
        "{}: {} records reached the consumer, {}.",
        one.name,
        with_commas(seen),
        latency_in_words(one)
    )
}
