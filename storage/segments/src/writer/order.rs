//! The order of rows, and the one form of floats in keys.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, PrimitiveArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};

use crate::error::{Result, SegmentError};

/// Checks that the rows of a batch ascend strictly by its key columns. Arrow's order of each type is that of the
/// encoded keys (`docs/architecture/formats.md`, section 4), floats being normalised.
pub(super) fn check_order(keys: &[ArrayRef]) -> Result<()> {
    let rows = keys.first().map_or(0, |array| array.len());
    let comparators = keys
        .iter()
        .map(|array| make_comparator(array, array, SortOptions::default()))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    for row in 1..rows {
        let order = comparators
            .iter()
            .map(|compare| compare(row - 1, row))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal);
        if order.is_ge() {
            return Err(SegmentError::Misused(format!(
                "row {row} of a batch does not follow the one before it by key"
            )));
        }
    }
    Ok(())
}

/// The column with floats as in keys: `-0.0` is `0.0`, and there is one NaN.
pub(super) fn normalised(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            let floats: PrimitiveArray<Float32Type> =
                column.as_primitive::<Float32Type>().unary(|number| match number {
                    0.0 => 0.0,
                    number if number.is_nan() => f32::NAN,
                    number => number,
                });
            Arc::new(floats)
        }
        DataType::Float64 => {
            let floats: PrimitiveArray<Float64Type> =
                column.as_primitive::<Float64Type>().unary(|number| match number {
                    0.0 => 0.0,
                    number if number.is_nan() => f64::NAN,
                    number => number,
                });
            Arc::new(floats)
        }
        _ => Arc::clone(column),
    }
}
