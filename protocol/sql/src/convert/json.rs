//! Parameters: JSON read as values of a type.

use serde_json::Value as Json;

use super::text::{decode_base64, number_to_value, text_to_value};
use crate::{ColumnType, Value};

/// A parameter as a value of the type that its place expects (CONTRACT 4.6); none where it does not fit.
#[must_use]
pub fn json_to_value(json: &Json, column_type: ColumnType) -> Option<Value> {
    match (json, column_type) {
        (Json::Null, _) => Some(Value::Null),
        (Json::Bool(truth), ColumnType::Boolean) => Some(Value::Boolean(*truth)),
        (Json::Number(number), ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt) => {
            let text = number.to_string();
            // A float without fraction is welcome; rounding is not.
            is_whole(&text).then(|| number_to_value(&text, column_type)).flatten()
        }
        (Json::Number(number), ColumnType::Float | ColumnType::Double | ColumnType::Decimal { .. }) => {
            number_to_value(&number.to_string(), column_type)
        }
        (Json::String(text), ColumnType::Float | ColumnType::Double) => {
            matches!(text.as_str(), "NaN" | "Infinity" | "-Infinity")
                .then(|| text_to_value(text, column_type))
                .flatten()
        }
        (Json::String(text), ColumnType::Decimal { .. }) => text_to_value(text, column_type),
        (Json::String(text), ColumnType::Bytes) => decode_base64(text).map(Value::Bytes),
        (
            Json::String(text),
            ColumnType::Text | ColumnType::Date | ColumnType::Timestamp | ColumnType::Uuid | ColumnType::Json,
        ) => text_to_value(text, column_type),
        _ => None,
    }
}

/// Whether a JSON number, maybe with point and exponent, is a whole number.
fn is_whole(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
        None => (text, Some(0)),
    };
    let digits = mantissa.trim_start_matches(['-', '+']);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let significant = format!("{whole}{fraction}");
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return true;
    }
    // Places after the point that the last digit which is not zero stands at.
    let places = significant.len() as i64 - whole.len() as i64;
    exponent.is_some_and(|exponent| exponent >= places)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_becomes_what_the_contract_says() {
        let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
        for (json, column_type, expected) in [
            (json!(5), ColumnType::BigInt, Some(Value::BigInt(5))),
            (json!(5.0), ColumnType::Int, Some(Value::Int(5))),
            (json!(5.5), ColumnType::Int, None),
            (serde_json::from_str("1e-19").expect("JSON"), ColumnType::Int, None),
            (serde_json::from_str("1.5e1").expect("JSON"), ColumnType::Int, Some(Value::Int(15))),
            (serde_json::from_str("100e-2").expect("JSON"), ColumnType::Int, Some(Value::Int(1))),
            (serde_json::from_str("0.0e-30").expect("JSON"), ColumnType::Int, Some(Value::Int(0))),
            (json!(40_000), ColumnType::SmallInt, None),
            (json!("5"), ColumnType::BigInt, None),
            (json!(true), ColumnType::BigInt, None),
            (json!("NaN"), ColumnType::Float, Some(Value::Float(f32::NAN))),
            (json!("1.5"), ColumnType::Double, None),
            (json!(1.005), decimal, Some(Value::Decimal(101))),
            (json!("12.345"), decimal, Some(Value::Decimal(1235))),
            (json!(1234), decimal, None),
            (json!("x"), decimal, None),
            (json!(1), ColumnType::Text, None),
            (json!(1), ColumnType::Boolean, None),
            (json!("AQI="), ColumnType::Bytes, Some(Value::Bytes(vec![1, 2]))),
            (json!("not base64!"), ColumnType::Bytes, None),
            (json!("{\"a\":1}"), ColumnType::Json, Some(Value::Json("{\"a\":1}".to_owned()))),
            (json!("{a}"), ColumnType::Json, None),
            (json!("1970-01-02"), ColumnType::Timestamp, Some(Value::Timestamp(86_400_000_000))),
            (json!("1970-01-02"), ColumnType::Date, Some(Value::Date(1))),
            (json!("1970-01-02T23:59:59.999999Z"), ColumnType::Date, Some(Value::Date(1))),
            (json!("1970-01-02 14:30:00"), ColumnType::Date, Some(Value::Date(1))),
            (json!("1970-01-02T00:30:00+02:00"), ColumnType::Date, Some(Value::Date(0))),
            (json!("1969-12-31T12:00:00Z"), ColumnType::Date, Some(Value::Date(-1))),
            (json!("1970-01-02T25:00:00Z"), ColumnType::Date, None),
            (json!("soon"), ColumnType::Date, None),
            (json!(null), ColumnType::Uuid, Some(Value::Null)),
        ] {
            let converted = json_to_value(&json, column_type);
            // NaN differs from itself: compare what is shown.
            assert_eq!(format!("{converted:?}"), format!("{expected:?}"), "{json} as {column_type}");
        }
    }
}
