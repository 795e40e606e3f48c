//! The same inserts as the throughput scenario, offered at a steady rate.
//!
//! A closed loop hides a stall: while the server stands still nothing is sent, so one slow answer is
//! counted where a hundred users would have waited. Here requests are due at fixed moments, whatever
//! became of those before, and their latency counts from the moment they were due.

/// The part of the saturated rate that is offered where none is asked for: far enough below it that a
/// queue means a stall and not a lack of capacity.
const SHARE_OF_SATURATION: f64 = 0.5;

/// Requests a second to offer.
pub(crate) fn rate_offered(asked_for: Option<f64>, saturated: f64) -> f64 {
    asked_for.unwrap_or(saturated * SHARE_OF_SATURATION).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_saturation_unless_asked_for() {
        let close = |left: f64, right: f64| (left - right).abs() < 1e-9;
        assert!(close(rate_offered(None, 5000.0), 2500.0));
        assert!(close(rate_offered(Some(300.0), 5000.0), 300.0));
        assert!(close(rate_offered(None, 0.1), 1.0), "never so low that it does not end");
    }
}
