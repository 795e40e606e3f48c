//! One statement, asked again and again, one after the other.

use std::sync::Arc;

use crate::failure::Failure;
use crate::run::meter::Series;
use crate::run::pace::Pace;
use crate::run::report::Figures;

use super::Bench;
use super::table::Table;

pub(crate) use crate::run::query::Query;

impl Query {
    /// Asks it so many times, one after the other.
    ///
    /// # Errors
    /// As for [`Meter::measure`](crate::run::meter::Meter::measure).
    pub(crate) async fn measure(self, bench: &Bench<'_>, table: &Table, times: usize) -> Result<Figures, Failure> {
        let series = Series {
            operation: Arc::new(self),
            heads: table.heads(),
            in_flight: 1,
            first: 0,
            count: times as u64,
            cap: None,
            pace: Pace::Closed,
        };
        Ok(bench.meter.measure(series).await?.figures)
    }
}
