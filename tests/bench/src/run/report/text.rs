//! The table.

use std::fmt::Write;

use super::{Figures, Loop, PartReport, Report, Told, Used};

/// A core and a bit less: this program can do no more with one thread.
const BUSY: f64 = 0.9;

/// The names of the columns of [`row`]; the second is what tells parts of a scenario apart.
fn head(second: &str, width: usize) -> String {
    format!(
        "{:<width$} {second:<8} {:>6} {:>9} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}\n",
        "scenario",
        "flight",
        "answers",
        "seconds",
        "rate/s",
        "/health",
        "mean ms",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "client",
        "server",
        "failed"
    )
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) scenario: &'a str,
    pub(crate) second: &'a str,
    pub(crate) in_flight: usize,
    pub(crate) share_of_health: Option<f64>,
    pub(crate) figures: &'a Figures,
}

impl Line<'_> {
    /// What shows that it goes on.
    pub(crate) fn said(&self) -> String {
        let Figures { succeeded, seconds, rate, .. } = self.figures;
        format!("{}: {succeeded} in {seconds:.2} s, {rate:.0}/s", self.subject())
    }

    /// What it is about, in words.
    fn subject(&self) -> String {
        let second = if self.second == NONE { String::new() } else { format!(", {}", self.second) };
        format!("{}{second}, {} in flight", self.scenario, self.in_flight)
    }
}

/// In a column that has no value.
const NONE: &str = "-";
/// Characters of the first column at least, so that tables of different runs are alike.
const NARROWEST: usize = 14;

/// The table with what to know about its numbers.
pub(crate) fn table(second: &str, lines: &[Line<'_>], threads: usize) -> String {
    let width = lines.iter().map(|line| line.scenario.len()).fold(NARROWEST, usize::max);
    let mut text = head(second, width);
    for line in lines {
        text.push_str(&row(line, width));
        text.push('\n');
    }
    text.push_str(
        "\nclosed loop: latency is the time of an answer with that many requests under way, at saturation; a stall \
         is counted once for each of them.\n",
    );
    for line in lines.iter().filter(|line| line.figures.kind == Loop::Open) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "open loop: {} at {:.0}/s offered; latency counts from when a request was due, whether or not it could \
             be sent.",
            line.subject(),
            line.figures.offered_rate.unwrap_or_default()
        );
    }
    text.push_str("client, server: CPU seconds for a second; 100 % is one core.\n");
    #[expect(clippy::cast_precision_loss, reason = "a handful of threads")]
    let limit = threads.max(1) as f64 * BUSY;
    for line in lines.iter().filter(|line| line.figures.client.is_some_and(|used| used.cpu_share > limit)) {
        let _ =
            writeln!(text, "{}: this program was busy all the time and may be what limits the rate.", line.subject());
    }
    for line in lines.iter().filter(|line| line.figures.is_bad()) {
        let Figures { errors, not_begun, example, .. } = line.figures;
        let codes: Vec<String> = errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let _ = writeln!(
            text,
            "FAILED {}: {}; {not_begun} never sent; {}",
            line.subject(),
            codes.join(", "),
            example.as_deref().unwrap_or("no answer at all")
        );
    }
    text
}

/// The last words of a report.
pub(crate) fn ended(mut text: String, aborted: Option<&str>) -> String {
    if let Some(why) = aborted {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "ABORTED: {why}");
    }
    text.truncate(text.trim_end().len());
    text
}

impl Told for Report {
    fn is_good(&self) -> bool {
        self.aborted.is_none() && !self.parts.iter().any(|part| part.figures.is_bad())
    }

    fn to_text(&self) -> String {
        let lines: Vec<Line<'_>> = self.parts.iter().map(PartReport::in_table).collect();
        ended(table("target", &lines, self.about.threads), self.aborted.as_deref())
    }
}

impl PartReport {
    fn in_table(&self) -> Line<'_> {
        Line {
            scenario: self.subject.scenario.name(),
            second: self.subject.target.map_or(NONE, super::Target::name),
            in_flight: self.subject.in_flight,
            share_of_health: self.share_of_health,
            figures: &self.figures,
        }
    }

    /// One line about it.
    pub(crate) fn line(&self) -> String {
        self.in_table().said()
    }
}

fn row(line: &Line<'_>, width: usize) -> String {
    let milliseconds: Vec<String> = match line.figures.latency_ms {
        Some(summary) => {
            [summary.mean, summary.p50, summary.p95, summary.p99, summary.max].map(|ms| format!("{ms:.3}")).into()
        }
        None => vec![NONE.to_owned(); 5],
    };
    let percent = |share: Option<f64>| share.map_or(NONE.to_owned(), |share| format!("{:.0}%", share * 100.0));
    let cpu = |used: Option<Used>| percent(used.map(|used| used.cpu_share));
    format!(
        "{:<width$} {:<8} {:>6} {:>9} {:>8.2} {:>9.0} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7}",
        line.scenario,
        line.second,
        line.in_flight,
        line.figures.succeeded,
        line.figures.seconds,
        line.figures.rate,
        percent(line.share_of_health),
        milliseconds[0],
        milliseconds[1],
        milliseconds[2],
        milliseconds[3],
        milliseconds[4],
        cpu(line.figures.client),
        cpu(line.figures.server),
        line.figures.failed + line.figures.not_begun,
    )
}
