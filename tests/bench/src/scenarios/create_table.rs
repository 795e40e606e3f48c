//! `CREATE USER TABLE`: each table is looked at and dropped again, untimed.

use super::ddl::{create, drop, empty, prepared};
use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct CreateTable;

impl Scenario for CreateTable {
    fn name(&self) -> &'static str {
        "create-table"
    }

    fn about(&self) -> &'static str {
        "CREATE USER TABLE of three columns"
    }

    fn kind(&self) -> &'static str {
        "ddl"
    }

    fn times(&self) -> u64 {
        500
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            prepared(ground, |namespace| vec![create(namespace), empty(namespace).untimed(), drop(namespace).untimed()])
        })
    }
}
