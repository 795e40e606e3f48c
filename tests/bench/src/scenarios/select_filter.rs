//! `SELECT … WHERE n = $1` over 200 rows, of a column that is no key.

use serde_json::{Value, json};

use crate::run::query::Query;
use crate::run::rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct SelectFilter;

impl Scenario for SelectFilter {
    fn name(&self) -> &'static str {
        "select-filter"
    }

    fn about(&self) -> &'static str {
        "SELECT ... WHERE of a column that is no key, over 200 rows"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        5_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(200).await?;
            let row = |id| json!({"id": id, "body": rows::body(id), "n": rows::number(id)});
            let of_number = |number: u64| -> Vec<Value> {
                (0..table.rows).filter(|id| rows::number(*id) == number).map(row).collect()
            };
            let cases = (0..table.rows).map(rows::number).map(|number| (vec![json!(number)], of_number(number)));
            let sql = format!("SELECT id, body, n FROM {} WHERE n = $1", table.table);
            Ok(table.read_by(Query::in_turn(&sql, cases).in_any_order()))
        })
    }
}
