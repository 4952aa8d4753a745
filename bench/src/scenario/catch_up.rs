//! `catch-up`: consumers that read a log from its beginning, alone and beside a producer.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::fill::{UNTIL_DONE, fill, records, whole};
use super::produce::bytes;
use super::tail::ReadArgs;
use super::{Tell, in_words, measure};
use crate::admin;
use crate::args::{Acks, Headroom, Target, Timing, parse_rate};
use crate::error::BenchError;
use crate::load::payload::Payload;
use crate::load::reader::Cursor;
use crate::load::{Leaders, Plan, Reading};
use crate::page_cache::evict;
use crate::report::Report;
use crate::report::measurement::{Measurement, ratio};
use crate::server_process::ServerProcess;

/// Producing connections beside the readers, each with one request in flight.
const PRODUCERS: u32 = 4;

/// The settings of `catch-up`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct CatchUpArgs {
    #[command(flatten)]
    #[serde(flatten)]
    /// The server.
    pub target: Target,
    /// Partitions of the log; readers share them out.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// Bytes of each record's value.
    #[arg(long, value_name = "BYTES", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(0..=64 * 1024 * 1024))]
    pub record_size: u32,
    /// Bytes that a batch has at most; one record at least.
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024,
          value_parser = clap::value_parser!(u32).range(1..=64 * 1024 * 1024))]
    pub batch_bytes: u32,
    /// MiB that the log has at least; what is missing is written first. More than all caches, for
    /// cold reads.
    #[arg(long, value_name = "MIB", default_value_t = 8192,
          value_parser = clap::value_parser!(u64).range(1..=16 * 1024 * 1024))]
    pub size_mib: u64,
    /// MiB at the end of the log that are read twice in a row; the second time is the warm line.
    #[arg(long, value_name = "MIB", default_value_t = 256,
          value_parser = clap::value_parser!(u64).range(0..=1024 * 1024))]
    pub warm_mib: u64,
    /// The server's data folder, if it is on this machine: the kernel is told to forget its files
    /// before each line that reads the whole log.
    #[arg(long, value_name = "FOLDER")]
    pub evict: Option<PathBuf>,
    /// Consumers; a line of the result for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,4",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub readers: Vec<u32>,
    /// Records per second of the producer beside the readers.
    #[arg(long, value_name = "RECORDS_PER_S", value_parser = parse_rate, default_value = "10000")]
    pub rate: f64,
    #[command(flatten)]
    #[serde(flatten)]
    /// How consumers read.
    pub read: ReadArgs,
    #[command(flatten)]
    #[serde(flatten)]
    /// For how long the producer runs alone.
    pub timing: Timing,
    #[command(flatten)]
    #[serde(flatten)]
    /// The generator's own limit.
    pub headroom: Headroom,
}

/// What all lines have in common.
struct Lines<'a> {
    args: &'a CatchUpArgs,
    leaders: Leaders,
    payload: Payload,
}

/// Runs the scenario.
///
/// # Errors
///
/// A [`BenchError`] if a run could not be made or broke off, also if a batch of the log is missing,
/// repeated or changed.
pub fn run(args: &CatchUpArgs, tell: Tell<'_>) -> Result<Report, BenchError> {
    let target = &args.target;
    let lines = Lines {
        args,
        leaders: admin::prepare_topic(&target.bootstrap, &target.topic, args.partitions)?,
        payload: Payload::new(bytes(args.record_size), bytes(args.batch_bytes))?,
    };
    let log = lines.log(tell)?;
    let mut measurements = Vec::new();
    if args.warm_mib > 0 {
        measurements.push(lines.warm(&log, tell)?);
    }
    for &readers in &args.readers {
        measurements.push(lines.read(&log, readers, 0, tell)?);
    }
    let alone = lines.plan(PRODUCERS, Reading::none(), args.timing);
    let alone = measure("the producer alone", &alone, args.headroom.ceiling_s, tell)?;
    let alone_p99_us = p99_us(&alone);
    measurements.push(alone);
    for &readers in &args.readers {
        measurements.push(lines.read(&log, readers, PRODUCERS, tell)?);
    }
    let verdict = measurements.iter().map(|one| verdict(one, alone_p99_us)).collect();
    Ok(Report::new("catch-up", args, measurements, verdict))
}

impl<'a> Lines<'a> {
    /// The log as it is at the start of all lines, written first where it is too short.
    fn log(&self, tell: Tell<'_>) -> Result<Vec<Cursor>, BenchError> {
        let topic = &self.args.target.topic;
        let log = whole(topic, &self.leaders)?;
        let missing = self.records_in(self.args.size_mib).saturating_sub(records(&log));
        if missing == 0 {
            return Ok(log);
        }
        let requests = missing.div_ceil(self.payload.records.into());
        fill(topic, &self.leaders, &self.payload, requests, &self.args.target.cpu, tell)?;
        whole(topic, &self.leaders)
    }

    /// How many records a log of `mib` MiB has.
    fn records_in(&self, mib: u64) -> u64 {
        let batch_bytes = u64::try_from(self.payload.bytes.len()).unwrap_or(u64::MAX);
        (mib * 1024 * 1024).div_ceil(batch_bytes).saturating_mul(self.payload.records.into())
    }

    fn plan(&self, connections: u32, reading: Reading, timing: Timing) -> Plan<'_> {
        let target = &self.args.target;
        Plan {
            topic: &target.topic,
            leaders: &self.leaders,
            payload: &self.payload,
            connections,
            depth: 1,
            acks: Acks::All,
            rate: (connections > 0).then_some(self.args.rate),
            timing,
            threads: 1,
            cpu: &target.cpu,
            server: target.pid.map(ServerProcess::new),
            requests_max: None,
            reading,
        }
    }

    /// The end of the log, for the second time.
    fn warm(&self, log: &[Cursor], tell: Tell<'_>) -> Result<Measurement, BenchError> {
        let each = self.records_in(self.args.warm_mib) / u64::from(self.args.partitions).max(1);
        let each = i64::try_from(each).unwrap_or(i64::MAX);
        let ends = log.iter().map(|cursor| {
            let start = cursor.end.saturating_sub(each).max(cursor.next);
            Cursor::new(cursor.partition, start, cursor.end)
        });
        let readers = vec![ends.collect::<Vec<_>>()];
        let plan = self.plan(0, self.args.read.reading(readers, true), UNTIL_DONE);
        measure("for the first time", &plan, 0.0, tell)?;
        measure("1 reader, warm", &plan, 0.0, tell)
    }

    /// The whole log, shared out among `readers` readers.
    fn read(
        &self,
        log: &[Cursor],
        readers: u32,
        producers: u32,
        tell: Tell<'_>,
    ) -> Result<Measurement, BenchError> {
        let mut shares = vec![Vec::new(); bytes(readers).min(log.len())];
        let count = shares.len().max(1);
        for (number, cursor) in log.iter().enumerate() {
            shares[number % count].push(*cursor);
        }
        let state = match &self.args.evict {
            Some(folder) => {
                evict(folder)?;
                "cold"
            }
            None => "as the server has it",
        };
        let plural = if readers == 1 { "" } else { "s" };
        let beside = if producers > 0 { ", beside a producer" } else { "" };
        let name = format!("{readers} reader{plural}, {state}{beside}");
        let plan = self.plan(producers, self.args.read.reading(shares, true), UNTIL_DONE);
        measure(&name, &plan, 0.0, tell)
    }
}

fn p99_us(one: &Measurement) -> f64 {
    let latency = one.produced.as_ref().and_then(|flow| flow.latency.as_ref());
    latency.map_or(0.0, |latency| latency.summary.p99_us)
}

fn verdict(one: &Measurement, alone_p99_us: f64) -> String {
    let read = one.fetched.as_ref().map(|flow| format!("{:.0} MB/s read", flow.mb_per_s));
    let produced = one.produced.as_ref().map(|_| {
        let p99_us = p99_us(one);
        let times = ratio(p99_us, alone_p99_us);
        format!(
            "99 of 100 produce requests answered within {}, {times:.1} x that of the producer alone",
            in_words(p99_us)
        )
    });
    let parts: Vec<String> = read.into_iter().chain(produced).collect();
    format!("{}: {}.", one.name, parts.join("; "))
}
