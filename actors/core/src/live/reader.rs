//! A partition's change log in the store that is open now.

use std::sync::Arc;

use async_trait::async_trait;
use kalamdb_commons::{Result, Seq, TableType};
use kalamdb_store::reader::{log_coverage, read_log};
use kalamdb_store::{LogCoverage, LogPage, PartitionId, PartitionReader};

use crate::engine::Runtime;

/// See the module.
#[derive(Debug)]
pub(super) struct LogReader {
    runtime: Arc<Runtime>,
    partition: PartitionId,
    table_type: TableType,
}

impl LogReader {
    pub(super) fn new(runtime: Arc<Runtime>, partition: PartitionId) -> Self {
        // One that is gone has no log in either place.
        let table_type =
            runtime.catalog().table_of(partition.table).map_or(TableType::User, |entry| entry.table_type());
        Self { runtime, partition, table_type }
    }
}

#[async_trait]
impl PartitionReader for LogReader {
    fn published(&self) -> Seq {
        self.runtime.store().committer_of(self.table_type).published()
    }

    async fn coverage(&self) -> Result<LogCoverage> {
        let store = self.runtime.store();
        let published = store.committer_of(self.table_type).published();
        let floor = store.log_floor(self.table_type);
        let catalog = store.backend.snapshot().await?;
        let snapshot = store.backend_of(self.table_type).snapshot().await?;
        log_coverage(catalog.as_ref(), snapshot.as_ref(), &self.partition, (floor, published)).await
    }

    async fn log(&self, after: Seq, up_to: Seq, max_bytes: usize) -> Result<LogPage> {
        let snapshot = self.runtime.store().backend_of(self.table_type).snapshot().await?;
        read_log(snapshot.as_ref(), &self.partition, after, up_to, max_bytes).await
    }
}
