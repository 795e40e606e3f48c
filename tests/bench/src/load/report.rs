//! What a run did, how fast, and what it found wrong.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

/// One step over some rows.
#[derive(Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
    pub(crate) rows_per_second: f64,
}

impl Phase {
    pub(crate) fn new(name: String, rows: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rows_per_second = rows as f64 / seconds.max(1e-9);
        Self { name, rows, seconds, rows_per_second }
    }
}

/// The whole run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) users: usize,
    pub(crate) phases: Vec<Phase>,
    /// Empty if the server holds exactly what the files say.
    pub(crate) differences: Vec<String>,
}

impl Report {
    /// One JSON object.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers")
    }

    /// A table for people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{:<28} {:>10} {:>9} {:>10}\n", "phase", "rows", "seconds", "rows/s");
        for phase in &self.phases {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{:<28} {:>10} {:>9.2} {:>10.0}",
                phase.name, phase.rows, phase.seconds, phase.rows_per_second
            );
        }
        if self.differences.is_empty() {
            let _ = write!(text, "verified: the rows of {} users are exactly those of the files", self.users);
        } else {
            let _ = write!(text, "{} differences:\n  {}", self.differences.len(), self.differences.join("\n  "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_listed() {
        let mut report = Report { users: 2, ..Report::default() };
        report.phases.push(Phase::new("commits, load".into(), 10, Duration::from_secs(2)));
        assert!(report.to_text().contains("10      2.00          5"), "{}", report.to_text());
        assert!(report.to_text().contains("2 users are exactly"));
        report.differences.push("one".into());
        assert!(report.to_text().contains("1 differences:\n  one"));
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["differences"][0], "one");
        assert_eq!(json["phases"][0]["rows"], 10);
    }
}
