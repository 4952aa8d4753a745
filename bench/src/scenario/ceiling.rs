//! `ceiling`: the generator against a peer that answers at once.

use clap::Args;
use serde::Serialize;

use super::produce::Shape;
use super::{Tell, against_instant_peer};
use crate::args::Timing;
use crate::error::BenchError;
use crate::load::{Leaders, Plan};
use crate::report::Report;
use crate::report::measurement::Measurement;

const TOPIC: &str = "ringlog-bench";

/// The settings of `ceiling`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct CeilingArgs {
    /// Partitions to write to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: u32,
    #[command(flatten)]
    #[serde(flatten)]
    /// What is sent.
    pub shape: Shape,
    #[command(flatten)]
    #[serde(flatten)]
    /// For how long.
    pub timing: Timing,
    /// Cores that the load threads are pinned to, in turn; the peer gets another one.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
}

/// Runs the scenario.
///
/// # Errors
///
/// A [`BenchError`] if a run could not be made or broke off.
pub fn run(args: &CeilingArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let payload = args.shape.payload()?;
    let partitions = i32::try_from(args.partitions).unwrap_or(i32::MAX);
    // The peer's address takes the place of these.
    let leaders: Leaders = (0..partitions).map(|partition| (partition, String::new())).collect();
    let (mut measurements, mut verdict) = (Vec::new(), Vec::new());
    for &connections in &args.shape.connections {
        let plan = Plan {
            cpu: &args.cpu,
            ..args.shape.plan(TOPIC, &leaders, &payload, args.timing, connections)
        };
        let name = args.shape.name(connections);
        tell(&name, 0.0);
        let against = against_instant_peer(&plan, args.timing, &mut |over| tell(&name, over))?;
        let one = Measurement::new(name, &plan, &against.outcome);
        verdict.push(in_words(&one, &against.requests_per_s(), against.peer_has_own_core));
        measurements.push(one);
    }
    Ok(Report::new("ceiling", args, measurements, verdict))
}

fn in_words(one: &Measurement, requests_per_s: &f64, peer_has_own_core: bool) -> String {
    let mb = one.produced.as_ref().map_or(0.0, |flow| flow.mb_per_s);
    let limit = if !peer_has_own_core {
        "It shared its core with the peer, so it can do more than that."
    } else if one.generator_busy > 0.9 {
        "It was busy all the time: that is its limit."
    } else {
        "It had time left: the limit was the peer's, and the generator's lies higher."
    };
    format!(
        "{}: the generator reaches {requests_per_s:.0} requests/s, {mb:.1} MB/s. {limit}",
        one.name
    )
}
