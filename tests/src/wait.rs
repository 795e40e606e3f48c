//! Waiting for conditions, and names nobody else uses.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Polls `condition` until it gives a value; panics with `what` after `limit`.
pub async fn eventually<T>(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
    }
}

/// Seconds since 1970, for the claims of tokens.
#[must_use]
pub fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An identifier nobody else uses: `prefix` and 12 random hex digits.
#[must_use]
pub fn unique(prefix: &str) -> String {
    format!("{prefix}_{:012x}", rand::random::<u64>() >> 16)
}
