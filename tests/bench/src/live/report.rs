//! What was measured: a JSON object with a member for each scenario, and sentences with the figures for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::scenario::fan_out::FanOutReport;
use super::scenario::idle::IdleReport;
use super::scenario::initial_rows::InitialRowsReport;
use super::scenario::latency::LatencyReport;
use super::scenario::subscribe::SubscribeReport;
use crate::run::latency::Summary;
use crate::run::report::text::ended;
use crate::run::report::{About, Told};

/// The whole run. A scenario that was not measured is none.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) about: About,
    pub(crate) latency: Option<LatencyReport>,
    pub(crate) fan_out: Option<FanOutReport>,
    pub(crate) subscribe: Option<SubscribeReport>,
    pub(crate) idle: Option<IdleReport>,
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
            subscribe: None,
            idle: None,
            initial_rows: Vec::new(),
            aborted: None,
        }
    }
}

fn milliseconds(summary: Option<Summary>) -> String {
    summary.map_or_else(
        || "nothing".to_owned(),
        |ms| format!("p50 {:.3}, p95 {:.3}, p99 {:.3}, max {:.3} ms", ms.p50, ms.p95, ms.p99, ms.max),
    )
}

impl Told for Report {
    fn is_good(&self) -> bool {
        self.aborted.is_none()
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(latency) = &self.latency {
            let _ = writeln!(
                text,
                "latency: {} inserts of {} users at {}/s, {} connections",
                latency.inserts, latency.users, latency.offered_rate, latency.in_flight
            );
            let _ = writeln!(text, "  insert        {}", milliseconds(latency.insert_ms));
            let ratio = latency.p50_ratio.map_or_else(String::new, |ratio| format!(" ({ratio:.2} times)"));
            let _ = writeln!(text, "  notification  {}{ratio}", milliseconds(latency.notification_ms));
        }
        if let Some(fan_out) = &self.fan_out {
            let _ = writeln!(
                text,
                "fan-out: {} inserts to {} subscriptions, {:.0} changes/s, last subscriber {}",
                fan_out.inserts,
                fan_out.subscriptions,
                fan_out.changes_per_second,
                milliseconds(fan_out.last_ms)
            );
        }
        if let Some(subscribe) = &self.subscribe {
            let _ = writeln!(
                text,
                "subscribe: {} subscriptions on {} connections in {:.2} s, {:.0}/s",
                subscribe.subscriptions, subscribe.connections, subscribe.seconds, subscribe.per_second
            );
        }
        if let Some(idle) = &self.idle {
            let memory = match (idle.before_bytes, idle.with_bytes, idle.after_bytes) {
                (Some(before), Some(with), Some(after)) => {
                    let mib = |bytes: u64| bytes >> 20;
                    format!("{} MiB before, {} MiB with them, {} MiB after", mib(before), mib(with), mib(after))
                }
                _ => "memory is told with --server-pid".to_owned(),
            };
            let _ = writeln!(text, "idle: {} connections with a subscription: {memory}", idle.connections);
        }
        for initial in &self.initial_rows {
            let _ = writeln!(text, "initial-rows: {} rows in {:.1} ms", initial.rows, initial.took_ms);
        }
        ended(text, self.aborted.as_deref())
    }
}
