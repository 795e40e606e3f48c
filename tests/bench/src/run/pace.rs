//! When operations are due: at once (a closed loop), or at fixed moments (an open one).
//!
//! In an open loop a thread of its own hands out a permit for every operation at the moment it is due.
//! A thread and not a timer of the runtime, whose milliseconds are too coarse: at 5000 operations a
//! second they would come in bursts of five.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// The operations of an open loop that are due, and how many there will be.
#[derive(Debug)]
pub(crate) struct Due {
    permits: Semaphore,
    count: AtomicU64,
    stopped: AtomicBool,
}

impl Due {
    /// None yet, of `count`.
    pub(crate) fn none_of(count: u64) -> Self {
        Self { permits: Semaphore::new(0), count: AtomicU64::new(count), stopped: AtomicBool::new(false) }
    }

    /// How many there are in all. It falls at most once, to what was due when the loop was stopped, and before any
    /// permit is given that would be too many.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until one more is due, or there are no more.
    pub(crate) async fn next(&self) {
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }

    /// Nothing is due from now on. Takes effect when the thread of [`Schedule::release`] is unparked.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Nobody waits any more.
    pub(crate) fn close(&self) {
        self.permits.close();
    }
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

    /// Adds a permit for each operation when it is due, and `lanes` more at the end, so that every lane finds out
    /// that there is nothing left. Ends early once it is stopped or closed.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn release(self, lanes: usize, due: Arc<Due>) -> std::io::Result<JoinHandle<()>> {
        let work = move || {
            let count = due.count();
            let mut released = 0;
            while released < count && !due.permits.is_closed() {
                // Looked at first: what was due before a stop is released after it, so that a stall does not end with it.
                let stopped = due.stopped.load(Ordering::Acquire);
                let by_now = self.due_by(Instant::now(), count);
                due.permits.add_permits(usize::try_from(by_now - released).unwrap_or_default());
                released = by_now;
                if stopped {
                    due.count.store(released, Ordering::Release);
                    break;
                }
                if released < count {
                    // It may wake early, and looks again.
                    std::thread::park_timeout(self.due_at(released).saturating_duration_since(Instant::now()));
                }
            }
            due.permits.add_permits(lanes);
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
        let due = Arc::new(Due::none_of(1000));
        let schedule = Schedule::new(Instant::now(), 1e6);
        schedule.release(7, Arc::clone(&due)).unwrap().join().unwrap();
        assert_eq!(due.permits.available_permits(), 1007);
        assert_eq!(due.count(), 1000);
    }

    #[test]
    fn a_stop_leaves_what_was_due() {
        let due = Arc::new(Due::none_of(1_000_000));
        let began = Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
        due.stop();
        Schedule::new(began, 10.0).release(3, Arc::clone(&due)).unwrap().join().unwrap();
        let count = due.count();
        assert!((21..1_000_000).contains(&count), "{count}");
        assert_eq!(due.permits.available_permits() as u64, count + 3);
    }
}
