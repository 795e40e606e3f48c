//! `DROP TABLE`: each table is made for it, untimed.

use super::ddl::{create, drop, prepared};
use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct DropTable;

impl Scenario for DropTable {
    fn name(&self) -> &'static str {
        "drop-table"
    }

    fn about(&self) -> &'static str {
        "DROP TABLE of an empty table"
    }

    fn kind(&self) -> &'static str {
        "ddl"
    }

    fn times(&self) -> u64 {
        500
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move { prepared(ground, |namespace| vec![create(namespace).untimed(), drop(namespace)]) })
    }
}
