//! What a statement hands over, and what it gets back.

use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::{Error, Seq};
use kalamdb_sql::{Row, TableSchema};

use super::Acknowledgement;
use crate::StoreError;

/// One row's change. Keys are encoded; rows are in the order of the schema's columns.
#[derive(Debug, Clone)]
pub enum RowChange {
    /// A new row; without a key it gets its `_seq` as row number.
    Insert {
        /// The primary key.
        key: Option<Vec<u8>>,
        /// Its values.
        row: Row,
    },
    /// A row's new version, maybe under another key.
    Update {
        /// The key it was read under.
        old_key: Vec<u8>,
        /// The version it was read at.
        read_seq: Seq,
        /// The stored bytes of that version.
        old_stored: Bytes,
        /// That version's values.
        old_row: Row,
        /// The key it goes under.
        new_key: Vec<u8>,
        /// Its new values.
        row: Row,
    },
    /// A row's end; the tombstone keeps its values.
    Delete {
        /// The key it was read under.
        key: Vec<u8>,
        /// The version it was read at.
        read_seq: Seq,
        /// The stored bytes of that version.
        old_stored: Bytes,
        /// That version's values.
        old_row: Row,
    },
}

/// All of a statement's changes in one partition.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The definition the rows are made for.
    pub schema: Arc<TableSchema>,
    /// The partition's last `_seq` when the statement read it; none for one that names all its rows by key.
    pub base: Option<Seq>,
    /// Whether the partition has a change log (user tables).
    pub log: bool,
    /// Microseconds since the epoch, for `_updated`.
    pub now: i64,
    /// The changes in order; no row is left by two of them, and none goes where another goes.
    pub rows: Vec<RowChange>,
}

/// A written statement.
#[derive(Debug)]
pub struct Committed {
    /// The `_seq` of each change, in their order.
    pub seqs: Vec<Seq>,
    /// To be waited for; none if nothing changed.
    pub acknowledgement: Option<Acknowledgement>,
}

/// Why a statement did not commit.
#[derive(Debug)]
pub enum CommitError {
    /// The statement's premises no longer hold, and nothing was written: read again.
    Stale,
    /// It cannot be done; the error says whether its outcome is known.
    Refused(Error),
}

impl From<Error> for CommitError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for CommitError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}
