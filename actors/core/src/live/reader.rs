//! A partition's change log in the store that is open now.

use std::sync::Arc;

use async_trait::async_trait;
use kalamdb_commons::{Result, Seq};
use kalamdb_store::reader::{log_coverage, read_log};
use kalamdb_store::{LogCoverage, LogPage, PartitionId, PartitionReader};

use crate::engine::Runtime;

/// See the module.
#[derive(Debug)]
pub(super) struct LogReader {
    runtime: Arc<Runtime>,
    partition: PartitionId,
}

impl LogReader {
    pub(super) fn new(runtime: Arc<Runtime>, partition: PartitionId) -> Self {
        Self { runtime, partition }
    }
}

#[async_trait]
impl PartitionReader for LogReader {
    fn published(&self) -> Seq {
        self.runtime.store().committer.published()
    }

    async fn coverage(&self) -> Result<LogCoverage> {
        let store = self.runtime.store();
        let published = store.committer.published();
        let snapshot = store.backend.snapshot().await?;
        log_coverage(snapshot.as_ref(), snapshot.as_ref(), &self.partition, published).await
    }

    async fn log(&self, after: Seq, up_to: Seq, max_bytes: usize) -> Result<LogPage> {
        let snapshot = self.runtime.store().backend.snapshot().await?;
        read_log(snapshot.as_ref(), &self.partition, after, up_to, max_bytes).await
    }
}
