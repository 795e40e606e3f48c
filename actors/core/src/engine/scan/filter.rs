//! The conditions that a scan took: on hot rows once they are decoded, on segments while they are read, and on what
//! segments say of their pages.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::{and_kleene, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::utils::{collect_columns, conjunction, conjunction_opt, reassign_expr_columns};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use kalamdb_commons::{Error, Result};
use kalamdb_segments::{Pruning, RowCondition, RowStatistics, SegmentFilter, SegmentProjection};
use kalamdb_sql::TableSchema;

use super::exec::{ScanColumn, segment_column};

/// The longest list of IN that statistics are compared with.
const MOST_LISTED: usize = 100;

/// The places of some columns, and the conditions that look at all of them and no other.
type ConditionGroup = (Vec<usize>, Vec<Arc<dyn PhysicalExpr>>);

/// The conditions of one scan, all of which a row has to meet.
#[derive(Debug, Clone)]
pub(super) struct ScanFilter {
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    /// The columns that they look at.
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
}

impl ScanFilter {
    /// No condition.
    pub(super) fn none() -> Self {
        Self { conditions: Vec::new(), columns: Vec::new(), schema: Arc::new(Schema::empty()) }
    }

    /// From conditions that are [pushable](super::pushable::is_pushable), on columns of a table as scans see it.
    pub(super) fn new(filters: &[&Expr], columns: &[ScanColumn], schema: &Schema) -> DfResult<Self> {
        let mut places: Vec<usize> = Vec::new();
        for column in filters.iter().flat_map(|filter| filter.column_refs()) {
            places.push(schema.index_of(column.name())?);
        }
        places.sort_unstable();
        places.dedup();
        let columns = places.iter().filter_map(|place| columns.get(*place).copied()).collect();
        let schema = Arc::new(schema.project(&places)?);
        let named = DFSchema::try_from(Arc::clone(&schema))?;
        let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let conditions = filters.iter().map(|filter| create_physical_expr(filter, &named, &properties, &planning));
        Ok(Self { conditions: conditions.collect::<DfResult<_>>()?, columns, schema })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The columns that the conditions look at.
    pub(super) fn columns(&self) -> &[ScanColumn] {
        &self.columns
    }

    /// Their names and types.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// For each row of a batch of those columns whether it meets the conditions; NULL where that is unknown.
    pub(super) fn matches(&self, tested: &RecordBatch) -> Result<BooleanArray> {
        let mut all: Option<BooleanArray> = None;
        for condition in &self.conditions {
            let met = evaluate(condition, tested).map_err(Error::internal)?;
            all = Some(match all {
                Some(before) => and_kleene(&before, &met).map_err(Error::internal)?,
                None => met,
            });
        }
        Ok(all.unwrap_or_else(|| BooleanArray::from(vec![true; tested.num_rows()])))
    }

    /// What has to be read for rows to be tested: the columns of the scan, and those that are looked at beside.
    pub(super) fn read_columns(&self, columns: &[ScanColumn], schema: &SchemaRef) -> (Vec<ScanColumn>, SchemaRef) {
        let mut read = columns.to_vec();
        let mut fields = schema.fields().to_vec();
        for (column, field) in self.columns.iter().zip(self.schema.fields()) {
            if !columns.contains(column) {
                read.push(*column);
                fields.push(Arc::clone(field));
            }
        }
        (read, Arc::new(Schema::new(fields)))
    }

    /// The conditions on batches of that schema.
    pub(super) fn on_batches(&self, read: &Schema) -> DfResult<BatchFilter> {
        let conditions = self.conditions.iter().map(|condition| reassign_expr_columns(Arc::clone(condition), read));
        Ok(BatchFilter { conditions: conditions.collect::<DfResult<_>>()? })
    }

    /// The conditions on segments: those that look at the same columns are one, and those on text come last.
    pub(super) fn on_segments(&self, table: &TableSchema) -> Result<SegmentFilter> {
        let mut groups: Vec<ConditionGroup> = Vec::new();
        for condition in &self.conditions {
            let mut places: Vec<usize> = collect_columns(condition).iter().map(|column| column.index()).collect();
            places.sort_unstable();
            match groups.iter_mut().find(|(columns, _)| *columns == places) {
                Some((_, conditions)) => conditions.push(Arc::clone(condition)),
                None => groups.push((places, vec![Arc::clone(condition)])),
            }
        }
        let is_wide = |place: &usize| {
            let field = self.schema.fields().get(*place);
            field.is_some_and(|field| matches!(field.data_type(), DataType::Utf8View | DataType::BinaryView))
        };
        groups.sort_by_key(|(places, _)| places.iter().any(is_wide));
        let mut conditions = Vec::with_capacity(groups.len());
        for (places, group) in groups {
            let schema = self.schema.project(&places).map_err(Error::internal)?;
            let columns = self.projection(table, &places)?;
            let condition = reassign_expr_columns(conjunction(group), &schema).map_err(Error::internal)?;
            conditions.push(Arc::new(ExprCondition { columns, condition }) as Arc<dyn RowCondition>);
        }
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let pruning = match self.pruning_predicate() {
            Some(predicate) => {
                let columns = self.projection(table, &all)?;
                Some(Arc::new(StatisticsPruning { columns, predicate, schema: Arc::clone(&self.schema) })
                    as Arc<dyn Pruning>)
            }
            None => None,
        };
        Ok(SegmentFilter { conditions, pruning })
    }

    fn projection(&self, table: &TableSchema, places: &[usize]) -> Result<Arc<SegmentProjection>> {
        let columns: Vec<_> =
            places.iter().filter_map(|place| self.columns.get(*place)).map(|column| segment_column(*column)).collect();
        Ok(Arc::new(SegmentProjection::new(table, &columns)?))
    }

    /// None where nothing follows for statistics.
    fn pruning_predicate(&self) -> Option<Arc<PruningPredicate>> {
        let all = conjunction_opt(self.conditions.iter().cloned())?;
        PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.schema))
            .with_max_in_list_size(MOST_LISTED)
            .build(all)
    }
}

/// As EXPLAIN shows it.
impl fmt::Display for ScanFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        write!(f, "filters=[{}]", conditions.join(" AND "))?;
        match self.pruning_predicate() {
            Some(predicate) => write!(f, ", pruning=[{}]", predicate.predicate_expr()),
            None => Ok(()),
        }
    }
}

/// The conditions on batches of one schema.
#[derive(Debug)]
pub(super) struct BatchFilter {
    conditions: Vec<Arc<dyn PhysicalExpr>>,
}

impl BatchFilter {
    /// The rows that meet the conditions.
    pub(super) fn apply(&self, mut batch: RecordBatch) -> Result<RecordBatch> {
        for condition in &self.conditions {
            let met = evaluate(condition, &batch).map_err(Error::internal)?;
            batch = filter_record_batch(&batch, &met).map_err(Error::internal)?;
        }
        Ok(batch)
    }
}

fn evaluate(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> DfResult<BooleanArray> {
    let met = condition.evaluate(batch)?.into_array(batch.num_rows())?;
    Ok(as_boolean_array(&met)?.clone())
}

/// Conditions on the same columns.
#[derive(Debug)]
struct ExprCondition {
    columns: Arc<SegmentProjection>,
    condition: Arc<dyn PhysicalExpr>,
}

impl RowCondition for ExprCondition {
    fn columns(&self) -> &Arc<SegmentProjection> {
        &self.columns
    }

    fn test(&self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        evaluate(&self.condition, batch).map_err(|error: DataFusionError| ArrowError::ExternalError(Box::new(error)))
    }
}

/// DataFusion's pruning over what segments say of themselves.
#[derive(Debug)]
struct StatisticsPruning {
    columns: Arc<SegmentProjection>,
    schema: SchemaRef,
    predicate: Arc<PruningPredicate>,
}

impl Pruning for StatisticsPruning {
    fn columns(&self) -> &Arc<SegmentProjection> {
        &self.columns
    }

    fn may_hold(&self, statistics: &RowStatistics) -> Vec<bool> {
        let named = NamedStatistics { schema: &self.schema, statistics };
        self.predicate.prune(&named).unwrap_or_else(|error| {
            tracing::debug!(%error, "statistics that were not looked through");
            vec![true; statistics.rows.len()]
        })
    }
}

/// Statistics by the names of columns.
struct NamedStatistics<'a> {
    schema: &'a Schema,
    statistics: &'a RowStatistics,
}

impl NamedStatistics<'_> {
    fn column(&self, column: &Column) -> Option<&kalamdb_segments::ColumnStatistics> {
        self.statistics.columns.get(self.schema.index_of(column.name()).ok()?)
    }
}

impl PruningStatistics for NamedStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.column(column)?.least))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::clone(&self.column(column)?.most))
    }

    fn num_containers(&self) -> usize {
        self.statistics.rows.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::clone(&self.column(column)?.nulls)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::clone(&self.statistics.rows)))
    }

    fn contained(&self, _column: &Column, _values: &std::collections::HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
