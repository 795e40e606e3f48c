//! How values compare, written down once more and without the codecs.

use std::cmp::Ordering;

use kalamdb_sql::Value;

/// The order of two values of one type as Arrow has it: text by bytes, false before true, the one NaN
/// last, `-0.0` and `0.0` equal.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::SmallInt(left), Value::SmallInt(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) | (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::BigInt(left), Value::BigInt(right)) | (Value::Timestamp(left), Value::Timestamp(right)) => {
            left.cmp(right)
        }
        (Value::Float(left), Value::Float(right)) => floats(f64::from(*left), f64::from(*right)),
        (Value::Double(left), Value::Double(right)) => floats(*left, *right),
        (Value::Decimal(left), Value::Decimal(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) | (Value::Json(left), Value::Json(right)) => {
            left.as_bytes().cmp(right.as_bytes())
        }
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Uuid(left), Value::Uuid(right)) => left.cmp(right),
        _ => panic!("{left:?} and {right:?} are not of one type"),
    }
}

fn floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

/// Whether two rows are the same to the bit, where `==` says that NaN is not NaN.
pub fn same(left: &[Value], right: &[Value]) -> bool {
    let same = |(left, right): (&Value, &Value)| match (left, right) {
        (Value::Float(left), Value::Float(right)) => left.to_bits() == right.to_bits(),
        (Value::Double(left), Value::Double(right)) => left.to_bits() == right.to_bits(),
        (left, right) => left == right,
    };
    left.len() == right.len() && left.iter().zip(right).all(same)
}
