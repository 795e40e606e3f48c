//! `UPDATE … WHERE id = $2` of one row of 10 000, which is read back, untimed.

use serde_json::json;

use super::ground::Ground;
use super::scenario::{Preparing, Scenario};
use super::steps::{Step, Steps};

/// See the module.
#[derive(Debug)]
pub(crate) struct Update;

impl Scenario for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn about(&self) -> &'static str {
        "UPDATE of one row of 10 000 by primary key"
    }

    fn kind(&self) -> &'static str {
        "write"
    }

    fn times(&self) -> u64 {
        10_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(10_000).await?;
            let rows = table.rows;
            let update =
                Step::with_params(&format!("UPDATE {} SET n = $1 WHERE id = $2", table.table), move |number| {
                    vec![json!(number), json!(number % rows)]
                });
            let select = format!("SELECT n FROM {} WHERE id = $1", table.table);
            let select =
                Step::with_params(&select, move |number| vec![json!(number % rows)]).brings(move |number, found| {
                    // A lane that was held up may find what the next update of its row has written meanwhile.
                    let value = found.first().and_then(|row| row["n"].as_u64());
                    found.len() == 1 && value.is_some_and(|value| value >= number && value % rows == number % rows)
                });
            table.written_by(Steps::new([update, select.untimed()]), 0)
        })
    }
}
