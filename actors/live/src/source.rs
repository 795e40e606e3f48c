//! What the engine does for live queries.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kalamdb_commons::{Result, Seq};
use kalamdb_store::PartitionReader;
use kalamdb_wire::{JsonRows, SubscribeRequest};

use crate::{LiveCaller, LiveQuery};

/// The rows that a subscription begins with.
#[derive(Debug)]
pub struct LiveSnapshot {
    /// The rows, those changed last at the end.
    pub rows: JsonRows,
    /// Their keys.
    pub keys: JsonRows,
    /// Every change up to here is in them, and none after it.
    pub seq: Seq,
    /// What counts the memory that all of it takes, until it was told.
    pub memory: Arc<dyn Any + Send + Sync>,
}

/// What has become of a query's table since the query was compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableState {
    /// It has the columns that the query uses.
    Same,
    /// It has not all of them any more, or others where the query asks for every column.
    Changed,
    /// It is gone.
    Dropped,
}

/// See the module.
#[async_trait]
pub trait LiveSource: Send + Sync + fmt::Debug {
    /// Compiles a query for a caller, and checks whether it may read.
    ///
    /// # Errors
    /// What is wrong with it, with the contract's code.
    async fn compile(&self, caller: &LiveCaller, request: &SubscribeRequest) -> Result<LiveQuery>;

    /// The matching rows that were changed last, at most so many.
    ///
    /// # Errors
    /// When the query fails on a row, takes too much memory, or rows cannot be read.
    async fn last_rows(
        &self,
        caller: &LiveCaller,
        request: &SubscribeRequest,
        query: &LiveQuery,
        count: u64,
    ) -> Result<LiveSnapshot>;

    /// The change log that a query follows.
    fn reader(&self, query: &LiveQuery) -> Arc<dyn PartitionReader>;

    /// Looks at the catalog as it is now.
    fn table_state(&self, query: &LiveQuery) -> TableState;

    /// Changes from before this moment (microseconds since the epoch) are not told any more: the rows of a stream table
    /// live so long; none for another table.
    fn expired_before(&self, query: &LiveQuery) -> Option<i64>;

    /// Now, in microseconds since the epoch.
    fn now(&self) -> i64;
}
