//! What was measured: a JSON object with a member for each scenario, a table and sentences with the figures for people.

mod text;

use serde::Serialize;

use super::scenario::churn::ChurnReport;
use super::scenario::fan_out::FanOutReport;
use super::scenario::idle::IdleReport;
use super::scenario::initial_rows::InitialRowsReport;
use super::scenario::latency::LatencyReport;
use super::scenario::slow::SlowReport;
use super::scenario::subscribe::SubscribeReport;
use super::scenario::writers::WritersReport;
use crate::run::report::About;

/// The whole run. A scenario that was not measured is none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) about: About,
    pub(crate) latency: Option<LatencyReport>,
    pub(crate) fan_out: Option<FanOutReport>,
    pub(crate) slow: Option<SlowReport>,
    pub(crate) writers: Option<WritersReport>,
    pub(crate) subscribe: Option<SubscribeReport>,
    pub(crate) idle: Option<IdleReport>,
    pub(crate) churn: Option<ChurnReport>,
    pub(crate) initial_rows: Vec<InitialRowsReport>,
    /// Why it could not be finished.
    pub(crate) aborted: Option<String>,
}

impl Report {
    pub(crate) fn new(about: About) -> Self {
        Self {
            about,
            latency: None,
            fan_out: None,
            slow: None,
            writers: None,
            subscribe: None,
            idle: None,
            churn: None,
            initial_rows: Vec::new(),
            aborted: None,
        }
    }
}
