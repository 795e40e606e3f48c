//! `sum` over integers that fails on overflow, where DataFusion's wraps; over other types it is
//! DataFusion's own.

use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::{Decimal128Type, Int64Type};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
};

/// Any number of 64-bit integers that fits in memory sums to less than this many digits.
const STATE_TYPE: DataType = DataType::Decimal128(38, 0);

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

impl CheckedSum {
    /// Wraps DataFusion's `sum`.
    pub(crate) fn new(inner: Arc<AggregateUDF>) -> Self {
        Self { inner }
    }
}

/// DISTINCT is DataFusion's: its values are few, and it keeps them apart.
fn is_checked(result: &DataType, distinct: bool) -> bool {
    *result == DataType::Int64 && !distinct
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if is_checked(args.return_field.data_type(), args.is_distinct) {
            return Ok(Box::new(IntegerSum::default()));
        }
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if is_checked(args.return_field.data_type(), args.is_distinct) {
            return Ok(Box::new(IntegerSum::default()));
        }
        self.inner.create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if is_checked(args.return_field.data_type(), args.is_distinct) {
            return Ok(vec![
                Field::new(format_state_name(args.name, "sum"), STATE_TYPE, true).into(),
                Field::new(format_state_name(args.name, "count"), DataType::Int64, true).into(),
            ]);
        }
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !is_checked(args.return_field.data_type(), args.is_distinct) && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }
}

/// The exact sum of the numbers seen, and how many they were: none is NULL.
#[derive(Debug, Default)]
struct IntegerSum {
    sum: i128,
    count: i64,
}

impl IntegerSum {
    fn add(&mut self, values: &[ArrayRef], sign: i128) -> Result<()> {
        let [numbers] = values else { return Err(exec_datafusion_err!("sum takes one argument")) };
        let numbers = numbers.as_primitive::<Int64Type>();
        let sum: i128 = numbers.iter().flatten().map(i128::from).sum();
        let count = i64::try_from(numbers.len() - numbers.null_count()).unwrap_or(i64::MAX);
        self.sum += sign * sum;
        self.count += if sign < 0 { -count } else { count };
        Ok(())
    }
}

impl Accumulator for IntegerSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::Int64(None));
        }
        let sum = i64::try_from(self.sum)
            .map_err(|_| ArrowError::ArithmeticOverflow(format!("the sum {} does not fit BIGINT", self.sum)))?;
        Ok(ScalarValue::Int64(Some(sum)))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Decimal128(Some(self.sum), 38, 0), ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sums, counts] = states else { return Err(exec_datafusion_err!("sum has two states")) };
        self.sum += sums.as_primitive::<Decimal128Type>().iter().flatten().sum::<i128>();
        self.count += counts.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }
}
