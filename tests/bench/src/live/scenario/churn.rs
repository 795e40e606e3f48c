//! Connections that come, subscribe and go, again and again: how many a second, and what is left of them in the server,
//! which has to be nothing.

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::json;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::counts::Counts;
use crate::live::socket::Socket;
use crate::run::connection::Address;
use crate::run::report::per_second;
use crate::run::scenario::index;
use crate::run::target::Target;

/// The server's memory is looked at after each of so many parts. In the first it comes to have what it keeps anyway:
/// compiled queries, sessions, what its allocator holds ready.
const PARTS: u64 = 4;
/// What it may have more after the last part than after the first: an allocator's noise. A leak of a few hundred bytes in
/// each round is more than that in 100 000 rounds.
const NOISE_BYTES: u64 = 32 << 20;

/// What coming and going takes and leaves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChurnReport {
    pub(crate) rounds: u64,
    pub(crate) users: usize,
    /// Rounds under way at the same time.
    pub(crate) in_flight: usize,
    pub(crate) seconds: f64,
    pub(crate) rounds_per_second: f64,
    /// What the server counted before the first round, and has to count after the last.
    pub(crate) counts: Counts,
    /// Its resident memory before, after each quarter of the rounds, and when all were gone; nothing where it is not known.
    pub(crate) memory_bytes: Vec<u64>,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<ChurnReport, Failure> {
    let (rounds, in_flight) = (bench.args.rounds.get(), bench.args.in_flight.get());
    let users = bench.args.users.get();
    let place = bench.stage.place(Target::Users, users)?;
    let table = bench.stage.make(&place, "churn").await?;
    let (admin, _) = bench.stage.of_admin(&place, "churn");
    let sql = format!("SELECT id, body FROM {table} WHERE n > 5");
    let counts = Counts::read(&admin).await?;
    let mut memory_bytes = Vec::from_iter(bench.meter.resident_bytes());
    let begun = Instant::now();
    for part in 0..PARTS {
        let numbers = rounds * part / PARTS..rounds * (part + 1) / PARTS;
        let one = |number: u64| round(&bench.meter.address, &place.callers[index(number, users)], &sql, number);
        stream::iter(numbers).map(one).buffer_unordered(in_flight).try_collect::<()>().await?;
        memory_bytes.extend(bench.meter.resident_bytes());
    }
    let took = begun.elapsed();
    counts.settle(&admin).await?;
    memory_bytes.extend(bench.meter.resident_bytes());
    if let [_, first, .., last] = memory_bytes.as_slice() {
        check(*first, *last)?;
    }
    let rounds_per_second = per_second(rounds, took);
    Ok(ChurnReport { rounds, users, in_flight, seconds: took.as_secs_f64(), rounds_per_second, counts, memory_bytes })
}

/// One connection. Half of them say goodbye, the others are just gone.
async fn round(address: &Address, caller: &Caller, sql: &str, number: u64) -> Result<(), Failure> {
    let mut socket = Socket::open(address, caller).await?;
    socket.follow(sql, json!({})).await?;
    if number.is_multiple_of(2) { socket.close().await } else { Ok(()) }
}

fn check(first: u64, last: u64) -> Result<(), Failure> {
    let most = first + NOISE_BYTES;
    if last <= most {
        return Ok(());
    }
    let what = "bytes of the server's memory after all rounds, at most".to_owned();
    Err(Failure::Different { what, expected: most, found: last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_stays_is_a_failure() {
        assert!(check(100 << 20, 90 << 20).is_ok());
        assert!(check(100 << 20, 132 << 20).is_ok());
        assert!(check(100 << 20, (132 << 20) + 1).is_err());
    }
}
