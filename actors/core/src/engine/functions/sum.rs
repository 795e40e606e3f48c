//! `sum` over integers and decimals that fails on overflow, where DataFusion's wraps; over other types it
//! is DataFusion's own.

use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::{Decimal128Type, Decimal256Type, Int64Type};
use datafusion::arrow::array::{Array, ArrayRef, PrimitiveArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, i256};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
};

/// Any number of decimals that fits in memory sums to less than this many digits.
const STATE_PRECISION: u8 = 76;

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

fn is_checked(result: &DataType) -> bool {
    matches!(result, DataType::Int64 | DataType::Decimal128(..))
}

fn is_own(result: &DataType, distinct: bool) -> bool {
    is_checked(result) && !distinct
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
        let result = args.return_field.data_type().clone();
        match (is_checked(&result), args.is_distinct) {
            (true, false) => Ok(Box::new(ExactSum::new(result))),
            // DataFusion keeps the values apart; they are added here.
            (true, true) => Ok(Box::new(DistinctSum { inner: self.inner.accumulator(args)?, result })),
            (false, _) => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if is_own(args.return_field.data_type(), args.is_distinct) {
            return Ok(Box::new(ExactSum::new(args.return_field.data_type().clone())));
        }
        self.inner.create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let result = args.return_field.data_type();
        if is_own(result, args.is_distinct) {
            let sum_type = DataType::Decimal256(STATE_PRECISION, scale_of(result));
            return Ok(vec![
                Field::new(format_state_name(args.name, "sum"), sum_type, true).into(),
                Field::new(format_state_name(args.name, "count"), DataType::Int64, true).into(),
            ]);
        }
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !is_own(args.return_field.data_type(), args.is_distinct) && self.inner.groups_accumulator_supported(args)
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

fn scale_of(result: &DataType) -> i8 {
    match result {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

/// The exact sum of the numbers seen, and how many they were: none is NULL.
#[derive(Debug)]
struct ExactSum {
    result: DataType,
    sum: i256,
    count: i64,
}

impl ExactSum {
    fn new(result: DataType) -> Self {
        Self { result, sum: i256::ZERO, count: 0 }
    }

    /// The sum of a batch and the number of its values.
    fn of_batch(&self, values: &[ArrayRef]) -> Result<(i256, i64)> {
        let [numbers] = values else { return Err(exec_datafusion_err!("sum takes one argument")) };
        let sum = match self.result {
            DataType::Int64 => {
                let numbers = numbers.as_primitive::<Int64Type>();
                i256::from_i128(numbers.iter().flatten().map(i128::from).sum())
            }
            _ => decimals(numbers.as_primitive()),
        };
        Ok((sum, i64::try_from(numbers.len() - numbers.null_count()).unwrap_or(i64::MAX)))
    }

    /// The sum, where it fits the result's type.
    fn fitting(&self) -> Result<ScalarValue> {
        let sum = self.sum.to_i128();
        let overflow = ArrowError::ArithmeticOverflow;
        match self.result {
            DataType::Decimal128(precision, scale) => {
                let beyond = 10_u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
                let sum = sum
                    .filter(|sum| sum.unsigned_abs() < beyond)
                    .ok_or_else(|| overflow(format!("the sum does not fit DECIMAL({precision},{scale})")))?;
                Ok(ScalarValue::Decimal128(Some(sum), precision, scale))
            }
            _ => {
                let sum = sum
                    .and_then(|sum| i64::try_from(sum).ok())
                    .ok_or_else(|| overflow(format!("the sum {} does not fit BIGINT", self.sum)))?;
                Ok(ScalarValue::Int64(Some(sum)))
            }
        }
    }
}

/// Adds in 128 bits, and goes on from nothing where they are full.
fn decimals(numbers: &PrimitiveArray<Decimal128Type>) -> i256 {
    let (full, rest) =
        numbers.iter().flatten().fold((i256::ZERO, 0_i128), |(full, rest), number| match rest.checked_add(number) {
            Some(sum) => (full, sum),
            None => (full.wrapping_add(i256::from_i128(rest)), number),
        });
    full.wrapping_add(i256::from_i128(rest))
}

impl Accumulator for ExactSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = self.of_batch(values)?;
        self.sum = self.sum.wrapping_add(sum);
        self.count += count;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = self.of_batch(values)?;
        self.sum = self.sum.wrapping_sub(sum);
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.count == 0 { ScalarValue::try_from(&self.result) } else { self.fitting() }
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Decimal256(Some(self.sum), STATE_PRECISION, scale_of(&self.result));
        Ok(vec![sum, ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [sums, counts] = states else { return Err(exec_datafusion_err!("sum has two states")) };
        let sums = sums.as_primitive::<Decimal256Type>();
        self.sum = sums.iter().flatten().fold(self.sum, i256::wrapping_add);
        self.count += counts.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
        Ok(())
    }
}

/// `sum(DISTINCT …)`: the values kept apart by another, and their exact sum.
#[derive(Debug)]
struct DistinctSum {
    inner: Box<dyn Accumulator>,
    result: DataType,
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sum = ExactSum::new(self.result.clone());
        for state in self.inner.state()? {
            let ScalarValue::List(list) = state else {
                return Err(exec_datafusion_err!("the state of a distinct sum is a list"));
            };
            sum.update_batch(&[Arc::clone(list.values())])?;
        }
        sum.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }
}
