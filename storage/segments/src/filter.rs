//! What rows of a scan have to meet, and where in a file there can be none that do.
//!
//! Conditions are evaluated while the file is read: in their order, each on the rows that those before it left, and
//! the columns of the read are decoded for the rows that met them all.
//!
//! What always holds: a row that meets all conditions is read; one that does not is not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::not;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicate, RowFilter};
use parquet::file::statistics::Statistics;

use crate::error::{Result, SegmentError};
use crate::guard::decoding;
use crate::marks::RowRanges;
use crate::projection::{BoundProjection, SegmentProjection};
use crate::schema::DELETED_FIELD_ID;
use crate::segment::Segment;
use crate::statistics::{RowStatistics, Stretches};

/// One condition on rows.
pub trait RowCondition: fmt::Debug + Send + Sync {
    /// The columns it looks at.
    fn columns(&self) -> &Arc<SegmentProjection>;

    /// Which rows of a batch of those columns meet it: those that are `true`.
    ///
    /// # Errors
    /// None that depends on the rows: whether a row is looked at depends on other conditions.
    fn test(&self, batch: &RecordBatch) -> std::result::Result<BooleanArray, ArrowError>;
}

/// Tells stretches of rows without a match.
pub trait Pruning: fmt::Debug + Send + Sync {
    /// The columns whose statistics it looks at.
    fn columns(&self) -> &Arc<SegmentProjection>;

    /// For each stretch whether it may hold a row that meets all conditions.
    fn may_hold(&self, statistics: &RowStatistics) -> Vec<bool>;
}

/// What rows have to meet.
#[derive(Debug, Clone, Default)]
pub struct SegmentFilter {
    /// All of these.
    pub conditions: Vec<Arc<dyn RowCondition>>,
    /// What follows from them for statistics.
    pub pruning: Option<Arc<dyn Pruning>>,
}

/// Which of the rows are read that were deleted before they came to the segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeletedRows {
    /// All.
    #[default]
    Shown,
    /// None.
    Hidden,
    /// Those deleted at this moment (microseconds since the epoch) or later.
    ShownSince(i64),
}

/// The deleted rows that are not read, as a condition on `_deleted`, or on that and `_updated`.
#[derive(Debug)]
pub(crate) struct NotDeleted {
    columns: Arc<SegmentProjection>,
    since: Option<i64>,
}

impl RowCondition for NotDeleted {
    fn columns(&self) -> &Arc<SegmentProjection> {
        &self.columns
    }

    fn test(&self, batch: &RecordBatch) -> std::result::Result<BooleanArray, ArrowError> {
        let deleted = batch.column(0).as_boolean();
        let Some(since) = self.since else { return not(deleted) };
        let updated = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        Ok((0..deleted.len()).map(|at| Some(!deleted.value(at) || updated.value(at) >= since)).collect())
    }
}

/// A condition on the rows of one file.
pub(crate) struct FileCondition {
    condition: Arc<dyn RowCondition>,
    bound: BoundProjection,
}

impl Segment {
    /// All that the rows of a scan have to meet, the cheapest first.
    pub(crate) fn conditions(&self, filter: &SegmentFilter, deleted: DeletedRows) -> Result<Vec<FileCondition>> {
        let since = match deleted {
            DeletedRows::Hidden => Some(None),
            DeletedRows::ShownSince(since) => Some(Some(since)),
            DeletedRows::Shown => None,
        };
        let not_deleted = since.filter(|_| self.may_have_deleted_rows()).map(|since| {
            let columns = SegmentProjection::of_deletion(&self.loaded.layout, since.is_some());
            Arc::new(NotDeleted { columns, since }) as Arc<dyn RowCondition>
        });
        let conditions = not_deleted.into_iter().chain(filter.conditions.iter().cloned());
        conditions.map(|condition| Ok(FileCondition { bound: self.bind(condition.columns())?, condition })).collect()
    }

    /// Whether a row of the file may be one that was deleted before it came here: most files have none, and say so.
    #[must_use]
    pub fn may_have_deleted_rows(&self) -> bool {
        let Some(leaf) = self.loaded.leaves.get(&DELETED_FIELD_ID) else { return true };
        let has_none = |statistics: Option<&Statistics>| matches!(statistics, Some(Statistics::Boolean(values)) if values.max_opt() == Some(&false));
        let groups = self.loaded.metadata.row_groups();
        !groups.iter().all(|group| has_none(group.columns().get(*leaf).and_then(|column| column.statistics())))
    }

    /// The rows that may meet the conditions, as far as row groups and pages tell.
    pub(crate) fn pruned(&self, ranges: RowRanges, filter: &SegmentFilter) -> Result<RowRanges> {
        let Some(pruning) = filter.pruning.as_ref().filter(|_| !ranges.is_empty()) else { return Ok(ranges) };
        let columns = self.bind(pruning.columns())?;
        let row_groups = ranges.windows_met(&self.loaded.row_group_starts);
        let stretches = |make: &dyn Fn() -> std::result::Result<Stretches, String>| {
            decoding(&self.path, || make().map_err(parquet::errors::ParquetError::General))
        };
        let whole = stretches(&|| Stretches::of_row_groups(&self.loaded, &columns, &row_groups))?;
        let mut left = Vec::new();
        for (number, may_hold) in row_groups.iter().zip(answers(pruning.as_ref(), &whole)?) {
            if !may_hold {
                continue;
            }
            let pages = stretches(&|| Stretches::of_pages(&self.loaded, &columns, *number))?;
            let kept = answers(pruning.as_ref(), &pages)?;
            left.extend(pages.rows.into_iter().zip(kept).filter_map(|(rows, may_hold)| may_hold.then_some(rows)));
        }
        Ok(ranges.within(&RowRanges::new(left)))
    }
}

fn answers(pruning: &dyn Pruning, stretches: &Stretches) -> Result<Vec<bool>> {
    let answers = pruning.may_hold(&stretches.statistics);
    if answers.len() == stretches.rows.len() {
        return Ok(answers);
    }
    let (answers, asked) = (answers.len(), stretches.rows.len());
    Err(SegmentError::Misused(format!("{answers} answers to statistics of {asked} stretches")))
}

/// The conditions as the Parquet reader wants them; `tested` counts the rows that the first one sees.
pub(crate) fn row_filter(
    conditions: &Arc<[FileCondition]>,
    schema: &parquet::schema::types::SchemaDescriptor,
    tested: &Arc<AtomicU64>,
) -> RowFilter {
    let predicates = (0..conditions.len()).map(|at| {
        let leaves = conditions.get(at).map(|condition| condition.bound.decoded.clone()).unwrap_or_default();
        let tested = (at == 0).then(|| Arc::clone(tested));
        let mask = ProjectionMask::leaves(schema, leaves);
        Box::new(Predicate { conditions: Arc::clone(conditions), at, mask, tested }) as Box<dyn ArrowPredicate>
    });
    RowFilter::new(predicates.collect())
}

struct Predicate {
    conditions: Arc<[FileCondition]>,
    at: usize,
    mask: ProjectionMask,
    tested: Option<Arc<AtomicU64>>,
}

impl ArrowPredicate for Predicate {
    fn projection(&self) -> &ProjectionMask {
        &self.mask
    }

    fn evaluate(&mut self, batch: RecordBatch) -> std::result::Result<BooleanArray, ArrowError> {
        let misused = |message: String| ArrowError::ExternalError(Box::new(SegmentError::Misused(message)));
        let Some(FileCondition { condition, bound }) = self.conditions.get(self.at) else {
            return Err(misused("a condition that is not there".to_owned()));
        };
        if let Some(tested) = &self.tested {
            tested.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        }
        // Wrong columns are the file's fault, a condition that fails is ours.
        let batch = bound.apply(&batch).map_err(ArrowError::ParquetError)?;
        condition.test(&batch).map_err(|error| misused(format!("a condition was not evaluated: {error}")))
    }
}

#[cfg(test)]
mod tests;
