//! The table.

use std::fmt::Write;

use super::{Loop, PartReport, Report, Used};

/// A core and a bit less: this program can do no more with one thread.
const BUSY: f64 = 0.9;

impl Report {
    /// A table with what to know about its numbers.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "{:<14} {:<8} {:>6} {:>9} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}\n",
            "scenario",
            "target",
            "flight",
            "answers",
            "seconds",
            "rate/s",
            "/health",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms",
            "client",
            "server",
            "failed"
        );
        for part in &self.parts {
            text.push_str(&row(part));
            text.push('\n');
        }
        text.push_str(
            "\nclosed loop: latency is the time of an answer with that many requests under way, at saturation; a stall \
             is counted once for each of them.\n",
        );
        for part in self.parts.iter().filter(|part| part.kind == Loop::Open) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "open loop: {} at {:.0}/s offered; latency counts from when a request was due, whether or not it could \
                 be sent.",
                subject(part),
                part.offered_rate.unwrap_or_default()
            );
        }
        text.push_str("client, server: CPU seconds for a second; 100 % is one core.\n");
        let limit = self.threads.max(1);
        #[expect(clippy::cast_precision_loss, reason = "a handful of threads")]
        let limit = limit as f64 * BUSY;
        for part in self.parts.iter().filter(|part| part.client.is_some_and(|used| used.cpu_share > limit)) {
            let _ = writeln!(
                text,
                "{}: this program was busy all the time and may be what limits the rate.",
                subject(part)
            );
        }
        for part in self.parts.iter().filter(|part| part.is_bad()) {
            let codes: Vec<String> = part.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
            let _ = writeln!(
                text,
                "FAILED {}: {}; {} never sent; {}",
                subject(part),
                codes.join(", "),
                part.not_begun,
                part.example.as_deref().unwrap_or("no answer at all")
            );
        }
        if let Some(why) = &self.aborted {
            let _ = writeln!(text, "ABORTED: {why}");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl PartReport {
    /// One line about it.
    pub(crate) fn line(&self) -> String {
        format!("{}: {} in {:.2} s, {:.0}/s", subject(self), self.succeeded, self.seconds, self.rate)
    }
}

fn subject(part: &PartReport) -> String {
    let target = part.subject.target.map(|target| format!(", {}", target.name())).unwrap_or_default();
    format!("{}{target}, {} in flight", part.subject.scenario.name(), part.subject.in_flight)
}

fn row(part: &PartReport) -> String {
    let milliseconds: Vec<String> = match part.latency_ms {
        Some(summary) => [summary.p50, summary.p95, summary.p99, summary.max].map(|ms| format!("{ms:.3}")).into(),
        None => vec!["-".to_owned(); 4],
    };
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0));
    let cpu = |used: Option<Used>| percent(used.map(|used| used.cpu_share));
    format!(
        "{:<14} {:<8} {:>6} {:>9} {:>8.2} {:>9.0} {:>8} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}",
        part.subject.scenario.name(),
        part.subject.target.map_or("-", super::Target::name),
        part.subject.in_flight,
        part.succeeded,
        part.seconds,
        part.rate,
        percent(part.share_of_health),
        milliseconds[0],
        milliseconds[1],
        milliseconds[2],
        milliseconds[3],
        cpu(part.client),
        cpu(part.server),
        part.failed + part.not_begun,
    )
}
