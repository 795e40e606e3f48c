//! Aggregates over every value of flushed rows in such segments, those of `flush`.

use crate::flush::scenario::aggregate;
use crate::run::query::Query;

use super::ground::{Ground, Prepared};
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct FlushedAggregate;

impl Scenario for FlushedAggregate {
    fn name(&self) -> &'static str {
        "flushed-aggregate"
    }

    fn about(&self) -> &'static str {
        "nine aggregates over 200 000 rows flushed in 20 segments"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        20
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let (table, rows) = ground.flushed().await?;
            let query = Query::new(&aggregate::statement(&table.called), vec![aggregate::expected(rows)]);
            Ok(Prepared::new(query, &table.heads()))
        })
    }
}
