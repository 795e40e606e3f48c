//! `INSERT`, `UPDATE`, `SELECT` and `DELETE` of one row, one after the other: the time of all four.

use serde_json::json;

use crate::run::rows;

use super::ground::{FRESH, Ground};
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};

/// See the module.
#[derive(Debug)]
pub(crate) struct Crud;

impl Scenario for Crud {
    fn name(&self) -> &'static str {
        "crud"
    }

    fn about(&self) -> &'static str {
        "INSERT, UPDATE, SELECT and DELETE of one row, one after the other"
    }

    fn kind(&self) -> &'static str {
        "mixed"
    }

    fn times(&self) -> u64 {
        3_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(1000).await?;
            let key = |number: u64| vec![json!(FRESH + number)];
            let insert = Step::with_params(&rows::insert(&table.table), |number| {
                vec![json!(FRESH + number), json!(rows::body(number)), json!(0)]
            });
            let update = format!("UPDATE {} SET n = $1 WHERE id = $2", table.table);
            let update = Step::with_params(&update, |number| vec![json!(rows::number(number)), json!(FRESH + number)]);
            let select = Step::with_params(&format!("SELECT body, n FROM {} WHERE id = $1", table.table), key);
            let select = select
                .brings(|number, found| found == [json!({"body": rows::body(number), "n": rows::number(number)})]);
            let delete = Step::with_params(&format!("DELETE FROM {} WHERE id = $1", table.table), key);
            table.written_by(Steps::new([insert, update, select, delete]), 0)
        })
    }
}
