//! `SELECT … WHERE id = $1` of 10 000 rows, as `run` does it.

use crate::run::scenario::PointRead;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct PointLookup;

impl Scenario for PointLookup {
    fn name(&self) -> &'static str {
        "point-lookup"
    }

    fn about(&self) -> &'static str {
        "SELECT of one row of 10 000 by primary key"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        20_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(10_000).await?;
            Ok(table.read_by(PointRead::new(&table.table, table.rows, 1)))
        })
    }
}
