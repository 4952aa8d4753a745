//! `produce`, `produce-large` and `produce-small`: batches of one size into one topic, over a fixed
//! number of connections.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::floor::{self, against_floor};
use super::{Tell, latency_in_words, measure, with_commas};
use crate::admin;
use crate::args::{Acks, Headroom, Target, Timing, parse_rate};
use crate::error::BenchError;
use crate::load::payload::Payload;
use crate::load::{Leaders, Plan, Reading};
use crate::peer::floor::Ground;
use crate::report::Report;
use crate::report::measurement::{Figure, Measurement, ratio};
use crate::server_process::ServerProcess;

/// What is sent, and over what.
#[derive(Debug, Clone, Args, Serialize)]
pub struct Shape {
    /// Bytes of each record's value.
    #[arg(long, value_name = "BYTES", default_value = "1024",
          value_parser = clap::value_parser!(u32).range(0..=64 * 1024 * 1024))]
    pub record_size: u32,
    /// Bytes that a batch has at most; one record at least.
    #[arg(long, value_name = "BYTES", default_value = "65536",
          value_parser = clap::value_parser!(u32).range(1..=64 * 1024 * 1024))]
    pub batch_bytes: u32,
    /// Connections, spread evenly over the partitions; a line of the result for each number.
    #[arg(long, value_delimiter = ',', default_value = "4",
          value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: Vec<u32>,
    /// Requests in flight per connection.
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub depth: u32,
    /// Which copies are waited for.
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Threads that generate load.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
}

/// The settings of `produce`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct ProduceArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
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
    #[command(flatten)]
    #[serde(flatten)]
    /// The generator's own limit.
    pub headroom: Headroom,
    /// Run the floor before each line, with its file in this folder, and tell how much of it the
    /// server reaches: see `floor --help`. Fair on the server's disk, and with the server on the
    /// core that the load is not pinned to.
    #[arg(long, value_name = "FOLDER")]
    pub floor: Option<PathBuf>,
    /// What the floor writes on.
    #[arg(long, value_enum, default_value_t = Ground::Prewritten)]
    pub floor_ground: Ground,
}

impl Shape {
    /// The batch that is sent.
    ///
    /// # Errors
    ///
    /// [`BenchError::Batch`] if there is no such batch.
    pub fn payload(&self) -> Result<Payload, BenchError> {
        Payload::new(bytes(self.record_size), bytes(self.batch_bytes))
    }

    /// A closed loop over `connections` connections.
    #[must_use]
    pub fn plan<'a>(
        &'a self,
        topic: &'a str,
        leaders: &'a Leaders,
        payload: &'a Payload,
        timing: Timing,
        connections: u32,
    ) -> Plan<'a> {
        Plan {
            topic,
            leaders,
            payload,
            connections,
            depth: self.depth,
            acks: self.acks,
            rate: None,
            timing,
            threads: self.threads,
            cpu: &[],
            server: None,
            requests_max: None,
            reading: Reading::none(),
        }
    }

    /// What a line with `connections` connections is called.
    #[must_use]
    pub fn name(&self, connections: u32) -> String {
        let plural = if connections == 1 { "" } else { "s" };
        format!(
            "{} connection{plural} x {} in flight",
            with_commas(connections.into()),
            with_commas(self.depth.into())
        )
    }
}

/// A length of the command line; all are below 4 GiB.
pub(super) fn bytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Runs the scenario under the name `scenario`.
///
/// # Errors
///
/// A [`BenchError`] if a run could not be made or broke off. Error codes in answers are no error
/// here: the report has them.
pub fn run(
    scenario: &'static str,
    args: &ProduceArgs,
    tell: Tell<'_>,
) -> Result<Report, BenchError> {
    let ProduceArgs { target, shape, .. } = args;
    let payload = shape.payload()?;
    let leaders = admin::prepare_topic(&target.bootstrap, &target.topic, args.partitions)?;
    let (mut measurements, mut verdict) = (Vec::new(), Vec::new());
    for &connections in &shape.connections {
        let plan = Plan {
            rate: args.rate,
            cpu: &target.cpu,
            server: target.pid.map(ServerProcess::new),
            ..shape.plan(&target.topic, &leaders, &payload, args.timing, connections)
        };
        let name = shape.name(connections);
        let floor = floor_of(args, &name, &plan, tell)?;
        let mut one = measure(&name, &plan, args.headroom.ceiling_s, tell)?;
        verdict.push(in_words(&one));
        if let Some(floor) = floor {
            let share = share(&one, &floor);
            verdict.push(format!("{name}: {:.0} % of the floor's throughput.", share.value));
            one.figures.push(share);
            measurements.push(floor);
        }
        measurements.push(one);
    }
    Ok(Report::new(scenario, args, measurements, verdict))
}

/// The floor under a line, where one is asked for.
fn floor_of(
    args: &ProduceArgs,
    name: &str,
    plan: &Plan<'_>,
    tell: Tell<'_>,
) -> Result<Option<Measurement>, BenchError> {
    let Some(folder) = &args.floor else { return Ok(None) };
    let ground = args.floor_ground;
    let name = format!("{name}, the floor on {}", floor::in_words(ground));
    against_floor(&name, plan, folder, ground, None, tell).map(Some)
}

fn share(one: &Measurement, floor: &Measurement) -> Figure {
    let mb = |one: &Measurement| one.produced.as_ref().map_or(0.0, |flow| flow.mb_per_s);
    let value = 100.0 * ratio(mb(one), mb(floor));
    Figure { name: "floor", value, unit: "% of the floor's throughput" }
}

fn in_words(one: &Measurement) -> String {
    let (mb, requests) =
        one.produced.as_ref().map_or((0.0, 0.0), |flow| (flow.mb_per_s, flow.requests_per_s));
    format!(
        "{}: {mb:.1} MB/s in {requests:.0} requests/s; answers {}.",
        one.name,
        latency_in_words(one)
    )
}
