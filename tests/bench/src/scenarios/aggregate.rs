//! Aggregates over 10 000 rows in ten groups.

use serde_json::{Value, json};

use crate::run::query::Query;
use crate::run::rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct Aggregate;

/// The groups that there are, in order.
fn groups(rows: u64) -> Vec<Value> {
    let group = |digit: u64| {
        let numbers = || (0..rows).map(rows::number).filter(move |number| number % 10 == digit);
        let (min, max) = (numbers().min()?, numbers().max()?);
        let (how_many, sum) = (numbers().count(), numbers().sum::<u64>());
        Some(json!({"digit": digit, "how_many": how_many, "sum_n": sum, "min_n": min, "max_n": max}))
    };
    (0..10).filter_map(group).collect()
}

impl Scenario for Aggregate {
    fn name(&self) -> &'static str {
        "aggregate"
    }

    fn about(&self) -> &'static str {
        "count, sum, min, max of 10 000 rows in ten groups"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        500
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(10_000).await?;
            let sql = format!(
                "SELECT n % 10 AS digit, count(*) AS how_many, sum(n) AS sum_n, min(n) AS min_n, max(n) AS max_n \
                 FROM {} GROUP BY n % 10 ORDER BY digit",
                table.table
            );
            Ok(table.read_by(Query::new(&sql, groups(table.rows))))
        })
    }
}
