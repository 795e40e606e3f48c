//! `INSERT` of one row with a text of 4096 characters, which is read back, untimed.

use serde_json::json;

use crate::run::rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};

/// See the module.
#[derive(Debug)]
pub(crate) struct InsertLarge;

/// A row's text, of 64 parts that all differ.
fn payload(id: u64) -> String {
    (0..64).map(|part| rows::body(id * 64 + part)).collect()
}

impl Scenario for InsertLarge {
    fn name(&self) -> &'static str {
        "insert-4kb"
    }

    fn about(&self) -> &'static str {
        "INSERT of one row with a text of 4 KB"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        5_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(0).await?;
            let insert = Step::with_params(&rows::insert(&table.table), |number| {
                vec![json!(number), json!(payload(number)), json!(rows::number(number))]
            });
            let select = format!("SELECT body FROM {} WHERE id = $1", table.table);
            let select = Step::with_params(&select, |number| vec![json!(number)])
                .brings(|number, rows| rows == [json!({"body": payload(number)})]);
            table.written_by(Steps::new([insert, select.untimed()]), 1)
        })
    }
}
