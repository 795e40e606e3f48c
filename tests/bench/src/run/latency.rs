//! How long operations took, as a histogram with three significant digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Nanoseconds, each within a thousandth.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: Histogram::new(3).expect("three digits are within what a histogram takes") }
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, took: Duration) {
        // It grows as needed, so nothing that a clock can tell is refused.
        let _ = self.histogram.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Those of another lane too.
    pub(crate) fn add(&mut self, other: &Self) {
        // An auto-resizing histogram takes every other of the same precision.
        let _ = self.histogram.add(&other.histogram);
    }

    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many took at least this long, within the precision.
    #[cfg(test)]
    pub(crate) fn at_least(&self, bound: Duration) -> u64 {
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.iter_recorded().filter(|v| v.value_iterated_to() >= bound).map(|v| v.count_at_value()).sum()
    }

    /// `None` where nothing was recorded.
    pub(crate) fn summary(&self) -> Option<Summary> {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let at = |quantile: f64| milliseconds(self.histogram.value_at_quantile(quantile));
        (self.count() > 0).then(|| Summary {
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            max: milliseconds(self.histogram.max()),
            mean: self.histogram.mean() / 1e6,
        })
    }
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) p50: f64,
    pub(crate) p95: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) mean: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 0.002
    }

    #[test]
    fn percentiles_of_a_known_series() {
        let mut latencies = Latencies::default();
        for number in 1..=1000 {
            latencies.record(Duration::from_millis(number));
        }
        let summary = latencies.summary().unwrap();
        assert!(close(summary.p50, 500.0), "{summary:?}");
        assert!(close(summary.p95, 950.0), "{summary:?}");
        assert!(close(summary.p99, 990.0), "{summary:?}");
        assert!(close(summary.max, 1000.0), "{summary:?}");
        assert!(close(summary.mean, 500.5), "{summary:?}");
    }

    #[test]
    fn one_slow_operation_shows_at_the_end_only() {
        let mut latencies = Latencies::default();
        for _ in 0..199 {
            latencies.record(Duration::from_micros(200));
        }
        latencies.record(Duration::from_hours(2));
        let summary = latencies.summary().unwrap();
        assert!(close(summary.p99, 0.2), "{summary:?}");
        assert!(close(summary.max, 7_200_000.0), "{summary:?}");
    }

    #[test]
    fn lanes_are_added_up() {
        let (mut one, mut two) = (Latencies::default(), Latencies::default());
        one.record(Duration::from_millis(1));
        two.record(Duration::from_mins(10));
        two.record(Duration::ZERO);
        one.add(&two);
        assert_eq!(one.count(), 3);
        assert_eq!(one.at_least(Duration::from_secs(1)), 1);
        assert!(close(one.summary().unwrap().max, 600_000.0));
        assert_eq!(Latencies::default().summary(), None);
    }
}
