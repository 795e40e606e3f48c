//! `SELECT … WHERE id = $1` of as many clients at once as `--clients` says, each with rows and a connection of its own.

use std::num::NonZeroUsize;

use crate::run::scenario::PointRead;
use crate::run::target::Target;

use super::args::ScenariosArgs;
use super::ground::Ground;
use super::scenario::{Preparing, Scenario};

/// See the module.
#[derive(Debug)]
pub(crate) struct ConcurrentSelects;

/// Rows of each user.
const ROWS: u64 = 10;

impl Scenario for ConcurrentSelects {
    fn name(&self) -> &'static str {
        "concurrent-selects"
    }

    fn about(&self) -> &'static str {
        "SELECT by primary key of 1000 clients at once, each a user"
    }

    fn kind(&self) -> &'static str {
        "read"
    }

    fn times(&self) -> u64 {
        100_000
    }

    fn in_flight(&self, args: &ScenariosArgs) -> Vec<NonZeroUsize> {
        vec![args.clients]
    }

    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a> {
        Box::pin(async move {
            let users = ground.args.clients.get();
            let table = ground.filled_of(Target::Users, users, users as u64 * ROWS).await?;
            Ok(table.read_by(PointRead::new(&table.table, table.rows, users)))
        })
    }
}
