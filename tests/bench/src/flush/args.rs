//! The options of `flush`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::args::{MeasureArgs, read_duration, read_positive};

use super::scenario::Scenario;

#[derive(Debug, Clone, Args)]
pub(crate) struct FlushArgs {
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,

    /// What to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "fill,writers,point-read,aggregate,small-flushes"
    )]
    pub(crate) scenarios: Vec<Scenario>,

    /// Users over whom the rows of `fill` and `writers` are spread.
    #[arg(long, default_value = "1000")]
    pub(crate) users: NonZeroUsize,

    /// Rows that `fill` and each round of `writers` flush.
    #[arg(long, default_value = "1000000")]
    pub(crate) rows: NonZeroUsize,

    /// Requests a second of `writers`.
    #[arg(long, value_name = "PER_SECOND", default_value = "500", value_parser = read_positive)]
    pub(crate) rate: f64,

    /// Connections of `writers`; every other request is alone.
    #[arg(long, default_value = "16")]
    pub(crate) in_flight: NonZeroUsize,

    /// How long `writers` are measured without a flush: 10s.
    #[arg(long, default_value = "10s", value_parser = read_duration)]
    pub(crate) quiet: Duration,

    /// How often `writers` are measured without a flush and with one.
    #[arg(long, default_value = "1")]
    pub(crate) rounds: NonZeroUsize,

    /// Rows of the user of `point-read`.
    #[arg(long, default_value = "1000000")]
    pub(crate) point_rows: NonZeroUsize,

    /// Reads by key, of flushed rows and of hot ones.
    #[arg(long, default_value = "20000")]
    pub(crate) reads: NonZeroUsize,

    /// Rows of the user of `aggregate`.
    #[arg(long, default_value = "200000")]
    pub(crate) aggregate_rows: NonZeroUsize,

    /// How often the aggregate is computed.
    #[arg(long, default_value = "10")]
    pub(crate) runs: NonZeroUsize,

    /// Segments of `point-read` and `aggregate`, a flush each.
    #[arg(long, default_value = "20")]
    pub(crate) segments: NonZeroUsize,

    /// Flushes of ten rows each of `small-flushes`.
    #[arg(long, default_value = "100")]
    pub(crate) small_flushes: NonZeroUsize,

    /// How often all rows of `small-flushes` are deleted and come back, in as many flushes.
    #[arg(long, default_value = "3")]
    pub(crate) churns: usize,

    /// Queries of `small-flushes`.
    #[arg(long, default_value = "1000")]
    pub(crate) queries: NonZeroUsize,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: FlushArgs,
    }

    fn parse(words: &[&str]) -> Result<FlushArgs, String> {
        let line = ["flush"].iter().chain(words);
        Line::try_parse_from(line).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_options_everything_is_measured() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.scenarios, Scenario::ALL);
        assert_eq!((args.users.get(), args.rows.get(), args.segments.get()), (1000, 1_000_000, 20));
        assert_eq!((args.quiet, args.measure.warm_up), (Duration::from_secs(10), Duration::from_secs(1)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["--scenarios", "insert"][..],
            &["--rows", "0"],
            &["--rate", "0"],
            &["--segments", "0"],
            &["--quiet", "long"],
            &["--churns", "-1"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        assert_eq!(parse(&["--churns", "0"]).unwrap().churns, 0);
    }
}
