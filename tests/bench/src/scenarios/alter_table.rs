//! `ALTER TABLE … ADD COLUMN … DEFAULT …`: each table is made for it with a row in it, which then has to have the
//! default, and dropped, untimed.

use serde_json::json;

use super::ddl::{create, drop, name, prepared};
use super::ground::Ground;
use super::scenario::{Preparing, Scenario};
use super::steps::Step;

/// See the module.
#[derive(Debug)]
pub(crate) struct AlterTable;

impl Scenario for AlterTable {
    fn name(&self) -> &'static str {
        "alter-table"
    }

    fn about(&self) -> &'static str {
        "ALTER TABLE ... ADD COLUMN with a default, of a table with a row"
    }

    fn kind(&self) -> &'static str {
        "ddl"
    }

    fn times(&self) -> u64 {
        500
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            prepared(ground, |namespace| {
                let [insert, alter, select] = [namespace; 3].map(str::to_owned);
                let insert =
                    Step::text(move |n| format!("INSERT INTO {} (id, body, n) VALUES (1, 'a', 2)", name(&insert, n)));
                let alter =
                    Step::text(move |n| format!("ALTER TABLE {} ADD COLUMN more TEXT DEFAULT 'none'", name(&alter, n)));
                let select = Step::text(move |n| format!("SELECT id, more FROM {}", name(&select, n)));
                let select = select.brings(|_, rows| rows == [json!({"id": 1, "more": "none"})]);
                vec![
                    create(namespace).untimed(),
                    insert.changes(1).untimed(),
                    alter,
                    select.untimed(),
                    drop(namespace).untimed(),
                ]
            })
        })
    }
}
