//! `connections`: what idle connections cost, and whether the active ones notice them.

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use super::produce::Shape;
use super::{Tell, in_words, measure, with_commas};
use crate::admin::{self, Server};
use crate::args::{Headroom, Target, Timing};
use crate::error::BenchError;
use crate::load::Plan;
use crate::report::Report;
use crate::report::measurement::{Figure, Measurement, float, float_of, ratio};
use crate::server_process::ServerProcess;

/// Files that this process needs beside the connections.
const OTHER_FILES: u64 = 64;

/// The settings of `connections`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct ConnectionsArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
    /// Partitions to write to.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: u32,
    /// Connections that have asked for metadata once and then do nothing.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub idle: u32,
    #[command(flatten)]
    #[serde(flatten)]
    /// What the active connections send.
    pub shape: Shape,
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
/// A [`BenchError`] if a run could not be made or broke off, also if an idle connection is dead at
/// the end.
pub fn run(args: &ConnectionsArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let target = &args.target;
    let active: u32 = args.shape.connections.iter().copied().max().unwrap_or(0);
    allow_open_files(u64::from(args.idle) + u64::from(active) + OTHER_FILES)?;
    let payload = args.shape.payload()?;
    let leaders = admin::prepare_topic(&target.bootstrap, &target.topic, args.partitions)?;
    let server = target.pid.map(ServerProcess::new);
    let resident = || server.map(|server| server.resident_bytes()).transpose();
    let plans = args.shape.connections.iter().map(|&connections| {
        let plan = args.shape.plan(&target.topic, &leaders, &payload, args.timing, connections);
        (args.shape.name(connections), Plan { cpu: &target.cpu, server, ..plan })
    });
    let plans: Vec<(String, Plan<'_>)> = plans.collect();

    let mut alone = Vec::new();
    for (name, plan) in &plans {
        alone.push(measure(&format!("{name}, alone"), plan, args.headroom.ceiling_s, tell)?);
    }
    let before = resident()?;
    let mut idle = open(args, tell)?;
    let after = resident()?;
    let mut beside = Vec::new();
    for (name, plan) in &plans {
        let name = format!("{name}, beside {} idle", with_commas(args.idle.into()));
        let mut one = measure(&name, plan, 0.0, tell)?;
        if let Some((before, after)) = before.zip(after) {
            let kib = float(after.saturating_sub(before)) / 1024.0 / float_of(idle.len());
            let unit = "KiB of memory an idle connection";
            one.figures.push(Figure { name: "idle", value: kib, unit });
        }
        beside.push(one);
    }
    for (number, connection) in idle.iter_mut().enumerate() {
        report_progress(tell, "asking on the idle connections again", number, args.idle);
        connection.metadata(&target.topic)?;
    }
    let verdict = alone.iter().zip(&beside).map(|(alone, beside)| verdict(alone, beside));
    let verdict = verdict.collect();
    let measurements = alone.into_iter().chain(beside).collect();
    Ok(Report::new("connections", args, measurements, verdict))
}

fn open(args: &ConnectionsArgs, tell: Tell<'_>) -> Result<Vec<Server>, BenchError> {
    let mut idle = Vec::new();
    for number in 0..super::produce::bytes(args.idle) {
        report_progress(tell, "opening the idle connections", number, args.idle);
        let mut connection = Server::connect(&args.target.bootstrap)?;
        connection.metadata(&args.target.topic)?;
        idle.push(connection);
    }
    Ok(idle)
}

fn report_progress(tell: Tell<'_>, what: &str, number: usize, all: u32) {
    if number.is_multiple_of(1000) {
        tell(what, ratio(float_of(number), all.into()));
    }
}

/// Raises this process's limit of open files as far as it may be raised.
fn allow_open_files(asked: u64) -> Result<(), BenchError> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= asked) {
        return Ok(());
    }
    if let Some(limit) = limit.maximum.filter(|&maximum| maximum < asked) {
        return Err(BenchError::OpenFiles { asked, limit });
    }
    limit.current = Some(asked);
    setrlimit(Resource::Nofile, limit).map_err(|error| BenchError::System {
        what: "raise the limit of open files",
        source: error.into(),
    })
}

fn verdict(alone: &Measurement, beside: &Measurement) -> String {
    let p99 = |one: &Measurement| one.latency().map_or(0.0, |latency| latency.summary.p99_us);
    format!(
        "{}: p99 {}, {:.2} x the {} without them.",
        beside.name,
        in_words(p99(beside)),
        ratio(p99(beside), p99(alone)),
        in_words(p99(alone))
    )
}
