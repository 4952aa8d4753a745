//! Latencies, recorded at a fixed precision and merged, never averaged.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies above this are counted as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Three digits: every value is right to a thousandth.
const DIGITS: u8 = 3;
/// For the latencies of each single second: right to a hundredth, in a tenth of the memory.
const SECOND_DIGITS: u8 = 2;
/// Seconds that are kept apart; what comes later is only in the whole.
const SECONDS_MAX: usize = 3600;

/// The latencies of one thread, or of all after merging. About 270 KiB; recording allocates
/// nothing, but for the first latency of each second.
#[derive(Debug, Clone)]
pub struct Latencies {
    whole: Histogram<u64>,
    seconds: Vec<Histogram<u64>>,
}

/// What a report says of latencies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Half were at least as fast.
    pub p50_us: f64,
    /// 90 of 100.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p99_9_us: f64,
    /// 9,999 of 10,000.
    pub p99_99_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// How many were recorded.
    pub count: u64,
}

/// The latencies of what was due in one second of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SecondSummary {
    /// Which second after the warm-up, from 0.
    pub second: usize,
    /// How many were due in it and succeeded.
    pub count: u64,
    /// Half were at least as fast.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// The slowest.
    pub max_us: f64,
}

/// Everything that is known of some latencies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencyReport {
    /// The usual percentiles.
    #[serde(flatten)]
    pub summary: LatencySummary,
    /// Second by second, by the time at which they were due.
    pub by_second: Vec<SecondSummary>,
    /// The whole histogram: upper bound of each filled bucket in microseconds, and its count.
    pub histogram_us: Vec<(f64, u64)>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { whole: histogram(DIGITS), seconds: Vec::new() }
    }
}

fn histogram(digits: u8) -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, digits)
        .expect("1 ns to 600 s with up to 3 digits are bounds that a histogram takes")
}

impl Latencies {
    /// Records one latency of something that was due `at` after the warm-up.
    pub fn record(&mut self, at: Duration, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX).max(1);
        self.whole.saturating_record(nanos);
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        if second < SECONDS_MAX {
            self.second(second).saturating_record(nanos);
        }
    }

    fn second(&mut self, second: usize) -> &mut Histogram<u64> {
        while self.seconds.len() <= second {
            self.seconds.push(histogram(SECOND_DIGITS));
        }
        &mut self.seconds[second]
    }

    /// Adds another thread's latencies to these.
    pub fn merge(&mut self, other: &Self) {
        let same = "both histograms have the same bounds";
        self.whole.add(&other.whole).expect(same);
        for (second, latencies) in other.seconds.iter().enumerate() {
            self.second(second).add(latencies).expect(same);
        }
    }

    /// The figures for people.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let at = |quantile| micros(self.whole.value_at_quantile(quantile));
        LatencySummary {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: micros(self.whole.max()),
            count: self.whole.len(),
        }
    }

    /// All figures.
    #[must_use]
    pub fn report(&self) -> LatencyReport {
        let second = |(second, one): (usize, &Histogram<u64>)| SecondSummary {
            second,
            count: one.len(),
            p50_us: micros(one.value_at_quantile(0.5)),
            p99_us: micros(one.value_at_quantile(0.99)),
            max_us: micros(one.max()),
        };
        let filled = self.whole.iter_recorded();
        LatencyReport {
            summary: self.summary(),
            by_second: self.seconds.iter().enumerate().map(second).collect(),
            histogram_us: filled
                .map(|step| (micros(step.value_iterated_to()), step.count_at_value()))
                .collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "600 s in nanoseconds are below 2^53")]
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() <= expected / 500.0
    }

    #[test]
    fn merged_histograms_give_the_percentiles_of_all_requests() {
        let mut fast = Latencies::default();
        let mut slow = Latencies::default();
        for _ in 0..990 {
            fast.record(Duration::ZERO, Duration::from_micros(100));
        }
        for _ in 0..10 {
            slow.record(Duration::from_millis(1500), Duration::from_millis(50));
        }
        fast.merge(&slow);
        let report = fast.report();
        let summary = report.summary;
        assert_eq!(summary.count, 1000);
        assert!(near(summary.p50_us, 100.0) && near(summary.p99_us, 100.0), "{summary:?}");
        assert!(near(summary.p99_9_us, 50_000.0) && near(summary.max_us, 50_000.0), "{summary:?}");
        let counts: Vec<_> = report.by_second.iter().map(|second| second.count).collect();
        assert_eq!(counts, [990, 10]);
        assert_eq!(report.histogram_us.iter().map(|(_, count)| count).sum::<u64>(), 1000);
    }

    #[test]
    fn nothing_recorded_gives_zeros_and_the_endless_is_capped() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary().count, 0);
        latencies.record(Duration::MAX, Duration::MAX);
        assert!(near(latencies.summary().max_us, 600_000_000.0));
        assert!(latencies.report().by_second.is_empty());
    }
}
