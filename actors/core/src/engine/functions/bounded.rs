//! `repeat`, `lpad` and `rpad` with a bound: each makes text as long as its caller asks, all of it at once, and
//! nothing else would stop it before the memory is gone.

use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::Int64Type;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// The functions that are bounded.
pub(crate) const BOUNDED: [&str; 3] = ["repeat", "lpad", "rpad"];
/// Bytes that one call may make for a batch of rows.
const MOST_BYTES: i64 = 256 << 20;

/// A function of DataFusion's that is refused texts that are too long.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct BoundedText {
    inner: Arc<ScalarUDF>,
}

impl BoundedText {
    pub(crate) fn new(inner: Arc<ScalarUDF>) -> Self {
        Self { inner }
    }

    /// About how many bytes the call would make.
    fn estimate(&self, args: &ScalarFunctionArgs) -> Result<i64> {
        let column = |at: usize| args.args.get(at).map(|value| value.to_array(args.number_rows)).transpose();
        let (Some(text), Some(count)) = (column(0)?, column(1)?) else { return Ok(0) };
        let counts = cast(&count, &DataType::Int64)?;
        let lengths: ArrayRef = if self.inner.name() == "repeat" {
            cast(&length(&cast(&text, &DataType::LargeUtf8)?)?, &DataType::Int64)?
        } else {
            // The count is the length asked for.
            Arc::new(datafusion::arrow::array::Int64Array::from(vec![1; counts.len()]))
        };
        let sizes = counts.as_primitive::<Int64Type>().iter().zip(lengths.as_primitive::<Int64Type>());
        Ok(sizes.fold(0_i64, |sum, (count, length)| {
            sum.saturating_add(count.unwrap_or(0).max(0).saturating_mul(length.unwrap_or(0)))
        }))
    }
}

impl ScalarUDFImpl for BoundedText {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.estimate(&args)?;
        if bytes > MOST_BYTES {
            return exec_err!("{} would make {bytes} bytes of text, {MOST_BYTES} are allowed", self.inner.name());
        }
        self.inner.invoke_with_args(args)
    }
}
