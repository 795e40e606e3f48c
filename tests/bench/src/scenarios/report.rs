//! What was measured: JSON for programs, the table of `run` for people.

use std::fmt;

use serde::Serialize;

use crate::run::report::text::{self, ended, table};
use crate::run::report::{About, Figures, Told};

/// The whole run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) about: About,
    /// `/health` first.
    pub(crate) parts: Vec<Line>,
    /// Scenarios that could not be finished.
    pub(crate) unfinished: Vec<Unfinished>,
}

/// One scenario with one number of requests in flight.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) scenario: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) in_flight: usize,
    /// Its rate over that of `/health` with as many in flight; that of `/health` itself has none.
    pub(crate) share_of_health: Option<f64>,
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

/// A scenario that could not be finished.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unfinished {
    pub(crate) scenario: &'static str,
    pub(crate) why: String,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: could not be finished: {}", self.scenario, self.why)
    }
}

impl Line {
    pub(crate) fn in_table(&self) -> text::Line<'_> {
        text::Line {
            scenario: self.scenario,
            second: self.kind,
            in_flight: self.in_flight,
            share_of_health: self.share_of_health,
            figures: &self.figures,
        }
    }
}

impl Report {
    pub(crate) fn new(about: About) -> Self {
        Self { about, parts: Vec::new(), unfinished: Vec::new() }
    }
}

impl Told for Report {
    fn is_good(&self) -> bool {
        self.unfinished.is_empty() && !self.parts.iter().any(|line| line.figures.is_bad())
    }

    fn to_text(&self) -> String {
        let lines: Vec<text::Line<'_>> = self.parts.iter().map(Line::in_table).collect();
        let why: Vec<String> = self.unfinished.iter().map(ToString::to_string).collect();
        let why = (!why.is_empty()).then(|| why.join("\n"));
        ended(table("kind", &lines, self.about.threads), why.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::args::MeasureArgs;
    use crate::run::pace::Pace;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        args: MeasureArgs,
    }

    fn report(right: u64, refused: u64) -> Report {
        let about = About::new(&Words::parse_from(["scenarios"]).args, br#"{"status":"ok"}"#);
        let figures = Figures::of_test(Pace::Closed, Duration::from_millis(4), right, refused);
        let scenario = "a-name-that-is-far-too-long";
        let line = Line { scenario, kind: "mixed", in_flight: 10, share_of_health: Some(0.5), figures };
        Report { parts: vec![line], ..Report::new(about) }
    }

    #[test]
    fn a_long_name_keeps_the_columns_in_line() {
        let text = report(10, 0).to_text();
        let mut lines = text.lines();
        let (head, row) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(head.len(), row.len(), "{text}");
        assert_eq!(head.find("kind"), row.find("mixed"), "{text}");
        assert!(head.contains("mean ms") && row.contains("50%"), "{text}");
    }

    #[test]
    fn what_failed_and_what_was_not_finished_is_no_good_run() {
        assert!(report(10, 0).is_good());
        assert!(!report(10, 1).is_good());
        let mut unfinished = report(10, 0);
        unfinished.unfinished.push(Unfinished { scenario: "join", why: "gone".into() });
        assert!(!unfinished.is_good());
        assert!(unfinished.to_text().ends_with("ABORTED: join: could not be finished: gone"));
        let json: serde_json::Value = serde_json::from_str(&unfinished.to_json()).unwrap();
        assert_eq!(json["unfinished"][0]["why"], "gone");
        assert_eq!(json["parts"][0]["share_of_health"], serde_json::json!(0.5));
    }
}
