//! `SELECT` of all rows of a table of 200.

use serde_json::{Value, json};

use crate::run::query::Query;
use crate::run::rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct SelectAll;

impl Scenario for SelectAll {
    fn name(&self) -> &'static str {
        "select-all"
    }

    fn about(&self) -> &'static str {
        "SELECT of all of 200 rows"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        2_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(200).await?;
            let row = |id| json!({"id": id, "body": rows::body(id), "n": rows::number(id)});
            let rows: Vec<Value> = (0..table.rows).map(row).collect();
            let sql = format!("SELECT id, body, n FROM {}", table.table);
            Ok(table.read_by(Query::new(&sql, rows).in_any_order()))
        })
    }
}
