//! The options of `scenarios`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::args::{MeasureArgs, read_duration, read_positive};

use super::scenario::{ALL, Scenario};

#[derive(Debug, Clone, Args)]
pub(crate) struct ScenariosArgs {
    /// Those to run, in this order; all of them if none is named, or with `all`.
    #[arg(value_name = "NAME", value_parser = read_name)]
    pub(crate) names: Vec<String>,

    /// Say which scenarios there are, and run none.
    #[arg(long)]
    pub(crate) list: bool,

    #[command(flatten)]
    pub(crate) measure: MeasureArgs,

    /// Requests under way at the same time, each on a connection of its own; each number is a line of its own.
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "1,10")]
    pub(crate) in_flight: Vec<NonZeroUsize>,

    /// Operations of each line, instead of the scenario's own number.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<NonZeroUsize>,

    /// Multiplies every scenario's own number of operations.
    #[arg(long, default_value = "1", value_parser = read_positive, conflicts_with = "count")]
    pub(crate) scale: f64,

    /// A line ends after this time even if operations are left: 500ms, 30s, 5m.
    #[arg(long, value_parser = read_duration)]
    pub(crate) duration: Option<Duration>,

    /// Clients of `concurrent-selects`, each a user with a connection of its own.
    #[arg(long, default_value = "1000")]
    pub(crate) clients: NonZeroUsize,

    /// Rows of the scenarios whose rows are flushed.
    #[arg(long, default_value = "200000")]
    pub(crate) flushed_rows: NonZeroUsize,

    /// Segments that these rows lie in.
    #[arg(long, default_value = "20")]
    pub(crate) segments: NonZeroUsize,
}

/// Stands for all of them.
const EVERYTHING: &str = "all";

impl ScenariosArgs {
    /// The scenarios to run, each once.
    pub(crate) fn chosen(&self) -> Vec<&'static dyn Scenario> {
        if self.names.is_empty() || self.names.iter().any(|name| name == EVERYTHING) {
            return ALL.to_vec();
        }
        let mut chosen: Vec<&'static dyn Scenario> = Vec::new();
        for scenario in self.names.iter().filter_map(|name| find(name)) {
            if !chosen.iter().any(|other| other.name() == scenario.name()) {
                chosen.push(scenario);
            }
        }
        chosen
    }

    /// How many operations a line has whose own number is this.
    pub(crate) fn operations(&self, own: u64) -> u64 {
        if let Some(count) = self.count {
            return count.get() as u64;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number far below 2^52"
        )]
        let scaled = (own as f64 * self.scale).round() as u64;
        scaled.max(1)
    }
}

fn find(name: &str) -> Option<&'static dyn Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name() == name)
}

fn read_name(text: &str) -> Result<String, String> {
    if text == EVERYTHING || find(text).is_some() {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = ALL.iter().map(|scenario| scenario.name()).collect();
    Err(format!("there is no such scenario; there are {EVERYTHING}, {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ScenariosArgs,
    }

    fn parse(words: &[&str]) -> Result<ScenariosArgs, String> {
        let line = ["scenarios"].iter().chain(words);
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    fn names(words: &[&str]) -> Vec<&'static str> {
        parse(words).unwrap().chosen().iter().map(|scenario| scenario.name()).collect()
    }

    #[test]
    fn some_or_all_are_chosen() {
        assert_eq!(names(&[]).len(), ALL.len());
        assert_eq!(names(&["join", "all"]).len(), ALL.len());
        assert_eq!(names(&["join", "insert", "join"]), ["join", "insert"], "each once, in the order given");
    }

    #[test]
    fn counts_are_scaled_or_given() {
        assert_eq!(parse(&["--scale", "0.01"]).unwrap().operations(1000), 10);
        assert_eq!(parse(&["--scale", "1e-9"]).unwrap().operations(1000), 1, "never none");
        assert_eq!(parse(&["--count", "7"]).unwrap().operations(1000), 7);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["joins"][..],
            &["--in-flight", "0"],
            &["--count", "0"],
            &["--count", "1", "--scale", "2"],
            &["--segments", "0"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        let said = parse(&["joins"]).unwrap_err();
        assert!(ALL.iter().all(|scenario| said.contains(scenario.name())), "{said}");
    }
}
