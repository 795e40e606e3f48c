//! What became of a part's operations.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::run::answer;
use crate::run::connection::Answer;
use crate::run::latency::Latencies;

/// An answer of status 200 that is not what was asked for.
pub(crate) const WRONG_ANSWER: &str = "WRONG_ANSWER";
/// No answer at all.
pub(crate) const NO_ANSWER: &str = "NO_ANSWER";

/// Counts and times; one for each lane, then their sum.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of right answers, from the moment they were due.
    pub(crate) latency: Latencies,
    /// Of right answers, from the moment they were sent.
    pub(crate) response: Latencies,
    /// Everything else by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// The first of those, in words.
    pub(crate) example: Option<String>,
    /// What requests of right operations took that are not timed, of all lanes together.
    pub(crate) aside: Duration,
    /// Operations that were due and never sent because every lane had given up.
    pub(crate) not_begun: u64,
}

impl Tally {
    pub(super) fn right(&mut self, due: Instant, sent: Instant, answered: Instant) {
        self.latency.record(answered.saturating_duration_since(due));
        self.response.record(answered.saturating_duration_since(sent));
    }

    pub(super) fn wrong(&mut self, answer: &Answer) {
        let code = match answer.status {
            200 => WRONG_ANSWER.to_owned(),
            status => answer::error_code(status, &answer.body),
        };
        let start: String = String::from_utf8_lossy(&answer.body).chars().take(400).collect();
        self.count(code, || format!("status {}: {start}", answer.status));
    }

    pub(super) fn broken(&mut self, problem: &str) {
        self.count(NO_ANSWER.to_owned(), || problem.to_owned());
    }

    fn count(&mut self, code: String, example: impl FnOnce() -> String) {
        *self.errors.entry(code).or_default() += 1;
        self.example.get_or_insert_with(example);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.response.add(&other.response);
        self.aside += other.aside;
        self.not_begun += other.not_begun;
        self.add_failures(other);
    }

    /// Only what went wrong.
    pub(crate) fn add_failures(&mut self, other: &Self) {
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
        if self.example.is_none() {
            self.example.clone_from(&other.example);
        }
    }

    /// Answered as they should be.
    pub(crate) fn succeeded(&self) -> u64 {
        self.latency.count()
    }

    /// Anything else that was sent.
    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// All that were sent.
    pub(crate) fn operations(&self) -> u64 {
        self.succeeded() + self.failed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_when_it_was_due() {
        let due = Instant::now();
        let (sent, answered) = (due + Duration::from_millis(90), due + Duration::from_millis(100));
        let mut tally = Tally::default();
        tally.right(due, sent, answered);
        let close = |found: f64, expected: f64| (found - expected).abs() < expected * 0.002;
        assert!(close(tally.latency.summary().unwrap().max, 100.0));
        assert!(close(tally.response.summary().unwrap().max, 10.0));
    }

    #[test]
    fn every_operation_is_counted_once() {
        let now = Instant::now();
        let answer = |status, body: &'static str| Answer { status, body: body.into() };
        let mut one = Tally::default();
        one.right(now, now, now);
        one.wrong(&answer(200, "{}"));
        let mut two = Tally::default();
        two.wrong(&answer(503, r#"{"error":{"code":"OVERLOADED"}}"#));
        two.wrong(&answer(503, r#"{"error":{"code":"OVERLOADED"}}"#));
        two.broken("it broke");
        one.add(&two);
        assert_eq!((one.succeeded(), one.failed(), one.operations()), (1, 4, 5));
        let expected = [(NO_ANSWER.to_owned(), 1), ("OVERLOADED".to_owned(), 2), (WRONG_ANSWER.to_owned(), 1)];
        assert_eq!(one.errors.into_iter().collect::<Vec<_>>(), expected);
        assert_eq!(one.example.as_deref(), Some("status 200: {}"));
    }
}
