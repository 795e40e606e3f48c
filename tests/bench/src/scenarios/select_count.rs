//! `SELECT count(*)` of 10 000 rows.

use serde_json::json;

use crate::run::query::Query;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct SelectCount;

impl Scenario for SelectCount {
    fn name(&self) -> &'static str {
        "select-count"
    }

    fn about(&self) -> &'static str {
        "SELECT count(*) of 10 000 rows"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        1_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(10_000).await?;
            let sql = format!("SELECT count(*) AS how_many FROM {}", table.table);
            Ok(table.read_by(Query::new(&sql, vec![json!({"how_many": table.rows})])))
        })
    }
}
