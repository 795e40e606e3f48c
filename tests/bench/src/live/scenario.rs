//! What can be measured; a file each.

pub(crate) mod churn;
pub(crate) mod fan_out;
pub(crate) mod idle;
pub(crate) mod initial_rows;
pub(crate) mod latency;
pub(crate) mod slow;
pub(crate) mod subscribe;
pub(crate) mod writers;

use clap::ValueEnum;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::run::connection::Address;
use crate::run::meter::{Meter, Sample, Series};

use super::readers::Readers;
use super::socket::Socket;

/// Connections that are opened at the same time.
const OPENERS: usize = 32;

/// The scenarios, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// From an insert to its subscriber, beside the insert's own round trip.
    Latency,
    /// One user's inserts to many equal subscriptions.
    FanOut,
    /// Subscribers who read among others who do not.
    Slow,
    /// Single-row inserts without and with subscribers, with and without a change log.
    Writers,
    /// Many subscriptions are made.
    Subscribe,
    /// Connections with a subscription each that are told nothing: the server's memory.
    Idle,
    /// Connections that come, subscribe and go.
    Churn,
    /// The rows that a subscription begins with.
    InitialRows,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::Latency,
        Self::FanOut,
        Self::Slow,
        Self::Writers,
        Self::Subscribe,
        Self::Idle,
        Self::Churn,
        Self::InitialRows,
    ];

    /// Its name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FanOut => "fan-out",
            Self::Slow => "slow",
            Self::Writers => "writers",
            Self::Subscribe => "subscribe",
            Self::Idle => "idle",
            Self::Churn => "churn",
            Self::InitialRows => "initial-rows",
        }
    }
}

/// A socket for each caller, in their order.
async fn open_all(address: &Address, callers: &[Caller]) -> Result<Vec<Socket>, Failure> {
    let open = |caller: Caller| async move { Socket::open(address, &caller).await };
    stream::iter(callers.iter().cloned()).map(open).buffered(OPENERS).try_collect().await
}

/// The same with a subscription on each.
async fn follow_all(address: &Address, callers: &[Caller], sql: &str) -> Result<Vec<Socket>, Failure> {
    let mut sockets = open_all(address, callers).await?;
    for socket in &mut sockets {
        socket.follow(sql, json!({})).await?;
    }
    Ok(sockets)
}

/// Warms up, waits until what that set off is told, each row to so many, and measures: who is behind at the beginning would
/// be so for a while. A warm-up that failed is what was measured.
async fn measure_told(meter: &Meter, series: Series, readers: &mut Readers, told_to: usize) -> Result<Sample, Failure> {
    let warm_up = meter.warm_up(series.clone()).await?;
    if warm_up.figures.failed > 0 {
        return Ok(warm_up);
    }
    readers.reach(warm_up.in_all * told_to as u64).await?;
    let sample = meter.warmed().measure(Series { first: warm_up.next, ..series }).await?;
    Ok(Sample { in_all: warm_up.in_all + sample.in_all, ..sample })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        assert_eq!(Scenario::value_variants(), Scenario::ALL);
        for scenario in Scenario::ALL {
            assert_eq!(scenario.to_possible_value().unwrap().get_name(), scenario.name());
        }
    }
}
