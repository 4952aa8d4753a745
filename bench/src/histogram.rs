//! Latencies, recorded at a fixed precision and merged, never averaged.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies above this are counted as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Three digits: every value is right to a thousandth.
const DIGITS: u8 = 3;

/// The latencies of one thread, or of all after merging. About 270 KiB; recording allocates
/// nothing.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

/// What a report says of latencies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Half of the requests were at least as fast.
    pub p50_us: f64,
    /// 90 of 100.
    pub p90_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p99_9_us: f64,
    /// The slowest.
    pub max_us: f64,
    /// How many were recorded.
    pub count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS)
            .expect("1 ns to 600 s with 3 digits are bounds that a histogram takes");
        Self { histogram }
    }
}

impl Latencies {
    /// Records one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX);
        self.histogram.saturating_record(nanos.max(1));
    }

    /// Adds another thread's latencies to these.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("both histograms have the same bounds");
    }

    /// The figures for a report.
    #[must_use]
    pub fn summary(&self) -> LatencySummary {
        let at = |quantile| micros(self.histogram.value_at_quantile(quantile));
        LatencySummary {
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: micros(self.histogram.max()),
            count: self.histogram.len(),
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
            fast.record(Duration::from_micros(100));
        }
        for _ in 0..10 {
            slow.record(Duration::from_millis(50));
        }
        fast.merge(&slow);
        let summary = fast.summary();
        assert_eq!(summary.count, 1000);
        assert!(near(summary.p50_us, 100.0) && near(summary.p99_us, 100.0), "{summary:?}");
        assert!(near(summary.p99_9_us, 50_000.0) && near(summary.max_us, 50_000.0), "{summary:?}");
    }

    #[test]
    fn nothing_recorded_gives_zeros_and_the_endless_is_capped() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary().count, 0);
        latencies.record(Duration::MAX);
        assert!(near(latencies.summary().max_us, 600_000_000.0));
    }
}
