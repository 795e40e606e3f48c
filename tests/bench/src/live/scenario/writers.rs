//! What writers pay for live queries: single-row inserts as fast as they are answered, without and with subscribers, and
//! with and without a change log.
//!
//! User tables have a change log, shared tables have none; beside that one user's partition and a shared table are written
//! the same way. What is compared is measured one after the other, several times, since a machine's speed moves.

use std::sync::Arc;

use serde::Serialize;

use super::follow_all;
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::inserts::Inserts;
use crate::live::readers::Readers;
use crate::run::meter::Series;
use crate::run::pace::Pace;
use crate::run::ratio::{median, ratio};
use crate::run::report::Figures;
use crate::run::stage::BY_HAND;
use crate::run::target::Target;

/// What inserts reach.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WritersReport {
    pub(crate) users: usize,
    pub(crate) in_flight: usize,
    pub(crate) repeats: Vec<Repeat>,
    /// The medians of the repeats.
    pub(crate) followed_ratio: Option<f64>,
    pub(crate) change_log_ratio: Option<f64>,
}

/// One after the other.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Repeat {
    /// Of many users, to whom nobody is subscribed.
    pub(crate) alone: Figures,
    /// Of as many, each with a subscriber who is told of every row.
    pub(crate) followed: Figures,
    /// Of one user, to whom nobody is subscribed.
    pub(crate) one_user: Figures,
    /// Into a shared table.
    pub(crate) shared: Figures,
    /// The rate with subscribers over that without.
    pub(crate) followed_ratio: f64,
    /// The rate of one user over that into a shared table.
    pub(crate) change_log_ratio: f64,
}

/// Who is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followers {
    Nobody,
    Everybody,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<WritersReport, Failure> {
    let (users, in_flight) = (bench.args.users.get(), bench.args.in_flight.get());
    let mut repeats = Vec::new();
    for _ in 0..bench.args.repeats.get() {
        let alone = one(bench, Target::Users, Followers::Nobody).await?;
        let followed = one(bench, Target::Users, Followers::Everybody).await?;
        let one_user = one(bench, Target::OneUser, Followers::Nobody).await?;
        let shared = one(bench, Target::Shared, Followers::Nobody).await?;
        let followed_ratio = ratio(followed.rate, alone.rate);
        let change_log_ratio = ratio(one_user.rate, shared.rate);
        repeats.push(Repeat { alone, followed, one_user, shared, followed_ratio, change_log_ratio });
    }
    let of_all = |each: fn(&Repeat) -> f64| median(repeats.iter().map(each).collect());
    let followed_ratio = of_all(|repeat| repeat.followed_ratio);
    let change_log_ratio = of_all(|repeat| repeat.change_log_ratio);
    Ok(WritersReport { users, in_flight, repeats, followed_ratio, change_log_ratio })
}

/// Inserts into an empty table.
async fn one(bench: &mut Bench<'_>, target: Target, followers: Followers) -> Result<Figures, Failure> {
    let place = bench.stage.place(target, bench.args.users.get())?;
    // A flush in one of them and none in the other would be compared, too.
    let table = bench.stage.make_with(&place, "live_writers", BY_HAND).await?;
    let readers = match followers {
        Followers::Nobody => None,
        Followers::Everybody => {
            let sql = format!("SELECT id FROM {table}");
            Some(Readers::start(follow_all(&bench.meter.address, &place.callers, &sql).await?))
        }
    };
    let inserts = Arc::new(Inserts::new(&table, place.callers()));
    let series = Series {
        operation: Arc::<Inserts>::clone(&inserts),
        heads: Arc::clone(&place.heads),
        in_flight: bench.args.in_flight.get(),
        first: 0,
        count: u64::MAX,
        cap: Some(bench.args.write_for),
        pace: Pace::Closed,
    };
    let sample = bench.meter.measure(series).await?;
    // Where an insert failed nobody knows what has to be told; the run is a failure anyway.
    if let Some(readers) = readers.filter(|_| !sample.figures.is_bad()) {
        let told = readers.finish(sample.in_all).await?;
        inserts.check(&told, |subscriber, id| inserts.owner(id) == subscriber)?;
    }
    Ok(sample.figures)
}
