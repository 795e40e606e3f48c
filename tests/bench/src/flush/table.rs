//! A table that nothing but FLUSH TABLE flushes, and what it holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::Value;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::run::connection::Head;
use crate::run::report::per_second;
use crate::run::stage::{BY_HAND, FILLERS, Place, Stage};
use crate::run::target::Target;

/// A user table of the columns of `run`.
#[derive(Debug)]
pub(crate) struct Table {
    admin: Caller,
    place: Place,
    /// What it is called by `admin`.
    name: String,
    /// What it is called by those whose rows it holds.
    pub(crate) called: String,
}

/// What was written or flushed, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Moved {
    pub(crate) rows: u64,
    /// None where rows were inserted.
    pub(crate) segments: Option<u64>,
    pub(crate) seconds: f64,
    pub(crate) rows_per_second: f64,
}

impl Moved {
    fn new(rows: u64, segments: Option<u64>, took: Duration) -> Self {
        Self { rows, segments, seconds: took.as_secs_f64(), rows_per_second: per_second(rows, took) }
    }
}

/// Of `SHOW TABLE STATS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) buffered_rows: u64,
    pub(crate) flushed_rows: u64,
    pub(crate) segments: u64,
}

impl Table {
    /// An empty one.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn make(stage: &mut Stage, target: Target, users: usize, purpose: &str) -> Result<Self, Failure> {
        let place = stage.place(target, users)?;
        let called = stage.make_with(&place, purpose, BY_HAND).await?;
        let (admin, name) = stage.of_admin(&place, purpose);
        Ok(Self { admin, place, name, called })
    }

    /// What each caller's requests begin with.
    pub(crate) fn heads(&self) -> Arc<[Head]> {
        Arc::clone(&self.place.heads)
    }

    /// Whose rows it holds.
    pub(crate) fn callers(&self) -> usize {
        self.place.callers()
    }

    /// Puts the rows with these ids in, 500 with each statement.
    ///
    /// # Errors
    /// What the server says; a statement that inserts fewer rows than it was given.
    pub(crate) async fn insert(&self, ids: impl Iterator<Item = u64>) -> Result<Moved, Failure> {
        let began = Instant::now();
        let rows = Stage::fill(&self.place, &self.called, ids).await?;
        Ok(Moved::new(rows, None, began.elapsed()))
    }

    /// `FLUSH TABLE`, waited for.
    ///
    /// # Errors
    /// What the server says, and any status but `flushed`.
    pub(crate) async fn flush(&self) -> Result<Moved, Failure> {
        let began = Instant::now();
        let row = self.row_of(&format!("FLUSH TABLE {}", self.name)).await?;
        let took = began.elapsed();
        if row["status"] != "flushed" {
            return Err(self.malformed("FLUSH TABLE", &format!("its status is {}: {}", row["status"], row["error"])));
        }
        let rows = self.number_of(&row, "rows_flushed")?;
        Ok(Moved::new(rows, Some(self.number_of(&row, "segments")?), took))
    }

    /// The same with as many rows and segments as there have to be.
    ///
    /// # Errors
    /// Also where it is not so many.
    pub(crate) async fn flush_all(&self, rows: u64, segments: u64) -> Result<Moved, Failure> {
        let flush = self.flush().await?;
        same(&format!("rows that FLUSH TABLE {} flushed", self.name), rows, flush.rows)?;
        same(&format!("segments that FLUSH TABLE {} wrote", self.name), segments, flush.segments.unwrap_or_default())?;
        Ok(flush)
    }

    /// What lies where.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn stats(&self) -> Result<Stats, Failure> {
        let row = self.row_of(&format!("SHOW TABLE STATS {}", self.name)).await?;
        Ok(Stats {
            buffered_rows: self.number_of(&row, "buffered_rows")?,
            flushed_rows: self.number_of(&row, "flushed_rows")?,
            segments: self.number_of(&row, "segments")?,
        })
    }

    /// Rows that each user reads, by `count(*)`.
    ///
    /// # Errors
    /// What the server says.
    pub(crate) async fn counts(&self) -> Result<Vec<u64>, Failure> {
        let sql = format!("SELECT count(*) FROM {}", self.called);
        let one = async |caller: &Caller| -> Result<u64, Failure> {
            let rows = caller.rows(&sql).await?;
            let number = rows.first().and_then(|row| row.first()).and_then(Value::as_u64);
            number.ok_or_else(|| self.malformed("SELECT count(*)", "no number"))
        };
        stream::iter(&self.place.callers).map(one).buffered(FILLERS).try_collect().await
    }

    /// Checks that all users together read so many rows.
    ///
    /// # Errors
    /// Where it is another number.
    pub(crate) async fn expect(&self, rows: u64) -> Result<(), Failure> {
        same(&format!("rows in {} by count(*)", self.name), rows, self.counts().await?.iter().sum())
    }

    /// Deletes every row of the first user.
    ///
    /// # Errors
    /// What the server says; another number of rows than these.
    pub(crate) async fn delete_all(&self, rows: u64) -> Result<(), Failure> {
        let caller = self.place.callers.first().unwrap_or(&self.admin);
        let results = caller.run(&format!("DELETE FROM {}", self.called), &[]).await?;
        let deleted = results.last().and_then(|result| result["row_count"].as_u64());
        same(&format!("rows that DELETE FROM {} deleted", self.called), rows, deleted.unwrap_or_default())
    }

    async fn row_of(&self, sql: &str) -> Result<Value, Failure> {
        let results = self.admin.run(sql, &[]).await?;
        let row = results.into_iter().next().map(|mut result| result["rows"][0].take());
        row.filter(Value::is_object).ok_or_else(|| self.malformed(sql, "no row"))
    }

    fn number_of(&self, row: &Value, member: &str) -> Result<u64, Failure> {
        row[member].as_u64().ok_or_else(|| self.malformed(member, "no number"))
    }

    fn malformed(&self, asked: &str, problem: &str) -> Failure {
        Failure::Malformed { asked: format!("{asked} ({})", self.name), problem: problem.to_owned() }
    }
}

/// Checks a number.
///
/// # Errors
/// Where it is another one.
pub(crate) fn same(what: &str, expected: u64, found: u64) -> Result<(), Failure> {
    if expected == found { Ok(()) } else { Err(Failure::Different { what: what.to_owned(), expected, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_says_what_was_expected() {
        assert!(same("rows", 3, 3).is_ok());
        assert_eq!(same("rows in t", 3, 2).unwrap_err().to_string(), "rows in t: expected 3, found 2");
    }

    #[test]
    fn a_rate_is_rows_a_second() {
        let moved = Moved::new(300, Some(2), Duration::from_secs(2));
        assert!((moved.rows_per_second - 150.0).abs() < 1e-9, "{moved:?}");
    }
}
