//! `SELECT … ORDER BY n DESC LIMIT $1` of 10 000 rows: the ten with the greatest numbers.

use std::cmp::Reverse;

use serde_json::{Value, json};

use crate::run::query::Query;
use crate::run::rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct OrderLimit;

impl Scenario for OrderLimit {
    fn name(&self) -> &'static str {
        "order-limit"
    }

    fn about(&self) -> &'static str {
        "SELECT ... ORDER BY a column that is no key LIMIT 10, of 10 000 rows"
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
            let mut rows: Vec<(u64, u64)> = (0..table.rows).map(|id| (rows::number(id), id)).collect();
            rows.sort_unstable_by_key(|(number, id)| (Reverse(*number), *id));
            let first: Vec<Value> = rows.iter().take(10).map(|(number, id)| json!({"id": id, "n": number})).collect();
            let sql = format!("SELECT id, n FROM {} ORDER BY n DESC, id LIMIT $1", table.table);
            Ok(table.read_by(Query::in_turn(&sql, [(vec![json!(10)], first)])))
        })
    }
}
