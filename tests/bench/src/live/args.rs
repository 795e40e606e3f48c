//! The options of `live`.

use std::num::{NonZeroU64, NonZeroUsize};
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
        default_value = "latency,fan-out,slow,writers,subscribe,idle,churn,initial-rows"
    )]
    pub(crate) scenarios: Vec<Scenario>,

    /// Users of `latency`, `writers`, `subscribe` and `churn`, each with a connection of its own.
    #[arg(long, default_value = "1000")]
    pub(crate) users: NonZeroUsize,

    /// Inserts a second of `latency` (each of a random user) and `slow`.
    #[arg(long, value_name = "PER_SECOND", default_value = "1000", value_parser = read_positive)]
    pub(crate) rate: f64,

    /// How long `latency` inserts, and `slow` twice: 10s.
    #[arg(long, default_value = "10s", value_parser = read_duration)]
    pub(crate) duration: Duration,

    /// Connections that insert; of `churn` those that come and go at the same time.
    #[arg(long, default_value = "16")]
    pub(crate) in_flight: NonZeroUsize,

    /// Equal subscriptions of the one user of `fan-out`, ten on each connection.
    #[arg(long, default_value = "100")]
    pub(crate) fan: NonZeroUsize,

    /// Inserts of `fan-out`, one after the other.
    #[arg(long, default_value = "1000")]
    pub(crate) inserts: NonZeroUsize,

    /// Subscriptions of `slow` that are read, each on a connection of its own.
    #[arg(long, default_value = "10")]
    pub(crate) fast: NonZeroUsize,

    /// Subscriptions of `slow` that are not.
    #[arg(long, default_value = "40")]
    pub(crate) slow: NonZeroUsize,

    /// Bytes of each row's text of `slow`: what nobody reads has to be more than fits on the way.
    #[arg(long, default_value = "1024")]
    pub(crate) body_bytes: NonZeroUsize,

    /// How long `writers` inserts into each of its four tables: 5s.
    #[arg(long, default_value = "5s", value_parser = read_duration)]
    pub(crate) write_for: Duration,

    /// How often `writers` does so.
    #[arg(long, default_value = "3")]
    pub(crate) repeats: NonZeroUsize,

    /// Subscriptions on each connection of `subscribe`.
    #[arg(long, default_value = "10")]
    pub(crate) each: NonZeroUsize,

    /// Connections of `idle`, each with one subscription.
    #[arg(long, default_value = "1000")]
    pub(crate) connections: NonZeroUsize,

    /// Connections of `churn`, one after the other on each place.
    #[arg(long, default_value = "40000")]
    pub(crate) rounds: NonZeroU64,

    /// Rows that the subscriptions of `initial-rows` begin with.
    #[arg(long, value_delimiter = ',', value_name = "LIST", default_value = "1000,100000")]
    pub(crate) initial: Vec<u64>,
}
