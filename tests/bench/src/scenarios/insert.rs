//! `INSERT` of one row, as `run` does it.

use crate::run::scenario::Insert;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct InsertOne;

impl Scenario for InsertOne {
    fn name(&self) -> &'static str {
        "insert"
    }

    fn about(&self) -> &'static str {
        "INSERT of one row of about 80 bytes"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        10_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(0).await?;
            table.written_by(Insert::new(&table.table, 1), 1)
        })
    }
}
