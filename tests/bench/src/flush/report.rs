//! What was measured: a JSON object with a member for each scenario, tables for people.

mod text;

use serde::Serialize;

use crate::run::report::About;

use super::scenario::aggregate::AggregateReport;
use super::scenario::fill::FillReport;
use super::scenario::point_read::PointReadReport;
use super::scenario::small_flushes::SmallFlushesReport;
use super::scenario::writers::WritersReport;

/// The whole run. A scenario that was not measured is none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) about: About,
    pub(crate) fill: Option<FillReport>,
    pub(crate) writers: Option<WritersReport>,
    pub(crate) point_read: Option<PointReadReport>,
    pub(crate) aggregate: Option<AggregateReport>,
    pub(crate) small_flushes: Option<SmallFlushesReport>,
    /// Why it could not be finished.
    pub(crate) aborted: Option<String>,
}

impl Report {
    pub(crate) fn new(about: About) -> Self {
        Self { about, fill: None, writers: None, point_read: None, aggregate: None, small_flushes: None, aborted: None }
    }
}

#[cfg(test)]
mod tests;
