//! `SELECT *` of 1000 rows of 20 columns.

use serde_json::Value;

use crate::run::query::Query;
use crate::run::stage::insert_rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};
use super::wide;

/// See the module.
#[derive(Debug)]
pub(crate) struct WideResults;

/// Rows of a result.
const ROWS: u64 = 1000;

impl Scenario for WideResults {
    fn name(&self) -> &'static str {
        "wide-results"
    }

    fn about(&self) -> &'static str {
        "SELECT * of 1000 rows of 20 columns"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        200
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.empty_of("wide", &wide::columns()).await?;
            let values: Vec<Vec<Value>> = (0..ROWS).map(wide::values).collect();
            let names = wide::names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            insert_rows(&table.owner()?, &table.table, &names, &values).await?;
            let rows: Vec<Value> = (0..ROWS).map(wide::row).collect();
            Ok(table.read_by(Query::new(&format!("SELECT * FROM {}", table.table), rows).in_any_order()))
        })
    }
}
