//! `INSERT` of 50 rows with one statement.

use serde_json::json;

use crate::run::rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};

/// See the module.
#[derive(Debug)]
pub(crate) struct InsertBatch;

/// Rows of a statement.
const ROWS: usize = 50;

impl Scenario for InsertBatch {
    fn name(&self) -> &'static str {
        "insert-50"
    }

    fn about(&self) -> &'static str {
        "INSERT of 50 rows with one statement"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        2_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(0).await?;
            let each = ROWS as u64;
            let sql = rows::insert_of(&table.table, &rows::NAMES, ROWS);
            let insert = Step::with_params(&sql, move |number| {
                let ids = number * each..(number + 1) * each;
                ids.flat_map(|id| [json!(id), json!(rows::body(id)), json!(rows::number(id))]).collect()
            });
            table.written_by(Steps::new([insert.changes(each)]), each)
        })
    }
}
