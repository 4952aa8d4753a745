//! What a run has found, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::histogram::LatencySummary;
use crate::produce::ProduceArgs;
use crate::worker::Tally;

/// The server's CPU time within the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServerCpuReport {
    /// Seconds of CPU time.
    pub used_s: f64,
    /// Microseconds per MB (10^6 bytes) of batches acknowledged.
    pub us_per_mb: f64,
    /// Microseconds per request acknowledged.
    pub us_per_request: f64,
}

impl ServerCpuReport {
    /// `used` over what was acknowledged in the same time. The kernel counts in ticks of 10 ms, so
    /// short runs give rough figures.
    #[must_use]
    pub fn new(used: Duration, tally: &Tally, batch_bytes: usize) -> Self {
        let requests = float(tally.answered);
        let megabytes = requests * float_of(batch_bytes) / 1e6;
        let micros = used.as_secs_f64() * 1e6;
        Self {
            used_s: used.as_secs_f64(),
            us_per_mb: ratio(micros, megabytes),
            us_per_request: ratio(micros, requests),
        }
    }
}

/// The result of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was asked for.
    pub settings: ProduceArgs,
    /// Bytes of the batch that each request carried.
    pub batch_bytes: usize,
    /// Records in it.
    pub records_per_batch: u32,
    /// Batches acknowledged within the window, in MB (10^6 bytes) per second.
    pub mb_per_s: f64,
    /// Requests acknowledged per second.
    pub requests_per_s: f64,
    /// Records acknowledged per second.
    pub records_per_s: f64,
    /// Records acknowledged per record asked for; `None` in a closed loop.
    pub achieved: Option<f64>,
    /// Requests that were due but not sent by the end, because all the depth was in use.
    pub unsent: u64,
    /// From the moment a request was due to its answer.
    pub latency: LatencySummary,
    /// Answers with an error, by Kafka's error code.
    pub errors: BTreeMap<i16, u64>,
    /// Batches that were given offsets that another batch has.
    pub repeated_offsets: u64,
    /// Successful answers without an offset.
    pub missing_offsets: u64,
    /// The server's CPU time, where its process was named.
    pub server_cpu: Option<ServerCpuReport>,
}

impl Report {
    /// The figures of a finished run.
    #[must_use]
    pub fn new(
        settings: &ProduceArgs,
        tally: &Tally,
        batch_bytes: usize,
        records_per_batch: u32,
        server_cpu: Option<ServerCpuReport>,
    ) -> Self {
        let requests_per_s = float(tally.answered) / float(settings.duration);
        let records_per_s = requests_per_s * f64::from(records_per_batch);
        Self {
            settings: settings.clone(),
            batch_bytes,
            records_per_batch,
            mb_per_s: requests_per_s * float_of(batch_bytes) / 1e6,
            requests_per_s,
            records_per_s,
            achieved: settings.rate.map(|rate| records_per_s / rate),
            unsent: tally.unsent,
            latency: tally.latencies.summary(),
            errors: tally.errors.clone(),
            repeated_offsets: tally.repeated_offsets,
            missing_offsets: tally.missing_offsets,
            server_cpu,
        }
    }

    /// Whether the server did what it promised: no errors, every batch with offsets of its own.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.repeated_offsets == 0 && self.missing_offsets == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, latency, .. } = self;
        writeln!(
            f,
            "settings    {} | topic {} x {} partitions | {} connections x {} in flight, acks {} | \
             {} records of {} bytes in {} byte batches | {} s after {} s of warm-up",
            settings.bootstrap,
            settings.topic,
            settings.partitions,
            settings.connections,
            settings.depth,
            serde_json::to_string(&settings.acks).unwrap_or_default().trim_matches('"'),
            self.records_per_batch,
            settings.record_size,
            self.batch_bytes,
            settings.duration,
            settings.warmup,
        )?;
        writeln!(
            f,
            "throughput  {:.1} MB/s, {:.0} requests/s, {:.0} records/s",
            self.mb_per_s, self.requests_per_s, self.records_per_s
        )?;
        if let (Some(achieved), Some(rate)) = (self.achieved, settings.rate) {
            writeln!(
                f,
                "rate        {:.1} % of {rate:.0} records/s asked, {} requests never sent",
                achieved * 100.0,
                self.unsent
            )?;
        }
        writeln!(
            f,
            "latency     p50 {:.0} us, p90 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, max {:.0} us",
            latency.p50_us, latency.p90_us, latency.p99_us, latency.p99_9_us, latency.max_us
        )?;
        if let Some(cpu) = self.server_cpu {
            writeln!(
                f,
                "server CPU  {:.0} us/MB, {:.1} us/request ({:.2} s)",
                cpu.us_per_mb, cpu.us_per_request, cpu.used_s
            )?;
        }
        for (code, count) in &self.errors {
            writeln!(f, "errors      {count} answers with Kafka error code {code}")?;
        }
        if self.repeated_offsets + self.missing_offsets > 0 {
            writeln!(
                f,
                "OFFSETS     {} batches got offsets of others, {} got none",
                self.repeated_offsets, self.missing_offsets
            )?;
        }
        Ok(())
    }
}

fn ratio(dividend: f64, divisor: f64) -> f64 {
    if divisor > 0.0 { dividend / divisor } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits are enough")]
fn float(value: u64) -> f64 {
    value as f64
}

fn float_of(value: usize) -> f64 {
    float(u64::try_from(value).unwrap_or(u64::MAX))
}
