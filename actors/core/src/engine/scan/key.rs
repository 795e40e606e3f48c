//! One row by its key: from the hot rows by one get, and only if it is not among them from the segments.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use kalamdb_commons::{Error, Result, TableType};
use kalamdb_sql::Value;
use kalamdb_store::PartitionId;
use tokio_util::task::AbortOnDropHandle;

use super::super::context::StatementContext;
use super::super::predicate::RowRange;
use super::super::scope::{Limits, on_behalf};
use super::decode::{RowDecoder, Tombstones};
use super::exec::{Progress, ScanArgs, ScanColumn};
use super::filter::ScanFilter;
use crate::catalog::TableEntry;

/// What is read of a row.
#[derive(Debug)]
pub(crate) struct KeyRead {
    entry: Arc<TableEntry>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
}

impl KeyRead {
    /// Columns of a table; `schema` has their names and types.
    pub(crate) fn new(entry: Arc<TableEntry>, columns: Vec<ScanColumn>, schema: SchemaRef) -> Self {
        Self { entry, columns, schema }
    }

    pub(crate) fn entry(&self) -> &Arc<TableEntry> {
        &self.entry
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The row with this key, as a batch of one; none where it is not, or not any more.
    pub(crate) async fn row(
        &self,
        context: &Arc<StatementContext>,
        partition: &PartitionId,
        key: &[Value],
    ) -> Result<Option<RecordBatch>> {
        let range = RowRange::of_key(partition, key);
        let Some(keys) = &range.range else { return Err(Error::internal("a key without a range")) };
        let rows = context.rows_of(self.entry.table_type())?;
        let stored = rows.get_many(keys.family, std::slice::from_ref(&keys.start)).await?;
        // A key that is hot is in no segment, or marked there.
        if let Some(stored) = stored.into_iter().next().flatten() {
            let own = keys.start.get(range.prefix_len..).unwrap_or_default();
            let mut decoder = RowDecoder::new(
                Arc::clone(&self.entry),
                self.columns.clone(),
                Arc::clone(&self.schema),
                Tombstones::None,
            )
            .younger_than(context.expired_before(&self.entry));
            let batch = decoder.decode(std::iter::once((own, stored.as_ref())), 1)?;
            return Ok(Some(batch).filter(|batch| batch.num_rows() > 0));
        }
        if self.entry.table_type() == TableType::Stream {
            return Ok(None);
        }
        let key = range.key.clone().ok_or_else(|| Error::internal("the range of a key without it"))?;
        let segments = context.segments_around(partition, &key).await?;
        if segments.is_empty() {
            return Ok(None);
        }
        let args = ScanArgs {
            context: Arc::clone(context),
            entry: Arc::clone(&self.entry),
            partition: partition.clone(),
            range,
            columns: self.columns.clone(),
            schema: Arc::clone(&self.schema),
            with_deleted: false,
            filter: ScanFilter::none(),
            limit: None,
        };
        if context.runtime.segments().find_quickly(&segments, &key, self.columns.len()) {
            // Here, be that a connection's thread: to decode a few pages takes as long as to go elsewhere and come back.
            return Box::pin(args.row_of_key(&segments, &key, &Progress::default())).await;
        }
        let work = async move { args.row_of_key(&segments, &key, &Progress::default()).await };
        let task = context.runtime.statements().spawn(on_behalf(Limits::of_task(), work));
        // Given up with the statement.
        AbortOnDropHandle::new(task).await.map_err(Error::internal)?
    }
}
