//! What a statement hands over, and what it gets back.

use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::{Error, Seq};
use kalamdb_sql::{Row, TableSchema};

use super::Acknowledgement;
use crate::StoreError;

/// One row's change. Keys are encoded; rows are in the order of the schema's columns. The row that a change leaves is
/// hot, unless [`Changes::segments`] says in which segment it lies; then its stored bytes are those it would have
/// if it were hot.
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

/// A row that lies in a segment, by the key it was found under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushedRow {
    /// Its encoded primary key, or its row number.
    pub key: Vec<u8>,
    /// The segment.
    pub segment: u128,
    /// Its position there.
    pub row: u64,
    /// What it is.
    pub state: RowState,
}

/// Whether a stored row is there for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// It is.
    Live,
    /// It is a tombstone: seen only where `_deleted` is named.
    Deleted,
}

/// What a statement found in segments. The default is that of one that did not look, which is right for a partition
/// that never had any, and for changes that put no row under a key of its own choice.
///
/// A statement that puts rows under keys has to look these keys up in the segments, at the snapshot whose
/// generation it names here.
#[derive(Debug, Clone, Default)]
pub struct SegmentsRead {
    /// The partition's manifest generation as the snapshot shows it
    /// ([`PartitionRecord::manifest_generation`](crate::codec::partition::PartitionRecord)).
    pub generation: u64,
    /// Rows without a mark that were found in segments: each row that a change leaves there, and whatever lies there
    /// under a key that a change puts a row under, tombstones too. Each key once.
    pub rows: Vec<FlushedRow>,
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
    /// Which of the rows below lie in segments.
    pub segments: SegmentsRead,
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
