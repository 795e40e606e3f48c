//! The tables: what was moved, how long answers took, and what that comes to.

use std::fmt::Write as _;

use super::Report;
use crate::flush::scenario::Scenario;
use crate::flush::scenario::fill::Memory;
use crate::flush::table::Moved;
use crate::run::report::text::{Line, ended, table};
use crate::run::report::{Figures, Told};

impl Told for Report {
    fn is_good(&self) -> bool {
        self.aborted.is_none() && !self.lines().iter().any(|line| line.figures.is_bad())
    }

    fn to_text(&self) -> String {
        let mut text = self.moved();
        let lines = self.lines();
        if !lines.is_empty() {
            text.push_str(&table("rows", &lines, self.about.threads));
            text.push('\n');
        }
        for saying in self.sayings() {
            text.push_str(&saying);
            text.push('\n');
        }
        ended(text, self.aborted.as_deref())
    }
}

impl Report {
    /// The table of inserts and flushes; nothing where there were none that are told.
    fn moved(&self) -> String {
        let mut rows = Vec::new();
        if let Some(fill) = &self.fill {
            rows.push(moved(Scenario::Fill, "insert", fill.insert, None));
            rows.push(moved(Scenario::Fill, "flush", fill.flush, fill.memory));
        }
        let rounds = self.writers.iter().flat_map(|writers| &writers.rounds);
        rows.extend(rounds.map(|round| moved(Scenario::Writers, "flush", round.flush, None)));
        if rows.is_empty() {
            return String::new();
        }
        format!(
            "{:<14} {:<8} {:>9} {:>8} {:>8} {:>9} {:>10} {:>10}\n{}\n\n",
            "scenario",
            "what",
            "rows",
            "segments",
            "seconds",
            "rows/s",
            "before MiB",
            "peak MiB",
            rows.join("\n")
        )
    }

    /// The lines of the table of latencies.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        let mut add = |scenario: Scenario, second, in_flight, figures| {
            lines.push(Line { scenario: scenario.name(), second, in_flight, share_of_health: None, figures });
        };
        if let Some(writers) = &self.writers {
            for round in &writers.rounds {
                add(Scenario::Writers, "quiet", writers.in_flight, &round.quiet);
                add(Scenario::Writers, "flushing", writers.in_flight, &round.flushing);
            }
        }
        if let Some(reads) = &self.point_read {
            add(Scenario::PointRead, "hot", 1, &reads.hot);
            add(Scenario::PointRead, "flushed", 1, &reads.flushed);
        }
        if let Some(aggregate) = &self.aggregate {
            add(Scenario::Aggregate, "flushed", 1, &aggregate.query);
        }
        if let Some(small) = &self.small_flushes {
            add(Scenario::SmallFlushes, "flushed", 1, &small.flushed.query);
            if let Some(churned) = &small.churned {
                add(Scenario::SmallFlushes, "churned", 1, &churned.query);
            }
        }
        lines
    }

    /// What the figures come to, a line for each scenario.
    fn sayings(&self) -> Vec<String> {
        let mut sayings = Vec::new();
        if let Some(fill) = &self.fill {
            let mut text = format!("fill: {} rows of {} users flushed", fill.flush.rows, fill.users);
            match fill.memory {
                // Writing to a String cannot fail.
                Some(Memory { above_bytes, .. }) => {
                    _ = write!(text, ", {} MiB above what was used before.", mebibytes(above_bytes))
                }
                None => {
                    text.push_str("; the server's memory is not known (--server-pid, and the right to look at it).")
                }
            }
            sayings.push(text);
        }
        if let Some(writers) = &self.writers {
            let times = times(writers.p99_ratio);
            let rounds = writers.rounds.len();
            sayings.push(format!("writers: p99 while flushing is {times} that without (median of {rounds})."));
        }
        if let Some(reads) = &self.point_read {
            let (times, segments) = (times(reads.p50_ratio), reads.segments);
            sayings.push(format!("point-read: p50 of rows in {segments} segments is {times} that of hot ones."));
        }
        if let Some(aggregate) = &self.aggregate {
            let mean = aggregate.mean_seconds.map_or("no".to_owned(), |mean| format!("{mean:.3}"));
            let (rows, segments) = (aggregate.rows, aggregate.segments);
            sayings.push(format!("aggregate: {mean} s on average over {rows} rows in {segments} segments."));
        }
        if let Some(small) = &self.small_flushes {
            for after in [Some(&small.flushed), small.churned.as_ref()].into_iter().flatten() {
                let p50 = p50(&after.query);
                let (flushes, segments) = (after.flushes, after.segments);
                sayings.push(format!("small-flushes: p50 {p50} after {flushes} flushes, with {segments} segments."));
            }
        }
        sayings
    }
}

fn moved(scenario: Scenario, what: &str, moved: Moved, memory: Option<Memory>) -> String {
    let Moved { rows, segments, seconds, rows_per_second } = moved;
    let or_none = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    format!(
        "{:<14} {what:<8} {rows:>9} {:>8} {seconds:>8.2} {rows_per_second:>9.0} {:>10} {:>10}",
        scenario.name(),
        or_none(segments),
        or_none(memory.map(|memory| mebibytes(memory.before_bytes))),
        or_none(memory.map(|memory| mebibytes(memory.peak_bytes))),
    )
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("not known against".to_owned(), |ratio| format!("{ratio:.2} times"))
}

fn p50(figures: &Figures) -> String {
    figures.latency_ms.map_or("unknown".to_owned(), |latency| format!("{:.3} ms", latency.p50))
}
