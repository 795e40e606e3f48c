//! `SELECT … WHERE id = $1` of flushed rows in segments whose keys interleave, so that bounds tell none from another.

use crate::run::scenario::PointRead;

use super::ground::{Ground, Prepared};
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct FlushedLookup;

impl Scenario for FlushedLookup {
    fn name(&self) -> &'static str {
        "flushed-lookup"
    }

    fn about(&self) -> &'static str {
        "SELECT by primary key of 200 000 rows flushed in 20 segments"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        5_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let (table, rows) = ground.flushed().await?;
            Ok(Prepared::new(PointRead::new(&table.called, rows, 1), &table.heads()))
        })
    }
}
