//! What can be measured; a file each.

pub(crate) mod fan_out;
pub(crate) mod idle;
pub(crate) mod initial_rows;
pub(crate) mod latency;
pub(crate) mod subscribe;

use clap::ValueEnum;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::run::connection::Address;

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
    /// Many subscriptions are made.
    Subscribe,
    /// Connections with a subscription each that are told nothing: the server's memory.
    Idle,
    /// The rows that a subscription begins with.
    InitialRows,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Latency, Self::FanOut, Self::Subscribe, Self::Idle, Self::InitialRows];

    /// Its name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::FanOut => "fan-out",
            Self::Subscribe => "subscribe",
            Self::Idle => "idle",
            Self::InitialRows => "initial-rows",
        }
    }
}

/// A socket for each caller, in their order.
async fn open_all(address: &Address, callers: &[Caller]) -> Result<Vec<Socket>, Failure> {
    let open = |caller: Caller| async move { Socket::open(address, &caller).await };
    stream::iter(callers.iter().cloned()).map(open).buffered(OPENERS).try_collect().await
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
