//! `tail-fanout`: one producer at a fixed rate, and many consumers that each read all of it.

use clap::Args;
use serde::Serialize;

use super::produce::bytes;
use super::tail::ReadArgs;
use super::{Tell, latency_in_words, measure};
use crate::admin;
use crate::args::{Acks, Headroom, Target, Timing, parse_rate};
use crate::error::BenchError;
use crate::load::Plan;
use crate::load::payload::Payload;
use crate::report::Report;
use crate::report::measurement::Measurement;
use crate::server_process::ServerProcess;

/// The settings of `tail-fanout`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct TailFanoutArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
    /// Partitions to write to and to read from.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// Bytes of each record's value.
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(16..=64 * 1024 * 1024))]
    pub record_size: u32,
    /// Bytes that a batch has at most; one record at least.
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024,
          value_parser = clap::value_parser!(u32).range(1..=64 * 1024 * 1024))]
    pub batch_bytes: u32,
    /// Records per second that the producer sends: about 50 MB/s with the other defaults.
    #[arg(long, value_name = "RECORDS_PER_S", value_parser = parse_rate, default_value = "50000")]
    pub rate: f64,
    /// Requests of the producer in flight at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub depth: u32,
    /// Consumers; a line of the result for each number.
    #[arg(long, value_delimiter = ',', default_value = "4,8",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub readers: Vec<u32>,
    #[command(flatten)]
    #[serde(flatten)]
    /// How consumers read.
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
/// changed on its way to a consumer.
pub fn run(args: &TailFanoutArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let target = &args.target;
    let leaders = admin::prepare_topic(&target.bootstrap, &target.topic, args.partitions)?;
    let mut measurements = Vec::new();
    for &readers in &args.readers {
        let payload = Payload::stamped(bytes(args.record_size), bytes(args.batch_bytes))?;
        let plan = Plan {
            topic: &target.topic,
            leaders: &leaders,
            payload: &payload,
            connections: 1,
            depth: args.depth,
            acks: Acks::All,
            rate: Some(args.rate),
            timing: args.timing,
            threads: 1,
            cpu: &target.cpu,
            server: target.pid.map(ServerProcess::new),
            requests_max: None,
            reading: args.read.at_the_tail(&target.topic, &leaders, readers)?,
        };
        let name = format!("{readers} readers");
        measurements.push(measure(&name, &plan, args.headroom.ceiling_s, tell)?);
    }
    let verdict = measurements.iter().map(in_words).collect();
    Ok(Report::new("tail-fanout", args, measurements, verdict))
}

fn in_words(one: &Measurement) -> String {
    let rate = |flow: Option<&crate::report::measurement::Flow>| flow.map_or(0.0, |f| f.mb_per_s);
    let cost = one.server.and_then(|server| server.cpu_us_per_mb_fetched);
    let cost = cost.map_or_else(String::new, |cost| format!(" for {cost:.0} us of CPU time a MB"));
    format!(
        "{}: {:.1} MB/s in, {:.1} MB/s out{cost}; batches arrived {}.",
        one.name,
        rate(one.produced.as_ref()),
        rate(one.fetched.as_ref()),
        latency_in_words(one)
    )
}
