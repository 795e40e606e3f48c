//! What a file says of stretches of its rows: bounds and counts of NULLs, of whole row groups and of pages.
//!
//! What always holds (RD-2): bounds are a superset of the truth in SQL's order, and a number that is not exact is not given. So
//! floats have no bounds (a NaN counts in none of Parquet's, and SQL sorts it behind all others or before them), and
//! text that the file cut short is bounded by what was cut, which is below, and by what is above it.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, UInt64Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use kalamdb_sql::{ColumnType, Value};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::cache::LoadedSegment;
use crate::projection::{BoundProjection, ColumnOrigin, constant};

/// What is known of some stretches of rows.
#[derive(Debug, Clone)]
pub struct RowStatistics {
    /// Rows of each stretch.
    pub rows: UInt64Array,
    /// In the order of the columns that were asked for.
    pub columns: Vec<ColumnStatistics>,
}

/// What is known of one column in each of some stretches; NULL where nothing is.
#[derive(Debug, Clone)]
pub struct ColumnStatistics {
    /// No value is below it.
    pub least: ArrayRef,
    /// No value is above it.
    pub most: ArrayRef,
    /// How many are NULL, exactly.
    pub nulls: UInt64Array,
}

/// Stretches of rows, ascending, and what is known of them.
#[derive(Debug)]
pub(crate) struct Stretches {
    pub(crate) rows: Vec<Range<u64>>,
    pub(crate) statistics: RowStatistics,
}

/// One column of one row group, page by page, or as a whole where its pages are not told apart.
struct Pages {
    first_rows: Vec<u64>,
    statistics: ColumnStatistics,
}

type Outcome<T> = Result<T, String>;

impl Stretches {
    /// Some row groups; `Err` says what is wrong with the file.
    pub(crate) fn of_row_groups(
        segment: &LoadedSegment,
        columns: &BoundProjection,
        row_groups: &[usize],
    ) -> Outcome<Self> {
        let mut rows = Vec::with_capacity(row_groups.len());
        for number in row_groups {
            rows.push(rows_of_group(segment, *number)?);
        }
        let counts = UInt64Array::from_iter_values(rows.iter().map(|range| range.end - range.start));
        let mut found = Vec::new();
        for (origin, field) in columns.origins() {
            found.push(match origin {
                ColumnOrigin::Leaf(leaf) => chunks(segment, leaf, row_groups)?,
                ColumnOrigin::Constant(column_type, value) => repeated(column_type, value, &counts)?,
                ColumnOrigin::Made => unknown(field.data_type(), rows.len()),
            });
        }
        Ok(Self { rows, statistics: RowStatistics { rows: counts, columns: found } })
    }

    /// The rows of one row group between the borders of the columns' pages; `Err` as before.
    pub(crate) fn of_pages(segment: &LoadedSegment, columns: &BoundProjection, row_group: usize) -> Outcome<Self> {
        let group = rows_of_group(segment, row_group)?;
        let group_rows = group.end - group.start;
        let whole = UInt64Array::from_iter_values([group_rows]);
        let mut pages = Vec::new();
        for (origin, field) in columns.origins() {
            let first_rows = vec![0];
            pages.push(match origin {
                ColumnOrigin::Leaf(leaf) => pages_of(segment, leaf, row_group)?,
                ColumnOrigin::Constant(column_type, value) => {
                    Pages { first_rows, statistics: repeated(column_type, value, &whole)? }
                }
                ColumnOrigin::Made => Pages { first_rows, statistics: unknown(field.data_type(), 1) },
            });
        }
        let mut borders: Vec<u64> = pages.iter().flat_map(|pages| pages.first_rows.iter().copied()).collect();
        borders.sort_unstable();
        borders.dedup();
        borders.retain(|border| *border < group_rows);
        let ends = borders.iter().skip(1).copied().chain([group_rows]);
        let stretches: Vec<Range<u64>> = borders.iter().zip(ends).map(|(start, end)| *start..end).collect();
        let found = pages.iter().map(|pages| pages.in_stretches(&stretches, group_rows)).collect::<Outcome<_>>()?;
        let rows = UInt64Array::from_iter_values(stretches.iter().map(|range| range.end - range.start));
        let statistics = RowStatistics { rows, columns: found };
        let rows = stretches.iter().map(|range| group.start + range.start..group.start + range.end).collect();
        Ok(Self { rows, statistics })
    }
}

impl Pages {
    /// What the pages tell of stretches, none of which reaches into two of them.
    fn in_stretches(&self, stretches: &[Range<u64>], group_rows: u64) -> Outcome<ColumnStatistics> {
        let page_of = |row: u64| self.first_rows.partition_point(|first| *first <= row).saturating_sub(1);
        let places = UInt64Array::from_iter_values(stretches.iter().map(|rows| page_of(rows.start) as u64));
        let bound = |values: &ArrayRef| take(values, &places, None).map_err(|error| error.to_string());
        let nulls = stretches.iter().map(|stretch| {
            let page = page_of(stretch.start);
            let end = self.first_rows.get(page + 1).copied().unwrap_or(group_rows);
            let page_rows = end.saturating_sub(self.first_rows.get(page).copied().unwrap_or_default());
            let rows = stretch.end - stretch.start;
            match self.statistics.nulls.is_valid(page).then(|| self.statistics.nulls.value(page))? {
                0 => Some(0),
                nulls if nulls == page_rows => Some(rows),
                // Where in the page they are is not known.
                nulls => (rows == page_rows).then_some(nulls),
            }
        });
        let nulls = nulls.collect();
        Ok(ColumnStatistics { least: bound(&self.statistics.least)?, most: bound(&self.statistics.most)?, nulls })
    }
}

fn rows_of_group(segment: &LoadedSegment, number: usize) -> Outcome<Range<u64>> {
    match segment.row_group_starts.get(number..number + 2) {
        Some(&[start, end]) => Ok(start..end),
        _ => Err(format!("it has no row group {number}")),
    }
}

fn unknown(data_type: &DataType, stretches: usize) -> ColumnStatistics {
    let bound = new_null_array(data_type, stretches);
    ColumnStatistics { least: Arc::clone(&bound), most: bound, nulls: UInt64Array::new_null(stretches) }
}

/// A column that the file does not have: one value in all rows.
fn repeated(column_type: ColumnType, value: &Value, rows: &UInt64Array) -> Outcome<ColumnStatistics> {
    let nulls = if value.is_null() { rows.clone() } else { UInt64Array::from_value(0, rows.len()) };
    let values = constant(column_type, value, rows.len())?;
    Ok(bounded(ColumnStatistics { least: Arc::clone(&values), most: values, nulls }))
}

/// Without the bounds that do not hold.
fn bounded(statistics: ColumnStatistics) -> ColumnStatistics {
    match statistics.least.data_type() {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let unknown = unknown(statistics.least.data_type(), statistics.least.len());
            ColumnStatistics { nulls: statistics.nulls, ..unknown }
        }
        _ => statistics,
    }
}

fn converter(segment: &LoadedSegment, leaf: usize) -> Outcome<(&Field, StatisticsConverter<'_>)> {
    let field = segment.columns.schema().fields().get(leaf).ok_or_else(|| format!("it has no column {leaf}"))?;
    let schema = segment.metadata.file_metadata().schema_descr();
    let converter = StatisticsConverter::from_column_index(leaf, field, schema)
        .map_err(|error| error.to_string())?
        .with_missing_null_counts_as_zero(false);
    Ok((field, converter))
}

/// A column of some row groups.
fn chunks(segment: &LoadedSegment, leaf: usize, row_groups: &[usize]) -> Outcome<ColumnStatistics> {
    let (_, converter) = converter(segment, leaf)?;
    let groups = || row_groups.iter().filter_map(|number| segment.metadata.row_groups().get(*number));
    let error = |error: parquet::errors::ParquetError| error.to_string();
    Ok(bounded(ColumnStatistics {
        least: converter.row_group_mins(groups()).map_err(error)?,
        most: converter.row_group_maxes(groups()).map_err(error)?,
        nulls: converter.row_group_null_counts(groups()).map_err(error)?,
    }))
}

/// A column of a row group, page by page.
fn pages_of(segment: &LoadedSegment, leaf: usize, row_group: usize) -> Outcome<Pages> {
    let metadata = &segment.metadata;
    let indexes = metadata.column_index().zip(metadata.offset_index()).filter(|(columns, offsets)| {
        let column = columns.get(row_group).and_then(|group| group.get(leaf));
        let pages = offsets.get(row_group).and_then(|group| group.get(leaf));
        !matches!(column, None | Some(ColumnIndexMetaData::NONE)) && pages.is_some()
    });
    let Some((columns, offsets)) = indexes else {
        return Ok(Pages { first_rows: vec![0], statistics: chunks(segment, leaf, &[row_group])? });
    };
    let locations = offsets.get(row_group).and_then(|group| group.get(leaf)).map(|pages| pages.page_locations());
    let first_rows: Vec<u64> = locations
        .into_iter()
        .flatten()
        .map(|page| u64::try_from(page.first_row_index).map_err(|_| "a page begins at a negative row".to_owned()))
        .collect::<Outcome<_>>()?;
    if first_rows.first() != Some(&0) || !first_rows.is_sorted_by(|one, next| one < next) {
        return Err(format!("the pages of column {leaf} are out of order"));
    }
    let (field, converter) = converter(segment, leaf)?;
    let error = |error: parquet::errors::ParquetError| error.to_string();
    let statistics = bounded(ColumnStatistics {
        least: converter.data_page_mins(columns, offsets, [&row_group]).map_err(error)?,
        most: converter.data_page_maxes(columns, offsets, [&row_group]).map_err(error)?,
        nulls: converter.data_page_null_counts(columns, offsets, [&row_group]).map_err(error)?,
    });
    let pages = first_rows.len();
    let as_expected = statistics.least.len() == pages && statistics.most.len() == pages;
    if as_expected && statistics.nulls.len() == pages {
        Ok(Pages { first_rows, statistics })
    } else {
        Ok(Pages { statistics: unknown(field.data_type(), pages), first_rows })
    }
}

#[cfg(test)]
mod tests;
