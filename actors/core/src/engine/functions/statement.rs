//! Functions that are constants of the statement: `NOW()` and its relatives, `CURRENT_USER()`.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use kalamdb_commons::UserId;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A function without arguments whose value is fixed for the statement.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct StatementConstant {
    name: String,
    value: ScalarValue,
    signature: Signature,
}

impl ScalarUDFImpl for StatementConstant {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// The value of the function of that name, if it is one of these; `now` in microseconds.
pub(crate) fn statement_constant(name: &str, now: i64, user: &UserId) -> Option<ScalarValue> {
    let value = match name {
        "now" | "current_timestamp" => ScalarValue::TimestampMicrosecond(Some(now), None),
        "current_date" | "today" => ScalarValue::Date32(i32::try_from(now.div_euclid(MICROS_PER_DAY)).ok()),
        "current_time" => ScalarValue::Time64Microsecond(Some(now.rem_euclid(MICROS_PER_DAY))),
        "current_user" => ScalarValue::Utf8View(Some(user.as_str().to_owned())),
        _ => return None,
    };
    debug_assert!(!matches!(value.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)));
    Some(value)
}

/// The function with that value.
pub(crate) fn statement_function(name: &str, value: ScalarValue) -> ScalarUDF {
    ScalarUDF::from(StatementConstant {
        name: name.to_owned(),
        value,
        signature: Signature::nullary(Volatility::Stable),
    })
}
