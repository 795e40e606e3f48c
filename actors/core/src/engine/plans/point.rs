//! Rows found by primary key, without a plan to run.
//!
//! What is taken for one is decided on the optimised plan, where all types are known: columns of one table, and a condition that
//! says what every column of the key equals, and nothing else. So its columns, types and errors are those of the plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, TableScan};
use kalamdb_commons::{Error, Result};
use kalamdb_sql::Value;
use kalamdb_store::PartitionId;

use super::super::context::StatementContext;
use super::super::errors::from_datafusion;
use super::super::scan::{KeyRead, PartitionTable, ScanColumn};
use super::super::values::{scalar_to_value, value_to_scalar};
use super::compile::TableUse;
use super::slots::{SlotName, slot_of};

/// Where a column of the key comes from.
#[derive(Debug, Clone)]
enum Source {
    Slot(SlotName),
    Value(ScalarValue),
}

/// See the module.
#[derive(Debug)]
pub(super) struct PointRead {
    /// Its place among the tables of the plan.
    pub(super) table: usize,
    read: KeyRead,
    key: Vec<Source>,
}

impl PointRead {
    /// The lookup that a plan is, if it is one.
    pub(super) fn of(plan: &LogicalPlan, tables: &[TableUse]) -> Result<Option<Self>> {
        let Some(found) = Lookup::in_plan(plan) else { return Ok(None) };
        let provider = source_as_provider(&found.scan.source).map_err(from_datafusion)?;
        let Some(table) = provider.downcast_ref::<PartitionTable>() else { return Ok(None) };
        let Some((place, entry)) = table.place().and_then(|place| Some((place, &tables.get(place)?.entry))) else {
            return Ok(None);
        };
        let schema: SchemaRef = Arc::clone(plan.schema().inner());
        let columns: Option<Vec<ScanColumn>> = found.columns.iter().map(|name| table.column(name)).collect();
        let key_columns: Vec<_> =
            entry.schema.key_positions().iter().filter_map(|at| entry.schema.columns.get(*at)).collect();
        let (Some(columns), false) = (columns, table.shows_deleted() || key_columns.is_empty()) else {
            return Ok(None);
        };
        if found.key.len() != key_columns.len() {
            return Ok(None);
        }
        let mut key = Vec::with_capacity(key_columns.len());
        for column in key_columns {
            let Some((_, source)) = found.key.iter().find(|(name, _)| name == column.name.as_str()) else {
                return Ok(None);
            };
            let data_type = match slot_of(source) {
                Some(slot) => slot.data_type().clone(),
                None => match source {
                    Expr::Literal(value, _) if !value.is_null() => value.data_type(),
                    _ => return Ok(None),
                },
            };
            if data_type != column.column_type.to_arrow() {
                return Ok(None);
            }
            key.push(match (slot_of(source), source) {
                (Some(slot), _) => Source::Slot(slot.name().clone()),
                (None, Expr::Literal(value, _)) => Source::Value(value.clone()),
                (None, _) => return Ok(None),
            });
        }
        Ok(Some(Self { table: place, read: KeyRead::new(Arc::clone(entry), columns, schema), key }))
    }

    /// The columns of the row.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.read.schema()
    }

    /// The row, if it is there.
    pub(super) async fn run(
        &self,
        context: &Arc<StatementContext>,
        partition: &PartitionId,
        values: &BTreeMap<SlotName, ScalarValue>,
    ) -> Result<Option<RecordBatch>> {
        let entry = self.read.entry();
        let columns = entry.schema.key_positions();
        let mut key: Vec<Value> = Vec::with_capacity(self.key.len());
        for (source, place) in self.key.iter().zip(columns) {
            let value = match source {
                Source::Value(value) => Some(value),
                Source::Slot(name) => values.get(name),
            };
            let column = entry.schema.columns.get(place);
            let (Some(given), Some(column)) = (value, column) else {
                return Err(Error::internal("a key without a value"));
            };
            let value = scalar_to_value(given, column.column_type);
            // Text that is no UUID, or is written as none is stored, equals none.
            let Ok(value) = value else { return Ok(None) };
            if value_to_scalar(&value, column.column_type)? != *given {
                return Ok(None);
            }
            key.push(value);
        }
        self.read.row(context, partition, &key).await
    }
}

/// A plan's parts, where it is a lookup.
struct Lookup<'p> {
    scan: &'p TableScan,
    /// The scan's columns by name, in the order of the plan's.
    columns: Vec<String>,
    /// What columns equal.
    key: Vec<(String, &'p Expr)>,
}

impl<'p> Lookup<'p> {
    fn in_plan(plan: &'p LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::Projection(projection) => {
                let below = Self::in_plan(&projection.input)?;
                let columns = projection.expr.iter().map(|expr| {
                    let Expr::Column(column) = unaliased(expr) else { return None };
                    let place = projection.input.schema().maybe_index_of_column(column)?;
                    below.columns.get(place).cloned()
                });
                let columns = columns.collect::<Option<Vec<_>>>()?;
                Some(Self { columns, ..below })
            }
            LogicalPlan::SubqueryAlias(alias) => Self::in_plan(&alias.input),
            LogicalPlan::Filter(filter) => {
                let LogicalPlan::TableScan(scan) = filter.input.as_ref() else { return None };
                let mut key = Vec::new();
                equalities(&filter.predicate, &mut key)?;
                let columns = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
                Some(Self { scan, columns, key })
            }
            _ => None,
        }
    }
}

/// Takes `a = x AND b = y` apart; none for anything else.
fn equalities<'p>(expr: &'p Expr, found: &mut Vec<(String, &'p Expr)>) -> Option<()> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    match (op, left.as_ref(), right.as_ref()) {
        (Operator::And, left, right) => {
            equalities(left, found)?;
            equalities(right, found)
        }
        (Operator::Eq, Expr::Column(column), other) | (Operator::Eq, other, Expr::Column(column)) => {
            let is_value = slot_of(other).is_some() || matches!(other, Expr::Literal(..));
            let is_new = found.iter().all(|(name, _)| *name != column.name);
            if !is_value || !is_new {
                return None;
            }
            found.push((column.name.clone(), other));
            Some(())
        }
        _ => None,
    }
}

fn unaliased(mut expr: &Expr) -> &Expr {
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    expr
}
