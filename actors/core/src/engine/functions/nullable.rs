//! A value of a subquery that may find no row.
//!
//! DataFusion takes a scalar subquery over a NOT NULL column for NOT NULL itself, and fails when it finds
//! no row. The rewrite puts such columns into this function, which gives its argument back as one that may
//! be NULL.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function's name; no user can write it unquoted.
pub(crate) const MAY_BE_NULL: &str = "may be null";

/// The function to register.
pub(crate) fn may_be_null() -> ScalarUDF {
    ScalarUDF::from(MayBeNull { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MayBeNull {
    signature: Signature,
}

impl ScalarUDFImpl for MayBeNull {
    fn name(&self) -> &'static str {
        MAY_BE_NULL
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [argument] => Ok(argument.clone()),
            _ => internal_err!("{MAY_BE_NULL} takes one argument"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [argument] => Ok(Arc::new(Field::clone(argument).with_nullable(true))),
            _ => internal_err!("{MAY_BE_NULL} takes one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => internal_err!("{MAY_BE_NULL} takes one argument"),
        }
    }
}
