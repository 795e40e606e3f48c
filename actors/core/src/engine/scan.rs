//! One partition of one table as DataFusion sees it.
//!
//! Hot rows and segments are one table here: each row is in one of them, and nothing is told apart or sorted out.
//! A scan cannot be built without a partition: there is no way to ask for "all rows of a user table". It
//! reads the statement's snapshot in chunks, narrowed to the key range that the filters leave, and decodes
//! the asked columns straight into Arrow. Conditions that cannot fail are evaluated here, on every row and before it
//! leaves: segments are read by them, and LIMIT counts what they leave.

mod columns;
mod decode;
mod exec;
mod filter;
mod hot;
mod key;
mod plan;
mod pushable;
mod segments;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use kalamdb_commons::SystemColumn;
use kalamdb_sql::ColumnType;

pub(crate) use self::columns::ColumnBuilder;
pub(crate) use self::decode::{RowDecoder, Tombstones};
use self::exec::PartitionScan;
pub(crate) use self::exec::ScanColumn;
pub(crate) use self::key::KeyRead;
use self::plan::ScanPlan;
pub(crate) use self::plan::{Binding, Execution};
use super::rewrite::{ExposedColumns, KEY_COLUMN};
use crate::catalog::TableEntry;

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionTable {
    binding: Binding,
    entry: Arc<TableEntry>,
    exposed: ExposedColumns,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
}

impl PartitionTable {
    pub(crate) fn new(binding: Binding, entry: Arc<TableEntry>, exposed: ExposedColumns) -> Self {
        let mut fields: Vec<Field> = Vec::new();
        let mut columns = Vec::new();
        for (at, column) in entry.schema.columns.iter().enumerate() {
            fields.push(column.column_type.to_field(column.name.as_str(), column.nullable));
            columns.push(ScanColumn::Declared(at));
        }
        for name in exposed.names() {
            let (column, data_type) = match SystemColumn::from_name(name) {
                Some(SystemColumn::Seq) => (ScanColumn::Seq, ColumnType::BigInt.to_arrow()),
                Some(SystemColumn::Updated) => (ScanColumn::Updated, ColumnType::Timestamp.to_arrow()),
                Some(SystemColumn::Deleted) => (ScanColumn::Deleted, ColumnType::Boolean.to_arrow()),
                None => {
                    debug_assert_eq!(name, KEY_COLUMN);
                    (ScanColumn::Key, DataType::Binary)
                }
            };
            fields.push(Field::new(name, data_type, false));
            columns.push(column);
        }
        Self { binding, entry, exposed, columns, schema: Arc::new(Schema::new(fields)) }
    }
}

impl PartitionTable {
    /// Its place among the tables of a compiled plan, if it is of one.
    pub(crate) fn place(&self) -> Option<usize> {
        match self.binding {
            Binding::Execution(place) => Some(place),
            Binding::Statement(..) => None,
        }
    }

    /// The column of that name.
    pub(crate) fn column(&self, name: &str) -> Option<ScanColumn> {
        self.columns.get(self.schema.index_of(name).ok()?).copied()
    }

    /// Whether deleted rows are seen.
    pub(crate) fn shows_deleted(&self) -> bool {
        self.exposed.deleted && !self.exposed.key
    }
}

#[async_trait]
impl TableProvider for PartitionTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // All of them narrow what is read, and DataFusion applies all of them to what is left: it rewrites conditions after it
        // has asked this, so that one may come to the scan in a form that the scan does not take. Its filter also copies
        // the rows that are left out of the pages they were read from.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let (columns, schema) = match projection {
            None => (self.columns.clone(), Arc::clone(&self.schema)),
            Some(places) => (
                places.iter().filter_map(|place| self.columns.get(*place).copied()).collect(),
                Arc::new(self.schema.project(places)?),
            ),
        };
        // What is above may leave out more.
        let limit = limit.filter(|_| filters.is_empty());
        Ok(Arc::new(PartitionScan::new(ScanPlan {
            binding: self.binding.clone(),
            entry: Arc::clone(&self.entry),
            table_columns: self.columns.clone(),
            table_schema: Arc::clone(&self.schema),
            columns,
            schema,
            filters: filters.to_vec(),
            // UPDATE and DELETE, which ask for the key, never see a deleted row.
            with_deleted: self.shows_deleted(),
            limit,
        })?))
    }
}
