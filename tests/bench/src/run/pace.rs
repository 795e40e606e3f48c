//! When operations are due: at once (a closed loop), or at fixed moments (an open one).
//!
//! In an open loop a thread of its own hands out a permit for every operation at the moment it is due.
//! A thread and not a timer of the runtime, whose milliseconds are too coarse: at 5000 operations a
//! second they would come in bursts of five.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// How operations follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Each lane sends the next as soon as it has the answer.
    Closed,
    /// So many a second, whatever the answers do.
    Open {
        /// Operations a second.
        rate: f64,
    },
}

/// The moments at which operations are due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    start: Instant,
    rate: f64,
}

impl Schedule {
    pub(crate) fn new(start: Instant, rate: f64) -> Self {
        Self { start, rate }
    }

    /// When the operation with this index is due. Computed from the start, so nothing adds up.
    pub(crate) fn due_at(&self, index: u64) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 operations")]
        let after = Duration::from_secs_f64(index as f64 / self.rate);
        self.start + after
    }

    /// How many of `count` operations are due by now.
    fn due_by(&self, now: Instant, count: u64) -> u64 {
        let since = now.saturating_duration_since(self.start).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        let due = (since * self.rate) as u64 + 1;
        due.min(count)
    }

    /// How many operations are due within a time.
    pub(crate) fn within(rate: f64, time: Duration) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        let count = (time.as_secs_f64() * rate).ceil() as u64;
        count.max(1)
    }

    /// Adds a permit for each of `count` operations when it is due, and `lanes` more at the end, so that
    /// every lane finds out that there is nothing left. Ends early once the semaphore is closed.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn release(self, count: u64, lanes: usize, permits: Arc<Semaphore>) -> std::io::Result<JoinHandle<()>> {
        let work = move || {
            let mut released = 0;
            while released < count && !permits.is_closed() {
                let due = self.due_by(Instant::now(), count);
                permits.add_permits(usize::try_from(due - released).unwrap_or_default());
                released = due;
                if released < count {
                    // It may wake early, and looks again.
                    std::thread::park_timeout(self.due_at(released).saturating_duration_since(Instant::now()));
                }
            }
            permits.add_permits(lanes);
        };
        std::thread::Builder::new().name("pace".to_owned()).spawn(work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_do_not_drift() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 3000.0);
        assert_eq!(schedule.due_at(0), start);
        assert_eq!(schedule.due_at(3000), start + Duration::from_secs(1));
        assert_eq!(schedule.due_at(9_000_000), start + Duration::from_secs(3000));
    }

    #[test]
    fn what_is_due_counts_what_was_missed() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100.0);
        let at = |milliseconds| schedule.due_by(start + Duration::from_millis(milliseconds), 50);
        assert_eq!(at(0), 1, "the first is due at once");
        assert_eq!(at(9), 1);
        assert_eq!(at(105), 11);
        assert_eq!(at(60_000), 50, "no more than there are");
        assert_eq!(Schedule::within(100.0, Duration::from_millis(250)), 25);
        assert_eq!(Schedule::within(0.5, Duration::from_millis(250)), 1);
    }

    #[test]
    fn every_operation_gets_its_permit() {
        let permits = Arc::new(Semaphore::new(0));
        let schedule = Schedule::new(Instant::now(), 1e6);
        schedule.release(1000, 7, Arc::clone(&permits)).unwrap().join().unwrap();
        assert_eq!(permits.available_permits(), 1007);
    }
}
