//! A join of 200 rows with 1000, each of which has one of the 200: 1000 rows come back.

use serde_json::{Value, json};

use crate::run::query::Query;
use crate::run::rows;
use crate::run::stage::insert_rows;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct Join;

/// Rows of the greater table.
const THINGS: u64 = 1000;
/// Prices are other numbers than those of the owners.
const FIRST_PRICE: u64 = 1 << 20;

impl Scenario for Join {
    fn name(&self) -> &'static str {
        "join"
    }

    fn about(&self) -> &'static str {
        "JOIN of 200 rows with 1000, all 1000 of the result"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        500
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let owners = ground.filled(200).await?;
            let things = ground
                .empty_of("things", "id BIGINT PRIMARY KEY, owner BIGINT NOT NULL, price BIGINT NOT NULL")
                .await?;
            let owner = |id: u64| rows::scatter(id) % owners.rows;
            let price = |id: u64| rows::number(FIRST_PRICE + id);
            let values: Vec<Vec<Value>> =
                (0..THINGS).map(|id| vec![json!(id), json!(owner(id)), json!(price(id))]).collect();
            insert_rows(&things.owner()?, &things.table, &["id", "owner", "price"], &values).await?;
            let row = |id| json!({"id": id, "n": rows::number(owner(id)), "price": price(id)});
            let sql = format!(
                "SELECT things.id AS id, owners.n AS n, things.price AS price \
                 FROM {} AS things JOIN {} AS owners ON owners.id = things.owner",
                things.table, owners.table
            );
            Ok(owners.read_by(Query::new(&sql, (0..THINGS).map(row).collect()).in_any_order()))
        })
    }
}
