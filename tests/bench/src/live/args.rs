//! The options of `live`.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use crate::args::{MeasureArgs, read_duration, read_positive};

use super::scenario::Scenario;

#[derive(Debug, Clone, Args)]
pub(crate) struct LiveArgs {
    #[command(flatten)]
    pub(crate) measure: MeasureArgs,

    /// What to measure.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "LIST",
        default_value = "latency,fan-out,subscribe,idle,initial-rows"
    )]
    pub(crate) scenarios: Vec<Scenario>,

    /// Users of `latency` and `subscribe`, each with a connection of its own.
    #[arg(long, default_value = "1000")]
    pub(crate) users: NonZeroUsize,

    /// Inserts a second of `latency`, each of a random user.
    #[arg(long, value_name = "PER_SECOND", default_value = "1000", value_parser = read_positive)]
    pub(crate) rate: f64,

    /// How long `latency` inserts: 10s.
    #[arg(long, default_value = "10s", value_parser = read_duration)]
    pub(crate) duration: Duration,

    /// Connections that insert.
    #[arg(long, default_value = "16")]
    pub(crate) in_flight: NonZeroUsize,

    /// Equal subscriptions of the one user of `fan-out`, ten on each connection.
    #[arg(long, default_value = "100")]
    pub(crate) fan: NonZeroUsize,

    /// Inserts of `fan-out`, one after the other.
    #[arg(long, default_value = "1000")]
    pub(crate) inserts: NonZeroUsize,

    /// Subscriptions on each connection of `subscribe`.
    #[arg(long, default_value = "10")]
    pub(crate) each: NonZeroUsize,

    /// Connections of `idle`, each with one subscription.
    #[arg(long, default_value = "1000")]
    pub(crate) connections: NonZeroUsize,

    /// Rows that the subscriptions of `initial-rows` begin with.
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "1000,100000")]
    pub(crate) initial: Vec<u64>,
}
