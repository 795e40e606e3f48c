//! `INSERT` of one row of 20 columns, which is read back, untimed.

use serde_json::json;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};
use super::wide;

/// See the module.
#[derive(Debug)]
pub(crate) struct InsertWide;

impl Scenario for InsertWide {
    fn name(&self) -> &'static str {
        "insert-20-columns"
    }

    fn about(&self) -> &'static str {
        "INSERT of one row of 20 columns"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        5_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.empty_of("wide", &wide::columns()).await?;
            let insert = Step::with_params(&wide::insert(&table.table), wide::values);
            let select = format!("SELECT * FROM {} WHERE id = $1", table.table);
            let select = Step::with_params(&select, |number| vec![json!(number)])
                .brings(|number, rows| rows == [wide::row(number)]);
            table.written_by(Steps::new([insert, select.untimed()]), 1)
        })
    }
}
