//! Casts to JSON and UUID, which read the text, and casts from them to TEXT.
//!
//! To DataFusion all three are text: a cast among them would do nothing, or give text that nobody has looked at
//! the type of what was.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::{Array, StringViewBuilder};
use datafusion::arrow::compute::{CastOptions, can_cast_types};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::format::DEFAULT_CAST_OPTIONS;
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, not_impl_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use kalamdb_sql::{ColumnType, is_json};
use uuid::Uuid;

/// Longest text shown in a message, in characters.
const SHOWN_CHARS: usize = 40;

/// The cast as a function of one argument.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedCast {
    to: ColumnType,
    /// What is no such value becomes NULL.
    is_try: bool,
    signature: Signature,
}

impl CheckedCast {
    /// The call of it. `to` is JSON, UUID or TEXT.
    pub(crate) fn call(argument: Expr, to: ColumnType, is_try: bool) -> Expr {
        let cast = Self { to, is_try, signature: Signature::any(1, Volatility::Immutable) };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(cast)), vec![argument]))
    }

    /// The type of its values.
    pub(crate) fn to(&self) -> ColumnType {
        self.to
    }

    /// The value as results have it; none is NULL.
    fn read<'a>(&self, text: &'a str) -> Result<Option<Cow<'a, str>>> {
        let read = match self.to {
            ColumnType::Uuid => Uuid::parse_str(text.trim()).ok().map(|uuid| Cow::Owned(uuid.to_string())),
            ColumnType::Json => is_json(text).then_some(Cow::Borrowed(text)),
            _ => Some(Cow::Borrowed(text)),
        };
        if read.is_none() && !self.is_try {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            return exec_err!("'{shown}' is no {}", self.to);
        }
        Ok(read)
    }
}

impl ScalarUDFImpl for CheckedCast {
    fn name(&self) -> &str {
        match self.to {
            ColumnType::Uuid => "cast_to_uuid",
            ColumnType::Json => "cast_to_json",
            _ => "cast_to_text",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let [from] = args.arg_fields else { return internal_err!("{} takes one argument", self.name()) };
        if !can_cast_types(from.data_type(), &DataType::Utf8View) {
            return not_impl_err!("{} cannot be cast to {}", from.data_type(), self.to);
        }
        Ok(Arc::new(self.to.to_field(self.name(), self.is_try || from.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.first() else { return internal_err!("{} takes one argument", self.name()) };
        let options = CastOptions { safe: self.is_try, ..DEFAULT_CAST_OPTIONS };
        let text = value.cast_to(&DataType::Utf8View, Some(&options))?;
        if self.to == ColumnType::Text {
            return Ok(text);
        }
        Ok(match text {
            ColumnarValue::Scalar(scalar) => {
                let read = scalar.try_as_str().flatten().map(|text| self.read(text)).transpose()?.flatten();
                ColumnarValue::Scalar(ScalarValue::Utf8View(read.map(Cow::into_owned)))
            }
            ColumnarValue::Array(array) => {
                let mut values = StringViewBuilder::with_capacity(array.len());
                for text in array.as_string_view() {
                    values.append_option(text.map(|text| self.read(text)).transpose()?.flatten());
                }
                ColumnarValue::Array(Arc::new(values.finish()))
            }
        })
    }
}
