//! What scenarios stand on: tables with rows in them, and what has to be left at the end.
//!
//! No table is flushed by itself: a scenario measures hot rows, unless it flushes them by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::flush::scenario::interleave;
use crate::flush::table::{Table, same};
use crate::run::connection::Head;
use crate::run::scenario::Operation;
use crate::run::stage::BY_HAND;
use crate::run::stage::{Place, Stage};
use crate::run::target::Target;

use super::args::ScenariosArgs;

/// Ids of rows that operations make and remove lie above all that are there before.
pub(crate) const FRESH: u64 = 1_000_000;

/// Where a scenario prepares.
#[derive(Debug)]
pub(crate) struct Ground<'a> {
    pub(crate) stage: &'a mut Stage,
    pub(crate) args: &'a ScenariosArgs,
}

/// What can be run.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) operation: Arc<dyn Operation>,
    /// One for each caller.
    pub(crate) heads: Arc<[Head]>,
    pub(crate) left: Option<Left>,
}

impl Prepared {
    /// With nothing to look at afterwards.
    pub(crate) fn new(operation: impl Operation + 'static, heads: &Arc<[Head]>) -> Self {
        Self { operation: Arc::new(operation), heads: Arc::clone(heads), left: None }
    }
}

/// A number that a query has to find at the end if every operation was right.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) caller: Caller,
    pub(crate) sql: String,
    pub(crate) expected: Expected,
}

/// See [`Left`].
#[derive(Debug)]
pub(crate) enum Expected {
    /// So many, and so many more for each operation.
    Each { base: u64, each: u64 },
    /// What was counted meanwhile.
    Counted(Arc<AtomicU64>),
}

impl Left {
    /// # Errors
    /// What the server says; another number.
    pub(crate) async fn check(&self, operations: u64) -> Result<(), Failure> {
        let expected = match &self.expected {
            Expected::Each { base, each } => base + each * operations,
            Expected::Counted(counter) => counter.load(Ordering::Relaxed),
        };
        let rows = self.caller.rows(&self.sql).await?;
        let found = rows.first().and_then(|row| row.first()).and_then(serde_json::Value::as_u64);
        let Some(found) = found else {
            return Err(Failure::Malformed { asked: self.sql.clone(), problem: "no number".to_owned() });
        };
        same(&format!("at the end `{}`", self.sql), expected, found)
    }
}

impl Ground<'_> {
    /// A table of the columns of `run` with rows whose ids are below `rows`: of one user.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn filled(&mut self, rows: u64) -> Result<Filled, Failure> {
        self.filled_of(Target::OneUser, 1, rows).await
    }

    /// The same with the rows spread over users.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn filled_of(&mut self, target: Target, users: usize, rows: u64) -> Result<Filled, Failure> {
        let place = self.stage.place(target, users)?;
        let table = self.stage.make_with(&place, "rows", BY_HAND).await?;
        Stage::fill(&place, &table, 0..rows).await?;
        Ok(Filled { place, table, rows })
    }

    /// An empty table of other columns.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn empty_of(&mut self, purpose: &str, columns: &str) -> Result<Filled, Failure> {
        let place = self.stage.place(Target::OneUser, 1)?;
        let table = self.stage.make_of(&place, purpose, columns, BY_HAND).await?;
        Ok(Filled { place, table, rows: 0 })
    }

    /// One user's rows, as many and in as many segments as the options say; gives how many.
    ///
    /// # Errors
    /// What the server says; rows that are not what was written.
    pub(crate) async fn flushed(&mut self) -> Result<(Table, u64), Failure> {
        let rows = self.args.flushed_rows.get() as u64;
        let table = Table::make(self.stage, Target::OneUser, 1, "flushed").await?;
        interleave(&table, rows, self.args.segments.get()).await?;
        Ok((table, rows))
    }
}

/// A table with its rows.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) place: Place,
    /// What its callers call it.
    pub(crate) table: String,
    pub(crate) rows: u64,
}

impl Filled {
    /// Operations that leave it as it is.
    pub(crate) fn read_by(&self, operation: impl Operation + 'static) -> Prepared {
        Prepared::new(operation, &self.place.heads)
    }

    /// Operations that each leave so many rows more in it; its only user counts them at the end.
    ///
    /// # Errors
    /// A table without users.
    pub(crate) fn written_by(&self, operation: impl Operation + 'static, each: u64) -> Result<Prepared, Failure> {
        let expected = Expected::Each { base: self.rows, each };
        Ok(Prepared { left: Some(self.left(expected)?), ..self.read_by(operation) })
    }

    /// What `count(*)` has to find.
    ///
    /// # Errors
    /// A table without users.
    pub(crate) fn left(&self, expected: Expected) -> Result<Left, Failure> {
        Ok(Left { caller: self.owner()?, sql: format!("SELECT count(*) AS how_many FROM {}", self.table), expected })
    }

    /// Its only user.
    ///
    /// # Errors
    /// A table without users.
    pub(crate) fn owner(&self) -> Result<Caller, Failure> {
        let nobody = || Failure::Malformed { asked: self.table.clone(), problem: "nobody has it".to_owned() };
        self.place.callers.first().cloned().ok_or_else(nobody)
    }
}
