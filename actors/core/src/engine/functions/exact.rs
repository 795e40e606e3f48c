//! A number that is compared, as it was written.
//!
//! The planner reads a number with a point as a DOUBLE, which has about 16 digits. The rewrite puts longer ones into this function,
//! and [`TypedLiterals`](super::super::literals::TypedLiterals) takes them out where they stand beside an exact value.
//! Anywhere else it is the DOUBLE that the planner would have read.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The function's name; no user can write it unquoted.
pub(crate) const EXACT_NUMBER: &str = "exact number";

/// The function to register.
pub(crate) fn exact_number() -> ScalarUDF {
    ScalarUDF::from(ExactNumber { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ExactNumber {
    signature: Signature,
}

impl ScalarUDFImpl for ExactNumber {
    fn name(&self) -> &'static str {
        EXACT_NUMBER
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(text)] = args.args.as_slice() else {
            return internal_err!("{EXACT_NUMBER} takes one text");
        };
        let text = text.try_as_str().flatten().unwrap_or_default();
        let number: f64 = text.parse().map_err(|_| exec_datafusion_err!("'{text}' is no number"))?;
        Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(number))))
    }
}
