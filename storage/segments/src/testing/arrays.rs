//! Values to Arrow and back, value by value.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use kalamdb_sql::{ColumnType, Value};
use uuid::Uuid;

macro_rules! collect {
    ($array:ty, $values:expr, $kind:ident) => {
        Arc::new(<$array>::from_iter($values.map(|value| match value {
            Value::$kind(value) => Some(value.clone()),
            Value::Null => None,
            other => panic!("{other:?}"),
        })))
    };
}

pub(crate) fn array_of<'a>(column_type: ColumnType, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    match column_type {
        ColumnType::Boolean => collect!(BooleanArray, values, Boolean),
        ColumnType::SmallInt => collect!(Int16Array, values, SmallInt),
        ColumnType::Int => collect!(Int32Array, values, Int),
        ColumnType::BigInt => collect!(Int64Array, values, BigInt),
        ColumnType::Float => collect!(Float32Array, values, Float),
        ColumnType::Double => collect!(Float64Array, values, Double),
        ColumnType::Decimal { precision, scale } => {
            let array: Arc<Decimal128Array> = collect!(Decimal128Array, values, Decimal);
            let scale = i8::try_from(scale).expect("a scale");
            Arc::new(array.as_ref().clone().with_precision_and_scale(precision, scale).expect("a decimal"))
        }
        ColumnType::Text => collect!(StringViewArray, values, Text),
        ColumnType::Json => collect!(StringViewArray, values, Json),
        ColumnType::Bytes => collect!(BinaryViewArray, values, Bytes),
        ColumnType::Date => collect!(Date32Array, values, Date),
        ColumnType::Timestamp => collect!(TimestampMicrosecondArray, values, Timestamp),
        ColumnType::Uuid => Arc::new(StringViewArray::from_iter(values.map(|value| match value {
            Value::Uuid(bytes) => Some(Uuid::from_bytes(*bytes).to_string()),
            Value::Null => None,
            other => panic!("{other:?}"),
        }))),
    }
}

/// `None` for a column that is not declared: a system column.
pub(crate) fn values_of(column_type: Option<ColumnType>, array: &ArrayRef) -> Vec<Value> {
    let column_type = column_type.unwrap_or_else(|| match array.data_type() {
        DataType::Int64 => ColumnType::BigInt,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        other => panic!("{other}"),
    });
    assert_eq!(array.data_type(), &column_type.to_arrow());
    (0..array.len()).map(|row| if array.is_null(row) { Value::Null } else { value(column_type, array, row) }).collect()
}

fn value(column_type: ColumnType, array: &ArrayRef, row: usize) -> Value {
    match column_type {
        ColumnType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        ColumnType::SmallInt => Value::SmallInt(array.as_primitive::<Int16Type>().value(row)),
        ColumnType::Int => Value::Int(array.as_primitive::<Int32Type>().value(row)),
        ColumnType::BigInt => Value::BigInt(array.as_primitive::<Int64Type>().value(row)),
        ColumnType::Float => Value::Float(array.as_primitive::<Float32Type>().value(row)),
        ColumnType::Double => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Decimal { .. } => Value::Decimal(array.as_primitive::<Decimal128Type>().value(row)),
        ColumnType::Text => Value::Text(array.as_string_view().value(row).to_owned()),
        ColumnType::Json => Value::Json(array.as_string_view().value(row).to_owned()),
        ColumnType::Bytes => Value::Bytes(array.as_binary_view().value(row).to_owned()),
        ColumnType::Date => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        ColumnType::Timestamp => Value::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        ColumnType::Uuid => {
            let text = array.as_string_view().value(row);
            Value::Uuid(Uuid::try_parse(text).expect("a UUID").into_bytes())
        }
    }
}
