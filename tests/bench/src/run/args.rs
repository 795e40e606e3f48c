//! The options of `run`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::args::{MeasureArgs, read_duration, read_positive};

use super::scenario::Scenario;
use super::target::Target;

#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,

    /// What to measure. `health` always runs first: it is what the others are compared with.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "health,insert,insert-latency,point-read,mixed"
    )]
    pub(crate) scenarios: Vec<Scenario>,

    /// Where the rows lie: in one user's partition, spread over many users, in a shared table.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_value = "one-user,users,shared")]
    pub(crate) targets: Vec<Target>,

    /// Requests under way at the same time, each on a connection of its own; each number is a part of
    /// its own.
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "1,16,64")]
    pub(crate) in_flight: Vec<NonZeroUsize>,

    /// Users of the target `users`.
    #[arg(long, default_value = "1000")]
    pub(crate) users: NonZeroUsize,

    /// Rows that point reads and the mix find, in all partitions together.
    #[arg(long, default_value = "100000")]
    pub(crate) rows: NonZeroUsize,

    /// Operations of a scenario instead of its own number: `insert=5000,point-read=20000`.
    #[arg(long, value_delimiter = ',', value_name = "SCENARIO=N", value_parser = read_count)]
    pub(crate) count: Vec<(Scenario, u64)>,

    /// Multiplies every scenario's own number of operations.
    #[arg(long, default_value = "1", value_parser = read_positive)]
    pub(crate) scale: f64,

    /// A part ends after this time even if operations are left: 500ms, 30s, 5m.
    #[arg(long, value_parser = read_duration)]
    pub(crate) duration: Option<Duration>,

    /// Requests a second that `insert-latency` offers; without it half of what the same inserts reach
    /// in a closed loop.
    #[arg(long, value_name = "PER_SECOND", value_parser = read_positive)]
    pub(crate) rate: Option<f64>,

    /// `insert-latency` in a closed loop: the next request waits for the answer before it, so what is
    /// told is the time of an answer at saturation.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) closed_loop: bool,
}

impl RunArgs {
    /// How many operations a scenario has in this run.
    pub(crate) fn operations(&self, scenario: Scenario) -> u64 {
        let given = self.count.iter().rev().find(|(named, _)| *named == scenario);
        if let Some((_, count)) = given {
            return *count;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a positive number far below 2^52"
        )]
        let scaled = (scenario.operations() as f64 * self.scale).round() as u64;
        scaled.max(1)
    }
}

fn read_count(text: &str) -> Result<(Scenario, u64), String> {
    let (name, count) = text.split_once('=').ok_or("expected SCENARIO=N")?;
    let scenario = <Scenario as clap::ValueEnum>::from_str(name.trim(), false)?;
    match count.trim().parse() {
        Ok(0) | Err(_) => Err(format!("{count:?} is no number of operations")),
        Ok(count) => Ok((scenario, count)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: RunArgs,
    }

    fn parse(words: &[&str]) -> Result<RunArgs, String> {
        let line = ["run"].iter().chain(words);
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_everything_is_measured() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.scenarios.len(), 5);
        assert_eq!(args.targets, [Target::OneUser, Target::Users, Target::Shared]);
        assert_eq!(args.in_flight.iter().map(|n| n.get()).collect::<Vec<_>>(), [1, 16, 64]);
        assert_eq!(args.operations(Scenario::Insert), 100_000);
        assert_eq!(args.operations(Scenario::InsertLatency), 10_000);
        assert_eq!(args.operations(Scenario::PointRead), 1_000_000);
        assert_eq!(args.users.get(), 1000);
        assert_eq!(args.measure.warm_up, Duration::from_secs(1));
        assert!(!args.closed_loop && args.rate.is_none() && args.duration.is_none());
    }

    #[test]
    fn lists_and_counts_are_read() {
        let args = parse(&[
            "--scenarios",
            "insert,health",
            "--targets",
            "users",
            "--in-flight",
            "1,16",
            "--count",
            "insert=5,point-read=7",
            "--count",
            "insert=6",
            "--scale",
            "0.001",
            "--users",
            "64",
            "--duration",
            "500ms",
        ])
        .unwrap();
        assert_eq!(args.scenarios, [Scenario::Insert, Scenario::Health]);
        assert_eq!(args.targets, [Target::Users]);
        assert_eq!(args.operations(Scenario::Insert), 6, "the last one counts");
        assert_eq!(args.operations(Scenario::PointRead), 7);
        assert_eq!(args.operations(Scenario::InsertLatency), 10, "scaled");
        assert_eq!(args.duration, Some(Duration::from_millis(500)));
        assert_eq!(parse(&["--scale", "1e-9"]).unwrap().operations(Scenario::Insert), 1, "never none");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["--scenarios", "inserts"][..],
            &["--targets", "everywhere"],
            &["--in-flight", "0"],
            &["--in-flight", "1,,2"],
            &["--users", "0"],
            &["--count", "insert"],
            &["--count", "insert=0"],
            &["--count", "insert=many"],
            &["--count", "nothing=1"],
            &["--scale", "0"],
            &["--scale", "NaN"],
            &["--rate", "-1"],
            &["--rate", "5", "--closed-loop"],
            &["--duration", "soon"],
            &["--token", "a", "--secret", "b"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }
}
