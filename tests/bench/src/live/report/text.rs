//! The table of inserts, and a sentence or two for each scenario.

use std::fmt::Write as _;

use super::Report;
use crate::live::scenario::Scenario;
use crate::run::latency::Summary;
use crate::run::report::text::{Line, ended, table};
use crate::run::report::{Figures, Told};

impl Told for Report {
    fn is_good(&self) -> bool {
        self.aborted.is_none() && !self.lines().iter().any(|line| line.figures.is_bad())
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let lines = self.lines();
        if !lines.is_empty() {
            text.push_str(&table("inserts", &lines, self.about.threads));
            text.push('\n');
        }
        // Writing to a String cannot fail.
        let _ = self.of_changes(&mut text);
        let _ = self.of_writers(&mut text);
        let _ = self.of_connections(&mut text);
        ended(text, self.aborted.as_deref())
    }
}

impl Report {
    /// The lines of the table.
    fn lines(&self) -> Vec<Line<'_>> {
        let mut lines = Vec::new();
        let mut add = |scenario: Scenario, second, in_flight, figures| {
            lines.push(Line { scenario: scenario.name(), second, in_flight, share_of_health: None, figures });
        };
        if let Some(latency) = &self.latency {
            add(Scenario::Latency, "followed", latency.in_flight, &latency.insert);
        }
        if let Some(slow) = &self.slow {
            add(Scenario::Slow, "without", slow.in_flight, &slow.without.insert);
            add(Scenario::Slow, "with", slow.in_flight, &slow.with.insert);
        }
        if let Some(writers) = &self.writers {
            for repeat in &writers.repeats {
                add(Scenario::Writers, "alone", writers.in_flight, &repeat.alone);
                add(Scenario::Writers, "followed", writers.in_flight, &repeat.followed);
                add(Scenario::Writers, "one-user", writers.in_flight, &repeat.one_user);
                add(Scenario::Writers, "shared", writers.in_flight, &repeat.shared);
            }
        }
        lines
    }

    /// How long changes take.
    fn of_changes(&self, text: &mut String) -> std::fmt::Result {
        if let Some(latency) = &self.latency {
            writeln!(text, "latency: {} users, {}", latency.users, rates(&latency.insert))?;
            writeln!(text, "  insert        {}", milliseconds(latency.insert.response_ms))?;
            let times = times(latency.p50_ratio);
            writeln!(text, "  notification  {} ({times} p50)", milliseconds(latency.notification_ms))?;
        }
        if let Some(fan_out) = &self.fan_out {
            writeln!(
                text,
                "fan-out: {} inserts to {} subscriptions, {:.0} changes/s, last subscriber {}",
                fan_out.inserts,
                fan_out.subscriptions,
                fan_out.changes_per_second,
                milliseconds(fan_out.last_ms)
            )?;
        }
        if let Some(slow) = &self.slow {
            writeln!(text, "slow: {} subscribers that read, {} that do not", slow.fast, slow.slow)?;
            writeln!(text, "  without them  {}", milliseconds(slow.without.notification_ms))?;
            let (p50, p99) = (times(slow.p50_ratio), times(slow.p99_ratio));
            writeln!(text, "  with them     {} ({p50} p50, {p99} p99)", milliseconds(slow.with.notification_ms))?;
            let ends = slow.ends;
            writeln!(
                text,
                "  the slow ones: {} ended as slow consumers ({} by the server's count), {} still open, {} gone",
                ends.slow_consumer, ends.counted, ends.open, ends.gone
            )?;
        }
        Ok(())
    }

    fn of_writers(&self, text: &mut String) -> std::fmt::Result {
        let Some(writers) = &self.writers else { return Ok(()) };
        writeln!(
            text,
            "writers: with a subscriber of each of {} users {} the rate without; with a change log (one user) {} the rate \
             of a shared table (medians of {})",
            writers.users,
            times(writers.followed_ratio),
            times(writers.change_log_ratio),
            writers.repeats.len()
        )
    }

    /// What connections and subscriptions take.
    fn of_connections(&self, text: &mut String) -> std::fmt::Result {
        if let Some(subscribe) = &self.subscribe {
            writeln!(
                text,
                "subscribe: {} subscriptions on {} connections in {:.2} s, {:.0}/s",
                subscribe.subscriptions, subscribe.connections, subscribe.seconds, subscribe.per_second
            )?;
        }
        if let Some(idle) = &self.idle {
            let memory = match (idle.before_bytes, idle.with_bytes, idle.after_bytes) {
                (Some(before), Some(with), Some(after)) => {
                    let [before, with, after] = [before, with, after].map(mebibytes);
                    format!("{before} MiB before, {with} MiB with them, {after} MiB after")
                }
                _ => UNKNOWN_MEMORY.to_owned(),
            };
            writeln!(text, "idle: {} connections with a subscription: {memory}", idle.connections)?;
        }
        if let Some(churn) = &self.churn {
            let memory: Vec<String> = churn.memory_bytes.iter().map(|bytes| mebibytes(*bytes).to_string()).collect();
            let memory = match memory.as_slice() {
                [] => UNKNOWN_MEMORY.to_owned(),
                _ => format!("{} MiB before, after each quarter, and at the end", memory.join(", ")),
            };
            writeln!(
                text,
                "churn: {} connections of {} users in {:.2} s, {:.0}/s, {} at a time; {} connections, {} subscriptions, {} \
                 actors before and after; {memory}",
                churn.rounds,
                churn.users,
                churn.seconds,
                churn.rounds_per_second,
                churn.in_flight,
                churn.counts.connections,
                churn.counts.subscriptions,
                churn.counts.actors
            )?;
        }
        for initial in &self.initial_rows {
            writeln!(text, "initial-rows: {} rows in {:.1} ms", initial.rows, initial.took_ms)?;
        }
        Ok(())
    }
}

const UNKNOWN_MEMORY: &str = "memory is told with --server-pid";

fn milliseconds(summary: Option<Summary>) -> String {
    summary.map_or_else(
        || "nothing".to_owned(),
        |ms| format!("p50 {:.3}, p95 {:.3}, p99 {:.3}, max {:.3} ms", ms.p50, ms.p95, ms.p99, ms.max),
    )
}

/// What was asked of the server, and what it did.
fn rates(figures: &Figures) -> String {
    format!("{:.0} inserts/s offered, {:.0}/s answered", figures.offered_rate.unwrap_or_default(), figures.rate)
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("unknown times".to_owned(), |ratio| format!("{ratio:.2} times"))
}

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
mod tests;
