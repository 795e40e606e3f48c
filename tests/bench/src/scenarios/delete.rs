//! `DELETE … WHERE id = $1` of one row beside 1000 others; each is inserted for it, untimed.

use serde_json::json;

use crate::run::rows;

use super::ground::{FRESH, Ground};
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};

/// See the module.
#[derive(Debug)]
pub(crate) struct Delete;

impl Scenario for Delete {
    fn name(&self) -> &'static str {
        "delete"
    }

    fn about(&self) -> &'static str {
        "DELETE of one row of 1000 by primary key"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        10_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(1000).await?;
            let insert = Step::with_params(&rows::insert(&table.table), |number| {
                vec![json!(FRESH + number), json!(rows::body(number)), json!(rows::number(number))]
            });
            let delete = format!("DELETE FROM {} WHERE id = $1", table.table);
            let delete = Step::with_params(&delete, |number| vec![json!(FRESH + number)]);
            table.written_by(Steps::new([insert.untimed(), delete]), 0)
        })
    }
}
