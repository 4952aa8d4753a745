//! What a scenario has found, as text, as JSON and as an HTML page.

pub mod comparison;
pub mod device;
pub mod environment;
pub mod html;
pub mod measurement;

use std::fmt;

use serde::Serialize;

use self::comparison::Comparison;
use self::device::DeviceReport;
use self::environment::Environment;
use self::measurement::{Figure, Flow, Measurement, Problems};

/// The result of a scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: &'static str,
    /// What was asked for.
    pub settings: serde_json::Value,
    /// Where and with what.
    pub environment: Environment,
    /// The lines.
    pub measurements: Vec<Measurement>,
    /// What a person should take away, a sentence each.
    pub verdict: Vec<String>,
    /// The lines of several servers beside each other, where servers were compared; such a report
    /// has them here alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// What the bare device does, where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceReport>,
}

impl Report {
    /// A report of `measurements`, with the sentences that hold for every scenario added to
    /// `verdict`.
    #[must_use]
    pub fn new(
        scenario: &'static str,
        settings: &impl Serialize,
        measurements: Vec<Measurement>,
        mut verdict: Vec<String>,
    ) -> Self {
        let environment = Environment::detect();
        verdict.extend(measurements.iter().filter_map(little_headroom));
        verdict.extend(measurements.iter().filter_map(rate_missed));
        if environment.debug_build {
            verdict.push("This is a debug build of the generator: no figure of it counts.".into());
        }
        // Settings are plain structures, which JSON always takes.
        let settings = serde_json::to_value(settings).unwrap_or_default();
        let (comparison, device) = (None, None);
        Self { scenario, settings, environment, measurements, verdict, comparison, device }
    }

    /// The report of a comparison. What holds of single lines is not told of each: their ratios are
    /// what counts, and JSON has the lines.
    #[must_use]
    pub fn of_comparison(
        settings: &impl Serialize,
        comparison: Comparison,
        mut verdict: Vec<String>,
    ) -> Self {
        verdict.extend(comparison.runs.iter().filter_map(|run| {
            let name = comparison.contenders.get(run.contender).map_or("", |one| &one.name);
            let told = little_headroom(&run.measurement).or(rate_missed(&run.measurement))?;
            Some(format!("{name}, {}, round {}: {told}", run.scenario, run.round))
        }));
        let comparison = Some(comparison);
        Self { comparison, ..Self::new("compare", settings, Vec::new(), verdict) }
    }

    /// The report of a bare device.
    #[must_use]
    pub fn of_device(
        settings: &impl Serialize,
        device: DeviceReport,
        verdict: Vec<String>,
    ) -> Self {
        let device = Some(device);
        Self { device, ..Self::new("device", settings, Vec::new(), verdict) }
    }

    /// Whether the server did what it promised: no errors, every batch with offsets of its own.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let compared = self.comparison.iter().flat_map(|comparison| &comparison.runs);
        let compared = compared.map(|run| &run.measurement);
        self.measurements.iter().chain(compared).all(|one| one.problems.is_empty())
    }
}

fn little_headroom(one: &Measurement) -> Option<String> {
    let ceiling = one.ceiling.filter(|ceiling| ceiling.headroom < 1.5)?;
    let shared = if ceiling.peer_has_own_core { "" } else { ", sharing its core with its peer," };
    Some(format!(
        "{}: the generator{shared} had a headroom of {:.1} x only, so this may be its own limit.",
        one.name, ceiling.headroom
    ))
}

fn rate_missed(one: &Measurement) -> Option<String> {
    let rate = one.rate.filter(|_| !one.keeps_a_rate())?;
    Some(format!(
        "{}: the rate was not held ({:.1} % of it), so latencies are those of a growing queue.",
        one.name,
        rate.achieved * 100.0
    ))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment: here, .. } = self;
        writeln!(f, "{} {}", self.scenario, self.settings)?;
        writeln!(
            f,
            "load from {}, {} cores, Linux {} | ringlog-bench {} ({})",
            here.processor, here.cores, here.kernel, here.version, here.commit
        )?;
        for one in &self.measurements {
            write!(f, "\n{one}")?;
        }
        if let Some(comparison) = &self.comparison {
            write!(f, "\n{comparison}")?;
        }
        if let Some(device) = &self.device {
            write!(f, "\n{device}")?;
        }
        writeln!(f)?;
        for sentence in &self.verdict {
            writeln!(f, "{sentence}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name)?;
        if let Some(produced) = &self.produced {
            flow(f, "produced", produced)?;
        }
        if let Some(fetched) = &self.fetched {
            flow(f, "fetched", fetched)?;
        }
        if self.checksums_checked == Some(false) {
            writeln!(f, "  NOT CHECKED the checksums of fetched batches, as was asked")?;
        }
        if let Some(rate) = self.rate {
            writeln!(
                f,
                "  rate        {:.1} % of {:.0} records/s asked, {} requests never sent",
                rate.achieved * 100.0,
                rate.asked_records_per_s,
                rate.unsent
            )?;
        }
        if let Some(server) = self.server {
            write!(f, "  server      {:.2} s of CPU time", server.cpu_s)?;
            let costs = [
                ("us/MB produced", server.cpu_us_per_mb_produced),
                ("us/request", server.cpu_us_per_request),
                ("us/MB fetched", server.cpu_us_per_mb_fetched),
            ];
            for (unit, cost) in costs {
                if let Some(cost) = cost {
                    write!(f, ", {cost:.1} {unit}")?;
                }
            }
            let resident = measurement::float(server.resident_bytes) / f64::from(1 << 20);
            writeln!(f, "; {resident:.0} MiB of memory")?;
        }
        for Figure { name, value, unit } in &self.figures {
            writeln!(f, "  {name:<11} {value:.1} {unit}")?;
        }
        write!(f, "  generator   {:.0} % busy", self.generator_busy * 100.0)?;
        if let Some(ceiling) = self.ceiling {
            write!(
                f,
                ", ceiling {:.0} requests/s{}: headroom {:.1} x",
                ceiling.requests_per_s,
                if ceiling.peer_has_own_core { "" } else { " with its peer on the same core" },
                ceiling.headroom
            )?;
        }
        writeln!(f)?;
        write!(f, "{}", self.problems)
    }
}

fn flow(f: &mut fmt::Formatter<'_>, name: &str, flow: &Flow) -> fmt::Result {
    let Flow { mb_per_s, requests_per_s, records_per_s, latency } = flow;
    writeln!(
        f,
        "  {name:<11} {mb_per_s:.1} MB/s, {requests_per_s:.0} requests/s, \
         {records_per_s:.0} records/s"
    )?;
    let Some(latency) = latency.as_ref().map(|latency| latency.summary) else { return Ok(()) };
    writeln!(
        f,
        "  {:<11} p50 {:.0} us, p90 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, p99.99 {:.0} us, \
         max {:.0} us",
        "  latency",
        latency.p50_us,
        latency.p90_us,
        latency.p99_us,
        latency.p99_9_us,
        latency.p99_99_us,
        latency.max_us
    )
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, errors) in [("produce", &self.produce_errors), ("fetch", &self.fetch_errors)] {
            for (code, count) in errors {
                writeln!(f, "  ERRORS      {count} {what} answers with Kafka error code {code}")?;
            }
        }
        if self.repeated_offsets + self.missing_offsets > 0 {
            writeln!(
                f,
                "  OFFSETS     {} batches got offsets of others, {} got none",
                self.repeated_offsets, self.missing_offsets
            )?;
        }
        if self.foreign_batches > 0 {
            writeln!(f, "  FOREIGN     {} batches of other producers", self.foreign_batches)?;
        }
        Ok(())
    }
}
