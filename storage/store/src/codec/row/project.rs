//! Rows of one schema version read as another.

use std::collections::HashMap;

use kalamdb_commons::ColumnId;
use kalamdb_sql::{Row, TableSchema, Value};

/// Where a column of the current version comes from.
#[derive(Debug, Clone, PartialEq)]
enum Source {
    /// This place in the row as it was written.
    Written(usize),
    /// The row is older than the column.
    Initial(Value),
}

/// How rows of one schema version read as another; made once per pair of versions.
///
/// Columns are matched by id, never by name: a column dropped and added anew starts with its initial
/// value in every older row.
#[derive(Debug, Clone)]
pub struct Projection {
    sources: Vec<Source>,
    identity: bool,
}

impl Projection {
    /// From rows of version `written` to rows of version `current`.
    #[must_use]
    pub fn new(written: &TableSchema, current: &TableSchema) -> Self {
        let ids = written.columns.iter().map(|column| column.id);
        let written_at: HashMap<ColumnId, usize> = ids.enumerate().map(|(position, id)| (id, position)).collect();
        let sources: Vec<_> = current
            .columns
            .iter()
            .map(|column| match written_at.get(&column.id) {
                Some(position) => Source::Written(*position),
                None => Source::Initial(column.initial.clone()),
            })
            .collect();
        let identity = written.columns.len() == sources.len()
            && sources.iter().enumerate().all(|(position, source)| *source == Source::Written(position));
        Self { sources, identity }
    }

    /// Whether rows stay as they are.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Where a current column is in a written row; none when the row is older than the column.
    #[must_use]
    pub fn position(&self, column: usize) -> Option<usize> {
        match self.sources.get(column) {
            Some(Source::Written(position)) => Some(*position),
            Some(Source::Initial(_)) | None => None,
        }
    }

    /// What rows older than a current column read; none when they have it.
    #[must_use]
    pub fn initial(&self, column: usize) -> Option<&Value> {
        match self.sources.get(column) {
            Some(Source::Initial(value)) => Some(value),
            Some(Source::Written(_)) | None => None,
        }
    }

    /// The row in the current version.
    #[must_use]
    pub fn apply(&self, mut row: Row) -> Row {
        if self.identity {
            return row;
        }
        let take = |source: &Source| match source {
            Source::Written(position) => row.get_mut(*position).map_or(Value::Null, |value| {
                // Each written column has one place in the current version, so it can be moved out.
                std::mem::replace(value, Value::Null)
            }),
            Source::Initial(value) => value.clone(),
        };
        self.sources.iter().map(take).collect()
    }
}

/// A row of version `written`, read as one of version `current`; see [`Projection`].
#[must_use]
pub fn project_row(row: Row, written: &TableSchema, current: &TableSchema) -> Row {
    Projection::new(written, current).apply(row)
}
