//! Of ten requests seven point lookups, two inserts and one update over 10 000 rows, as `run` does it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::run::scenario::Mixed;

use super::ground::{Expected, Ground, Prepared};
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct MixedLoad;

impl Scenario for MixedLoad {
    fn name(&self) -> &'static str {
        "mixed"
    }

    fn about(&self) -> &'static str {
        "of ten requests seven point lookups, two inserts and one update, over 10 000 rows"
    }

    fn kind(&self) -> &'static str {
        "mixed"
    }

    fn times(&self) -> u64 {
        10_000
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let table = ground.filled(10_000).await?;
            let next_id = Arc::new(AtomicU64::new(table.rows));
            let mixed = Mixed::new(&table.table, table.rows, 1, Arc::clone(&next_id));
            // Ids are given without gaps, so the next one is how many rows there are.
            Ok(Prepared { left: Some(table.left(Expected::Counted(next_id))?), ..table.read_by(mixed) })
        })
    }
}
