//! How often something may be restarted.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// At most `restarts` in any `window`; each waits twice as long as the one before.
#[derive(Debug, Clone)]
pub struct RestartBudget {
    restarts: usize,
    window: Duration,
    first_delay: Duration,
    spent: VecDeque<Instant>,
}

impl RestartBudget {
    /// A full one.
    #[must_use]
    pub fn new(restarts: usize, window: Duration, first_delay: Duration) -> Self {
        Self { restarts, window, first_delay, spent: VecDeque::new() }
    }

    /// Takes one restart: how long to wait before it, or none when the budget is spent. The window slides;
    /// success resets nothing.
    pub fn spend(&mut self, now: Instant) -> Option<Duration> {
        while self.spent.front().is_some_and(|at| now.duration_since(*at) > self.window) {
            self.spent.pop_front();
        }
        if self.spent.len() >= self.restarts {
            return None;
        }
        let doublings = u32::try_from(self.spent.len()).unwrap_or(u32::MAX).min(16);
        self.spent.push_back(now);
        Some(self.first_delay.saturating_mul(1 << doublings))
    }

    /// Whether none is left now.
    #[must_use]
    pub fn is_spent(&self, now: Instant) -> bool {
        self.spent.iter().filter(|at| now.duration_since(**at) <= self.window).count() >= self.restarts
    }

    /// Whether all of it is left now.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.spent.iter().all(|at| now.duration_since(*at) > self.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_longer_and_end() {
        let begin = Instant::now();
        let mut budget = RestartBudget::new(3, Duration::from_secs(60), Duration::from_millis(10));
        let delays: Vec<_> = (0..4).map(|_| budget.spend(begin)).collect();
        let millis = |number| Some(Duration::from_millis(number));
        assert_eq!(delays, [millis(10), millis(20), millis(40), None]);
        assert!(budget.is_spent(begin) && !budget.is_fresh(begin));
        assert_eq!(budget.spend(begin + Duration::from_secs(61)), millis(10), "the window has moved on");
    }
}
