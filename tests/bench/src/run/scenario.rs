//! What can be measured. A scenario names its operations and how many there are; a file each.

mod health;
mod insert;
mod insert_latency;
mod mixed;
mod point_read;

use std::fmt::Debug;

use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

pub(crate) use health::Health;
pub(crate) use insert::Insert;
pub(crate) use insert_latency::rate_offered;
pub(crate) use mixed::Mixed;
pub(crate) use point_read::PointRead;

/// The scenarios, in the order in which they run: reads before the updates that change what they find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// GET /health: what a request costs that touches nothing.
    Health,
    /// 100 000 single-row inserts, as fast as they are answered.
    Insert,
    /// 10 000 single-row inserts at a steady rate, for their latency.
    InsertLatency,
    /// 1 000 000 reads of one row by primary key.
    PointRead,
    /// Of ten operations, seven point reads, two inserts and one update.
    Mixed,
}

impl Scenario {
    /// Its name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Insert => "insert",
            Self::InsertLatency => "insert-latency",
            Self::PointRead => "point-read",
            Self::Mixed => "mixed",
        }
    }

    /// How many operations it has of its own accord.
    pub(crate) fn operations(self) -> u64 {
        match self {
            Self::Health | Self::Insert | Self::Mixed => 100_000,
            Self::InsertLatency => 10_000,
            Self::PointRead => 1_000_000,
        }
    }

    /// Whether it needs rows that are there already.
    pub(crate) fn reads_rows(self) -> bool {
        match self {
            Self::PointRead | Self::Mixed => true,
            Self::Health | Self::Insert | Self::InsertLatency => false,
        }
    }
}

/// One request: who asks, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Which of the target's callers.
    pub(crate) caller: usize,
    pub(crate) body: Bytes,
}

/// A numbered series of requests. The same number is the same request in every run, whoever sends it.
pub(crate) trait Operation: Debug + Send + Sync {
    /// The request with this number.
    fn ask(&self, number: u64) -> Ask;

    /// Whether this answer of status 200 is what that request has to bring.
    fn is_right(&self, number: u64, answer: &[u8]) -> bool;

    /// How many requests make one operation. They go over the same connection one after the other, until one fails; those of
    /// operation `n` have the numbers from `n * steps` on.
    fn steps(&self) -> u64 {
        1
    }

    /// Whether the time of the request with this number counts. What only makes something for the next request to work on
    /// does not.
    fn is_timed(&self, _number: u64) -> bool {
        true
    }
}

/// A statement up to its parameters, as a request's body.
pub(crate) fn statement(sql: &str) -> String {
    format!("{{\"sql\":{},\"params\":[", serde_json::Value::from(sql))
}

/// An index below `len`: whose row it is, of so many callers.
pub(crate) fn index(number: u64, len: usize) -> usize {
    usize::try_from(number % len.max(1) as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for scenario in Scenario::value_variants() {
            let word = scenario.to_possible_value().unwrap();
            assert_eq!(word.get_name(), scenario.name());
            assert_eq!(serde_json::to_value(scenario).unwrap(), scenario.name());
        }
    }
}
