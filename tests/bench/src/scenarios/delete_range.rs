//! `DELETE … WHERE id >= $1 AND id < $2` of 100 rows beside 1000 others; they are inserted for it, untimed.

use serde_json::json;

use crate::run::rows;

use super::ground::{FRESH, Ground};
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};

/// See the module.
#[derive(Debug)]
pub(crate) struct DeleteRange;

/// Rows of a range.
const ROWS: usize = 100;

/// The first id of an operation.
fn first(number: u64) -> u64 {
    FRESH + number * ROWS as u64
}

impl Scenario for DeleteRange {
    fn name(&self) -> &'static str {
        "delete-range"
    }

    fn about(&self) -> &'static str {
        "DELETE of 100 rows by a range of primary keys"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        500
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(1000).await?;
            let each = ROWS as u64;
            let insert = Step::with_params(&rows::insert_of(&table.table, &rows::NAMES, ROWS), |number| {
                let ids = first(number)..first(number + 1);
                ids.flat_map(|id| [json!(id), json!(rows::body(id)), json!(rows::number(id))]).collect()
            });
            let delete = format!("DELETE FROM {} WHERE id >= $1 AND id < $2", table.table);
            let delete = Step::with_params(&delete, |number| vec![json!(first(number)), json!(first(number + 1))]);
            table.written_by(Steps::new([insert.changes(each).untimed(), delete.changes(each)]), 0)
        })
    }
}
