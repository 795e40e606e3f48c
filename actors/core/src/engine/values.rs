//! Between SQL literals, Arrow, and stored values: one place for every table kind (FR-046).

use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::Float64Type;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::common::ScalarValue;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::{ColumnType, Value, ast, decode_hex, is_in_range};

pub(crate) use kalamdb_sql::{number_to_value, text_to_value};

/// A literal of the statement as a value of a type. None for an expression that is no literal.
pub(crate) fn literal_to_value(expr: &ast::Expr, column_type: ColumnType, column: &str) -> Option<Result<Value>> {
    let (value, negative) = match expr {
        ast::Expr::Value(value) => (&value.value, false),
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => match expr.as_ref() {
            ast::Expr::Value(value) if matches!(value.value, ast::Value::Number(..)) => (&value.value, true),
            _ => return None,
        },
        ast::Expr::Nested(inner) => return literal_to_value(inner, column_type, column),
        _ => return None,
    };
    let converted = match value {
        // Planned, as in a query: it is the text of what the literal means.
        ast::Value::Boolean(_) | ast::Value::Number(..) if column_type == ColumnType::Text => return None,
        ast::Value::Null => Some(Value::Null),
        ast::Value::Boolean(truth) if column_type == ColumnType::Boolean => Some(Value::Boolean(*truth)),
        ast::Value::Number(digits, _) => {
            let digits = if negative { format!("-{digits}") } else { digits.clone() };
            number_to_value(&digits, column_type)
        }
        ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => {
            text_to_value(text, column_type)
        }
        ast::Value::DollarQuotedString(text) => text_to_value(&text.value, column_type),
        ast::Value::HexStringLiteral(hex) if column_type == ColumnType::Bytes => decode_hex(hex).map(Value::Bytes),
        ast::Value::Boolean(_) => None,
        _ => return None,
    };
    Some(converted.ok_or_else(|| mismatch(column, column_type, &expr.to_string())))
}

/// `TYPE_MISMATCH` for one value.
pub(crate) fn mismatch(column: &str, column_type: ColumnType, given: &str) -> Error {
    let mut shown: String = given.chars().take(60).collect();
    if shown.len() < given.len() {
        shown.push('…');
    }
    Error::new(ErrorCode::TypeMismatch, format!("column '{column}' is {column_type}: {shown} does not fit"))
}

/// Whether values of an Arrow type may be assigned to a column (as PostgreSQL's assignment casts).
fn is_assignable(from: &DataType, to: ColumnType) -> bool {
    let number = from.is_numeric() || from.is_null();
    let text = matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let time = matches!(from, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    from.is_null()
        || match to {
            ColumnType::Boolean => *from == DataType::Boolean,
            ColumnType::SmallInt
            | ColumnType::Int
            | ColumnType::BigInt
            | ColumnType::Float
            | ColumnType::Double
            | ColumnType::Decimal { .. } => number,
            ColumnType::Text => text || number || time || *from == DataType::Boolean,
            ColumnType::Bytes => {
                matches!(
                    from,
                    DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
                )
            }
            ColumnType::Date | ColumnType::Timestamp => time,
            ColumnType::Uuid | ColumnType::Json => text,
        }
}

/// A computed column as values to be written into a table column. Kernels give results beyond the ranges of
/// DATE, TIMESTAMP, DECIMAL and FLOAT without an error; none of them may be stored.
pub(crate) fn array_to_values(array: &ArrayRef, column_type: ColumnType, column: &str) -> Result<Vec<Value>> {
    let values = stored_values(array, column_type, column)?;
    let is_infinite = |value: &Value| matches!(value, Value::Float(number) if number.is_infinite());
    let overflows = values.iter().any(|value| !is_in_range(value, column_type))
        || values.iter().any(is_infinite) && narrowing_overflows(array, &values)?;
    if overflows {
        let message = format!("column '{column}' is {column_type}: overflow, a value lies outside its range");
        return Err(Error::new(ErrorCode::EvaluationError, message));
    }
    Ok(values)
}

/// Whether a finite number became infinite when it was made a FLOAT. Infinity itself is a FLOAT.
fn narrowing_overflows(array: &ArrayRef, values: &[Value]) -> Result<bool> {
    let wide = cast_with_options(array, &DataType::Float64, &CastOptions::default()).map_err(Error::internal)?;
    let wide = wide.as_primitive::<Float64Type>();
    Ok(values.iter().zip(wide.iter()).any(|(value, wide)| {
        matches!(value, Value::Float(number) if number.is_infinite()) && wide.is_some_and(f64::is_finite)
    }))
}

/// A column that was read as values of a table column.
pub(crate) fn stored_values(array: &ArrayRef, column_type: ColumnType, column: &str) -> Result<Vec<Value>> {
    if !is_assignable(array.data_type(), column_type) {
        return Err(Error::new(
            ErrorCode::TypeMismatch,
            format!("column '{column}' is {column_type}: a value of type {} does not fit", array.data_type()),
        ));
    }
    let whole = matches!(column_type, ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt);
    if whole && (array.data_type().is_floating() || array.data_type().is_decimal()) {
        return rounded_values(array, column_type, column);
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let cast = cast_with_options(array, &column_type.to_arrow(), &options).map_err(|error: ArrowError| {
        Error::new(ErrorCode::EvaluationError, format!("column '{column}' is {column_type}: {error}"))
    })?;
    (0..cast.len())
        .map(|row| {
            let scalar = ScalarValue::try_from_array(&cast, row).map_err(Error::internal)?;
            scalar_to_value(&scalar, column_type).map_err(|()| mismatch(column, column_type, &scalar.to_string()))
        })
        .collect()
}

/// Fractions assigned to an integer column are rounded, as a literal's is; Arrow's cast would cut them off.
fn rounded_values(array: &ArrayRef, column_type: ColumnType, column: &str) -> Result<Vec<Value>> {
    let text = cast_with_options(array, &DataType::Utf8, &CastOptions::default()).map_err(Error::internal)?;
    text.as_string::<i32>()
        .iter()
        .map(|number| match number {
            None => Ok(Value::Null),
            Some(number) => number_to_value(number, column_type).ok_or_else(|| {
                Error::new(
                    ErrorCode::EvaluationError,
                    format!("column '{column}' is {column_type}: {number} does not fit"),
                )
            }),
        })
        .collect()
}

/// A scalar of exactly the column's Arrow type as a stored value; text is checked for UUID and JSON.
pub(crate) fn scalar_to_value(scalar: &ScalarValue, column_type: ColumnType) -> Result<Value, ()> {
    let value = match (scalar, column_type) {
        (scalar, _) if scalar.is_null() => Value::Null,
        (ScalarValue::Boolean(Some(truth)), ColumnType::Boolean) => Value::Boolean(*truth),
        (ScalarValue::Int16(Some(number)), ColumnType::SmallInt) => Value::SmallInt(*number),
        (ScalarValue::Int32(Some(number)), ColumnType::Int) => Value::Int(*number),
        (ScalarValue::Int64(Some(number)), ColumnType::BigInt) => Value::BigInt(*number),
        (ScalarValue::Float32(Some(number)), ColumnType::Float) => Value::Float(*number),
        (ScalarValue::Float64(Some(number)), ColumnType::Double) => Value::Double(*number),
        (
            ScalarValue::Decimal128(Some(number), from_precision, from_scale),
            ColumnType::Decimal { precision, scale },
        ) if *from_precision == precision && i16::from(*from_scale) == i16::from(scale) => Value::Decimal(*number),
        (ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _) => {
            match column_type {
                ColumnType::Text | ColumnType::Uuid | ColumnType::Json => text_to_value(text, column_type).ok_or(())?,
                _ => return Err(()),
            }
        }
        (
            ScalarValue::Binary(Some(bytes))
            | ScalarValue::LargeBinary(Some(bytes))
            | ScalarValue::BinaryView(Some(bytes)),
            ColumnType::Bytes,
        ) => Value::Bytes(bytes.clone()),
        (ScalarValue::Date32(Some(days)), ColumnType::Date) => Value::Date(*days),
        (ScalarValue::TimestampMicrosecond(Some(micros), _), ColumnType::Timestamp) => Value::Timestamp(*micros),
        _ => return Err(()),
    };
    Ok(value.normalized())
}

/// A stored value as Arrow scalar of its column's type.
pub(crate) fn value_to_scalar(value: &Value, column_type: ColumnType) -> Result<ScalarValue> {
    Ok(match value {
        Value::Null => ScalarValue::try_from(&column_type.to_arrow()).map_err(Error::internal)?,
        Value::Boolean(truth) => ScalarValue::Boolean(Some(*truth)),
        Value::SmallInt(number) => ScalarValue::Int16(Some(*number)),
        Value::Int(number) => ScalarValue::Int32(Some(*number)),
        Value::BigInt(number) => ScalarValue::Int64(Some(*number)),
        Value::Float(number) => ScalarValue::Float32(Some(*number)),
        Value::Double(number) => ScalarValue::Float64(Some(*number)),
        Value::Decimal(number) => match column_type {
            ColumnType::Decimal { precision, scale } => {
                ScalarValue::Decimal128(Some(*number), precision, i8::try_from(scale).map_err(Error::internal)?)
            }
            other => return Err(Error::internal(format!("a decimal in a column of type {other}"))),
        },
        Value::Text(text) | Value::Json(text) => ScalarValue::Utf8View(Some(text.clone())),
        Value::Bytes(bytes) => ScalarValue::BinaryView(Some(bytes.clone())),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::Timestamp(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), None),
        Value::Uuid(bytes) => ScalarValue::Utf8View(Some(uuid::Uuid::from_bytes(*bytes).to_string())),
    })
}
