//! System tables whose rows lie in the backend: read when they are scanned, at the statement's snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Expr, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;
use kalamdb_commons::{QualifiedTableName, Result, TableId};
use kalamdb_sql::{ColumnType, Row, Value};
use kalamdb_store::codec::catalog::JobRecord;
use kalamdb_store::manifest::{ManifestItem, ManifestWalk};
use kalamdb_store::{Snapshot, jobs};
use ulid::Ulid;

use super::super::context::StatementContext;
use super::super::rows::{RowColumn, batch_of};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoredTable {
    Jobs,
    Segments,
}

impl StoredTable {
    pub(crate) fn columns(self) -> Vec<RowColumn> {
        use ColumnType::{BigInt, Int, Text, Timestamp};
        let list: &[(&str, ColumnType, bool)] = match self {
            Self::Jobs => &[
                ("job_id", Text, false),
                ("job_type", Text, false),
                ("status", Text, false),
                ("namespace_id", Text, true),
                ("table_name", Text, true),
                ("trigger", Text, false),
                ("rows", BigInt, false),
                ("segments", BigInt, false),
                ("storage_location", Text, true),
                ("attempts", Int, false),
                ("error", Text, true),
                ("node", Text, false),
                ("created_at", Timestamp, false),
                ("started_at", Timestamp, true),
                ("finished_at", Timestamp, true),
            ],
            Self::Segments => &[
                ("segment_id", Text, false),
                ("namespace_id", Text, false),
                ("table_name", Text, false),
                ("user_id", Text, true),
                ("shard", Text, true),
                ("storage", Text, false),
                ("path", Text, false),
                ("rows", BigInt, false),
                ("deleted_rows", BigInt, false),
                ("bytes", BigInt, false),
                ("schema_version", Int, false),
                ("min_seq", BigInt, false),
                ("max_seq", BigInt, false),
                ("created_at", Timestamp, false),
            ],
        };
        list.iter().map(|(name, column_type, nullable)| RowColumn::new(*name, *column_type, *nullable)).collect()
    }

    /// As a table of a plan.
    pub(crate) fn source(self, context: &Arc<StatementContext>) -> Result<Arc<dyn TableSource>> {
        let schema = batch_of(&self.columns(), &[])?.schema();
        Ok(provider_as_source(Arc::new(StoredProvider { table: self, context: Arc::clone(context), schema })))
    }

    async fn rows(self, context: &StatementContext) -> Result<Vec<Row>> {
        let snapshot = context.snapshot()?;
        match self {
            Self::Jobs => {
                let found = jobs::newest(snapshot, None, usize::MAX, |_| true).await?;
                Ok(found.iter().map(job_row).collect())
            }
            Self::Segments => segments(context, snapshot).await,
        }
    }
}

/// A job as a row of `system.jobs`.
pub(crate) fn job_row(job: &JobRecord) -> Row {
    let maybe = |text: Option<&str>| text.map_or(Value::Null, super::text);
    vec![
        super::text(&job.job_id),
        super::text(job.job_type.as_str()),
        super::text(job.status.as_str()),
        maybe(job.namespace_id.as_ref().map(|name| name.as_str())),
        maybe(job.table_name.as_ref().map(|name| name.as_str())),
        super::text(job.trigger.as_str()),
        number(job.rows),
        number(job.segments),
        maybe(job.storage_location.as_deref()),
        Value::Int(i32::try_from(job.attempts).unwrap_or(i32::MAX)),
        maybe(job.error.as_deref()),
        super::text(&job.node),
        Value::Timestamp(job.created_at),
        job.started_at.map_or(Value::Null, Value::Timestamp),
        job.finished_at.map_or(Value::Null, Value::Timestamp),
    ]
}

async fn segments(context: &StatementContext, snapshot: &dyn Snapshot) -> Result<Vec<Row>> {
    let names: HashMap<TableId, &QualifiedTableName> =
        context.catalog.tables.values().map(|entry| (entry.id(), &entry.definition.name)).collect();
    let mut rows = Vec::new();
    let mut walk = ManifestWalk::of_everything(snapshot);
    while let Some(items) = walk.next_chunk().await? {
        for item in items {
            let ManifestItem::Entry(partition, entry) = item else { continue };
            let Some(name) = names.get(&partition.table) else { continue };
            rows.push(vec![
                super::text(&Ulid(entry.segment_id).to_string()),
                super::text(name.namespace.as_str()),
                super::text(name.table.as_str()),
                partition.user.as_ref().map_or(Value::Null, |user| super::text(user.as_str())),
                if entry.shard.is_empty() { Value::Null } else { super::text(&entry.shard) },
                super::text(&entry.storage),
                super::text(&entry.path),
                number(entry.rows),
                number(entry.deleted_rows),
                number(entry.bytes),
                Value::Int(i32::try_from(entry.schema_version.0).unwrap_or(i32::MAX)),
                Value::BigInt(entry.min_seq.as_i64()),
                Value::BigInt(entry.max_seq.as_i64()),
                Value::Timestamp(entry.created_at),
            ]);
        }
    }
    Ok(rows)
}

fn number(number: u64) -> Value {
    Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

#[derive(Debug)]
struct StoredProvider {
    table: StoredTable,
    context: Arc<StatementContext>,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for StoredProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let read = async {
            let rows = self.table.rows(&self.context).await?;
            batch_of(&self.table.columns(), &rows)
        };
        let batch = read.await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let schema: Arc<Schema> = batch.schema();
        MemTable::try_new(schema, vec![vec![batch]])?.scan(state, projection, filters, limit).await
    }
}
