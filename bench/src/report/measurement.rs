//! One line of a result: what one run of load has found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::histogram::LatencyReport;
use crate::load::{Outcome, Plan};

/// A rate is kept from this share of it on.
const RATE_KEPT: f64 = 0.99;

/// What went through, one way.
#[derive(Debug, Clone, Serialize)]
pub struct Flow {
    /// MB (10^6 bytes) of batches per second.
    pub mb_per_s: f64,
    /// Answers per second.
    pub requests_per_s: f64,
    /// Records per second.
    pub records_per_s: f64,
    /// How long it took; `None` where nothing was timed.
    pub latency: Option<LatencyReport>,
}

/// What an open loop has made of its rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RateReport {
    /// Records per second that were due.
    pub asked_records_per_s: f64,
    /// Records acknowledged per record due.
    pub achieved: f64,
    /// Requests that were due but not sent by the end, because all the depth was in use.
    pub unsent: u64,
}

/// What must not happen. All counts are of the whole run, warm-up included.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Problems {
    /// Answers to produce requests with an error, by Kafka's error code.
    pub produce_errors: BTreeMap<i16, u64>,
    /// Fetched partitions with an error, by Kafka's error code.
    pub fetch_errors: BTreeMap<i16, u64>,
    /// Batches that were given offsets that another batch has.
    pub repeated_offsets: u64,
    /// Successful answers without an offset.
    pub missing_offsets: u64,
    /// Fetched batches that another producer has written meanwhile.
    pub foreign_batches: u64,
}

impl Problems {
    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What the server's process has used within the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ServerReport {
    /// Seconds of CPU time. The kernel counts in ticks of 10 ms, so short runs give rough figures.
    pub cpu_s: f64,
    /// Microseconds of all that CPU time per MB (10^6 bytes) of batches acknowledged.
    pub cpu_us_per_mb_produced: Option<f64>,
    /// Microseconds of all that CPU time per MB of batches fetched.
    pub cpu_us_per_mb_fetched: Option<f64>,
    /// Microseconds of all that CPU time per produce request acknowledged.
    pub cpu_us_per_request: Option<f64>,
    /// Bytes of memory at the end.
    pub resident_bytes: u64,
}

/// What the generator could do at most, with the same load and a peer that answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ceiling {
    /// Produce requests per second.
    pub requests_per_s: f64,
    /// This over what was measured or, with a rate, over what was asked.
    pub headroom: f64,
    /// Whether the peer had a core of its own. If not, the ceiling is lower than it could be.
    pub peer_has_own_core: bool,
}

/// The figure that stands for a server's CPU time where there is no server.
pub const FLOOR_CPU: &str = "floor CPU";

/// A figure that only this scenario has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
}

/// One line of a result.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What differs from the other lines, such as `64 connections`.
    pub name: String,
    /// Seconds that counted.
    pub counted_s: f64,
    /// Bytes of the batch that each request carried.
    pub batch_bytes: usize,
    /// Records in it.
    pub records_per_batch: u32,
    /// What was produced: from the moment a request was due to its answer.
    pub produced: Option<Flow>,
    /// What was fetched: from the moment a batch was due to be sent to its arrival at a reader.
    pub fetched: Option<Flow>,
    /// Whether the checksums of fetched batches were checked; `None` where nothing was fetched.
    pub checksums_checked: Option<bool>,
    /// `None` in a closed loop.
    pub rate: Option<RateReport>,
    /// What must not happen.
    pub problems: Problems,
    /// The server, where its process was named.
    pub server: Option<ServerReport>,
    /// How busy the load threads were, of their cores. An open loop waits without sleeping and so
    /// is always rather busy.
    pub generator_busy: f64,
    /// What the generator could do; `None` where it was not measured.
    pub ceiling: Option<Ceiling>,
    /// What only this scenario has.
    pub figures: Vec<Figure>,
}

impl Measurement {
    /// The figures of a finished run.
    #[must_use]
    pub fn new(name: impl Into<String>, plan: &Plan<'_>, outcome: &Outcome) -> Self {
        let Outcome { tally, server_cpu, server_resident_bytes } = outcome;
        let reads = &tally.reads;
        let counted_s = tally.counted.as_secs_f64();
        let per_s = |count: f64| ratio(count, counted_s);
        let answered = float(tally.answered);
        let (batch_bytes, records) = (plan.payload.bytes.len(), plan.payload.records);
        let produced_mb = answered * float_of(batch_bytes) / 1e6;
        let fetched_mb = float(reads.bytes) / 1e6;
        let timed = plan.payload.stamp.is_some() && plan.connections > 0;
        let produced = (plan.connections > 0).then(|| Flow {
            mb_per_s: per_s(produced_mb),
            requests_per_s: per_s(answered),
            records_per_s: per_s(answered * f64::from(records)),
            latency: Some(tally.latencies.report()),
        });
        let fetched = (!plan.reading.readers.is_empty()).then(|| Flow {
            mb_per_s: per_s(fetched_mb),
            requests_per_s: per_s(float(reads.fetches)),
            records_per_s: per_s(float(reads.records)),
            latency: timed.then(|| reads.latencies.report()),
        });
        let rate = plan.rate.zip(produced.as_ref()).map(|(asked, produced)| RateReport {
            asked_records_per_s: asked,
            achieved: produced.records_per_s / asked,
            unsent: tally.unsent,
        });
        let server = server_cpu.zip(*server_resident_bytes).map(|(used, resident_bytes)| {
            let micros = used.as_secs_f64() * 1e6;
            ServerReport {
                cpu_s: used.as_secs_f64(),
                cpu_us_per_mb_produced: quotient(micros, produced_mb),
                cpu_us_per_mb_fetched: quotient(micros, fetched_mb),
                cpu_us_per_request: quotient(micros, answered),
                resident_bytes,
            }
        });
        Self {
            name: name.into(),
            counted_s,
            batch_bytes,
            records_per_batch: records,
            produced,
            checksums_checked: fetched.as_ref().map(|_| plan.reading.checks_crc),
            fetched,
            rate,
            problems: Problems {
                produce_errors: tally.errors.clone(),
                fetch_errors: reads.errors.clone(),
                repeated_offsets: tally.repeated_offsets,
                missing_offsets: tally.missing_offsets,
                foreign_batches: reads.foreign_batches,
            },
            server,
            generator_busy: ratio(
                tally.generator_cpu.as_secs_f64(),
                tally.generator_wall.as_secs_f64(),
            ),
            ceiling: None,
            figures: Vec::new(),
        }
    }

    /// Whether it is of an open loop that the server kept up with, but for a hundredth.
    #[must_use]
    pub fn keeps_a_rate(&self) -> bool {
        self.rate.is_some_and(|rate| rate.achieved >= RATE_KEPT)
    }

    /// The latency that the line is about: end to end where that was timed, else of the answers.
    #[must_use]
    pub fn latency(&self) -> Option<&LatencyReport> {
        let of = |flow: &'_ Option<Flow>| flow.as_ref().is_some_and(|flow| flow.latency.is_some());
        let flow = if of(&self.fetched) { &self.fetched } else { &self.produced };
        flow.as_ref().and_then(|flow| flow.latency.as_ref())
    }
}

fn quotient(dividend: f64, divisor: f64) -> Option<f64> {
    (divisor > 0.0).then(|| dividend / divisor)
}

/// A quotient; 0 where there is nothing to divide by.
#[must_use]
pub fn ratio(dividend: f64, divisor: f64) -> f64 {
    if divisor > 0.0 { dividend / divisor } else { 0.0 }
}

/// A count as a figure.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a figure for people: 53 bits are enough")]
pub fn float(value: u64) -> f64 {
    value as f64
}

/// A length as a figure.
#[must_use]
pub fn float_of(value: usize) -> f64 {
    float(u64::try_from(value).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::args::{Acks, Timing};
    use crate::load::payload::Payload;
    use crate::load::tally::Tally;
    use crate::load::{Leaders, Reading};

    /// A second in which `answered` requests were answered, for 10 us of CPU time each.
    pub(crate) fn measurement(answered: u64) -> Measurement {
        let (leaders, payload) = (Leaders::new(), Payload::new(100, 1).unwrap());
        let plan = Plan {
            topic: "t",
            leaders: &leaders,
            payload: &payload,
            connections: 1,
            depth: 1,
            acks: Acks::All,
            rate: None,
            timing: Timing { duration: 1.0, warmup: 0.0 },
            threads: 1,
            cpu: &[],
            server: None,
            requests_max: None,
            reading: Reading::none(),
        };
        let mut tally = Tally::default();
        for micros in 1..=answered {
            tally.latencies.record(Duration::ZERO, Duration::from_micros(micros));
        }
        (tally.answered, tally.counted) = (answered, Duration::from_secs(1));
        let server_cpu = Some(Duration::from_micros(10 * answered));
        let outcome = Outcome { tally, server_cpu, server_resident_bytes: Some(1 << 20) };
        Measurement::new("a line", &plan, &outcome)
    }

    #[test]
    fn a_rate_is_kept_only_where_one_was_asked_for_and_reached() {
        let at = |achieved| RateReport { asked_records_per_s: 10.0, achieved, unsent: 0 };
        let with = |rate| Measurement { rate, ..measurement(1) };
        assert!(!with(None).keeps_a_rate());
        assert!(with(Some(at(0.995))).keeps_a_rate());
        assert!(!with(Some(at(0.4))).keeps_a_rate());
    }

    #[test]
    fn cpu_time_is_told_for_each_request_and_each_mb() {
        let one = measurement(200);
        let server = one.server.unwrap();
        assert_eq!(server.cpu_us_per_request, Some(10.0));
        let mb = float_of(one.batch_bytes) / 1e6;
        assert!((server.cpu_us_per_mb_produced.unwrap() * mb - 10.0).abs() < 1e-9);
    }
}
