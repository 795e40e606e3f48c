//! What a run measured: a JSON object for programs, a table for people.

pub(crate) mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::args::MeasureArgs;

use super::RunArgs;
use super::drive::Measured;
use super::latency::Summary;
use super::pace::Pace;
use super::process::Usage;
use super::scenario::Scenario;
use super::target::Target;

/// What a part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Subject {
    pub(crate) scenario: Scenario,
    /// None for a scenario without rows.
    pub(crate) target: Option<Target>,
    pub(crate) in_flight: usize,
}

/// How operations followed each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Loop {
    /// After each other; `latency_ms` is the time of an answer at saturation.
    Closed,
    /// At `offered_rate`; `latency_ms` counts from the moment a request was due.
    Open,
}

/// What a process used during a part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Used {
    pub(crate) cpu_seconds: f64,
    /// CPU seconds for a second of the part: 1 is one core.
    pub(crate) cpu_share: f64,
    /// CPU time for one operation.
    pub(crate) cpu_micros_per_operation: f64,
    /// At the part's end.
    pub(crate) rss_bytes: u64,
}

/// What was measured of a series of operations.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    #[serde(rename = "loop")]
    pub(crate) kind: Loop,
    pub(crate) offered_rate: Option<f64>,
    /// Answered as they should be.
    pub(crate) succeeded: u64,
    /// Everything else, by code in `errors`.
    pub(crate) failed: u64,
    pub(crate) not_begun: u64,
    pub(crate) seconds: f64,
    /// Successes a second, without the time of requests that are not timed.
    pub(crate) rate: f64,
    pub(crate) latency_ms: Option<Summary>,
    /// From the moment a request was sent: in an open loop what is left without the wait for a lane.
    pub(crate) response_ms: Option<Summary>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// The first of the failures, in words.
    pub(crate) example: Option<String>,
    /// This program; none where the system does not tell.
    pub(crate) client: Option<Used>,
    /// The process of `--server-pid`.
    pub(crate) server: Option<Used>,
}

impl Figures {
    pub(crate) fn new(pace: Pace, measured: &Measured) -> Self {
        let Measured { took, timed, tally, .. } = measured;
        let (kind, offered_rate) = match pace {
            Pace::Closed => (Loop::Closed, None),
            Pace::Open { rate } => (Loop::Open, Some(rate)),
        };
        Self {
            kind,
            offered_rate,
            succeeded: tally.succeeded(),
            failed: tally.failed(),
            not_begun: tally.not_begun,
            seconds: took.as_secs_f64(),
            rate: per_second(tally.succeeded(), *timed),
            latency_ms: tally.latency.summary(),
            response_ms: tally.response.summary(),
            errors: tally.errors.clone(),
            example: tally.example.clone(),
            client: None,
            server: None,
        }
    }

    pub(crate) fn with_client(mut self, before: Option<Usage>, after: Option<Usage>) -> Self {
        self.client = self.used(before, after);
        self
    }

    pub(crate) fn with_server(mut self, before: Option<Usage>, after: Option<Usage>) -> Self {
        self.server = self.used(before, after);
        self
    }

    fn used(&self, before: Option<Usage>, after: Option<Usage>) -> Option<Used> {
        let (before, after) = (before?, after?);
        let cpu_seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 operations")]
        let operations = (self.succeeded + self.failed).max(1) as f64;
        Some(Used {
            cpu_seconds,
            cpu_share: cpu_seconds / self.seconds.max(1e-9),
            cpu_micros_per_operation: cpu_seconds * 1e6 / operations,
            rss_bytes: after.rss_bytes,
        })
    }

    /// Whether anything was not as it should be.
    pub(crate) fn is_bad(&self) -> bool {
        self.failed + self.not_begun > 0 || self.succeeded == 0
    }
}

#[cfg(test)]
impl Figures {
    /// Two seconds in which so many answers took as long, half of it from when they were sent, and others failed.
    pub(crate) fn of_test(pace: Pace, latency: Duration, right: u64, refused: u64) -> Self {
        let mut tally = super::drive::Tally::default();
        for _ in 0..right {
            tally.latency.record(latency);
            tally.response.record(latency / 2);
        }
        if refused > 0 {
            tally.errors.insert("OVERLOADED".into(), refused);
            tally.example = Some("status 503: x".into());
        }
        Self::new(pace, &Measured { took: Duration::from_secs(2), timed: Duration::from_secs(2), tally, next: 0 })
    }
}

/// One part.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PartReport {
    #[serde(flatten)]
    pub(crate) subject: Subject,
    /// Its rate over that of `/health` with as many in flight; none in an open loop, whose rate is chosen.
    pub(crate) share_of_health: Option<f64>,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl PartReport {
    pub(crate) fn new(subject: Subject, figures: Figures, health: Option<f64>) -> Self {
        let health = health.filter(|rate| figures.kind == Loop::Closed && *rate > 0.0);
        Self { subject, share_of_health: health.map(|health| figures.rate / health), figures }
    }
}

/// A report that is finished.
pub(crate) trait Told: Serialize {
    /// Whether everything was measured and every answer was right.
    fn is_good(&self) -> bool;

    /// Tables with what to know about their numbers.
    fn to_text(&self) -> String;

    /// One JSON object.
    fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers")
    }
}

/// What was measured, from where.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    /// When it began.
    pub(crate) started_at: String,
    pub(crate) url: String,
    /// What the server says about itself at `/health`.
    pub(crate) server: Value,
    /// Cores of the machine that this program runs on.
    pub(crate) cores: usize,
    pub(crate) threads: usize,
}

impl About {
    /// Begins now.
    pub(crate) fn new(args: &MeasureArgs, health: &[u8]) -> Self {
        Self {
            started_at: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
            url: args.server.url.clone(),
            server: super::answer::parse(health).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            threads: args.threads.get(),
        }
    }
}

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) about: About,
    pub(crate) users: usize,
    pub(crate) rows: usize,
    pub(crate) parts: Vec<PartReport>,
    /// Why it could not be finished.
    pub(crate) aborted: Option<String>,
}

impl Report {
    pub(crate) fn new(args: &RunArgs, about: About) -> Self {
        Self { about, users: args.users.get(), rows: args.rows.get(), parts: Vec::new(), aborted: None }
    }

    /// The rate of a part that was measured in this run.
    pub(crate) fn rate_of(&self, subject: Subject) -> Option<f64> {
        self.parts.iter().rev().find(|part| part.subject == subject).map(|part| part.figures.rate)
    }
}

/// A rate.
pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 operations")]
    let count = count as f64;
    count / took.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests;
