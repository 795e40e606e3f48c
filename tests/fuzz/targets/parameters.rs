//! Parameters and literals: JSON and text as values of a column's type, against rules written down again.

#![no_main]

use chrono::{DateTime, Datelike};
use kalamdb_fuzz::{column_type, same};
use kalamdb_sql::{
    ColumnType, Value, decode_base64, encode_base64, format_decimal, json_to_value, number_to_value, text_to_value,
};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value as Json;
use serde_json::value::RawValue;

fuzz_target!(|bytes: &[u8]| -> Corpus { run(bytes).unwrap_or(Corpus::Reject) });

fn run(bytes: &[u8]) -> Result<Corpus> {
    let mut input = Unstructured::new(bytes);
    let expected = column_type(&mut input)?;
    let Ok(text) = std::str::from_utf8(input.take_rest()) else { return Ok(Corpus::Reject) };
    check_literal(text, expected);
    check_parameter(&Json::from(text), expected);
    if let Ok(json) = serde_json::from_str::<Json>(text) {
        check_parameter(&json, expected);
    }
    Ok(Corpus::Keep)
}

fn check_literal(text: &str, expected: ColumnType) {
    for value in [text_to_value(text, expected), number_to_value(text, expected)].into_iter().flatten() {
        assert!(!value.is_null());
        assert_fits(&value, expected);
    }
}

fn check_parameter(json: &Json, expected: ColumnType) {
    let value = json_to_value(json, expected);
    if let Some(value) = &value {
        assert_eq!(value.is_null(), json.is_null(), "{json}");
        assert_fits(value, expected);
        // As an answer shows it, it comes back the same.
        let again = json_to_value(&shown(value, expected), expected);
        let again = again.unwrap_or_else(|| panic!("{} is not taken back", shown(value, expected)));
        assert!(same(&[again], std::slice::from_ref(value)), "{json} as {expected}");
    }
    if let Some(taken) = must_take(json, expected) {
        assert_eq!(value.is_some(), taken, "{json} as {expected}");
    }
}

/// Where the contract leaves no doubt, whether a parameter fits.
fn must_take(json: &Json, expected: ColumnType) -> Option<bool> {
    let whole = matches!(expected, ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt);
    Some(match (json, expected) {
        (Json::Null, _) => true,
        (Json::Array(_) | Json::Object(_), _) => false,
        (Json::Bool(_), _) => expected == ColumnType::Boolean,
        (Json::String(_), ColumnType::Text) => true,
        (Json::String(text), ColumnType::Bytes) => decode_base64(text).is_some(),
        (Json::String(text), ColumnType::Float | ColumnType::Double) => {
            ["NaN", "Infinity", "-Infinity"].contains(&text.as_str())
        }
        (Json::String(text), ColumnType::Json) => is_json(text),
        (Json::String(_), ColumnType::Boolean) => false,
        (Json::String(_), _) => return whole.then_some(false),
        (Json::Number(number), _) if whole => {
            let text = number.to_string();
            // Plain digits leave no doubt; exponents and fractions are told apart by value below.
            let integer: i128 = match text.parse() {
                Ok(integer) => integer,
                Err(_) if !text.contains(['.', 'e', 'E']) => return Some(false),
                Err(_) => return None,
            };
            match expected {
                ColumnType::SmallInt => i16::try_from(integer).is_ok(),
                ColumnType::Int => i32::try_from(integer).is_ok(),
                _ => i64::try_from(integer).is_ok(),
            }
        }
        (Json::Number(number), ColumnType::Double) => {
            number.to_string().parse::<f64>().is_ok_and(|number| number.is_finite())
        }
        (Json::Number(number), ColumnType::Float) => {
            number.to_string().parse::<f32>().is_ok_and(|number| number.is_finite())
        }
        (Json::Number(_), ColumnType::Decimal { .. }) => return None,
        (Json::Number(_), _) => false,
    })
}

/// By its grammar alone, however deep it is.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The type's own bounds.
fn assert_fits(value: &Value, expected: ColumnType) {
    let fits = match (value, expected) {
        (Value::Null, _)
        | (Value::Boolean(_), ColumnType::Boolean)
        | (Value::SmallInt(_), ColumnType::SmallInt)
        | (Value::Int(_), ColumnType::Int)
        | (Value::BigInt(_), ColumnType::BigInt)
        | (Value::Text(_), ColumnType::Text)
        | (Value::Bytes(_), ColumnType::Bytes)
        | (Value::Uuid(_), ColumnType::Uuid) => true,
        (Value::Float(_), ColumnType::Float) | (Value::Double(_), ColumnType::Double) => {
            same(&[value.clone().normalized()], std::slice::from_ref(value))
        }
        (Value::Decimal(number), ColumnType::Decimal { precision, .. }) => {
            number.unsigned_abs() < 10_u128.pow(precision.into())
        }
        (Value::Date(days), ColumnType::Date) => in_years(i64::from(*days) * 86_400_000_000),
        (Value::Timestamp(micros), ColumnType::Timestamp) => in_years(*micros),
        (Value::Json(text), ColumnType::Json) => is_json(text),
        _ => false,
    };
    assert!(fits, "{value:?} as {expected}");
}

fn in_years(micros: i64) -> bool {
    DateTime::from_timestamp_micros(micros).is_some_and(|time| (1..=9999).contains(&time.year()))
}

/// A value as the interface answers it.
fn shown(value: &Value, column_type: ColumnType) -> Json {
    let time = |micros: i64, format: &str| {
        Json::from(DateTime::from_timestamp_micros(micros).expect("in range").format(format).to_string())
    };
    let float = |number: f64, digits: String| match number {
        _ if number.is_nan() => Json::from("NaN"),
        f64::INFINITY => Json::from("Infinity"),
        f64::NEG_INFINITY => Json::from("-Infinity"),
        _ => serde_json::from_str(&digits).expect("a number"),
    };
    match (value, column_type) {
        (Value::Null, _) => Json::Null,
        (Value::Boolean(truth), _) => Json::from(*truth),
        (Value::SmallInt(number), _) => Json::from(*number),
        (Value::Int(number), _) => Json::from(*number),
        (Value::BigInt(number), _) => Json::from(*number),
        (Value::Float(number), _) => float((*number).into(), format!("{number:e}")),
        (Value::Double(number), _) => float(*number, format!("{number:e}")),
        (Value::Decimal(number), ColumnType::Decimal { scale, .. }) => Json::from(format_decimal(*number, scale)),
        (Value::Text(text) | Value::Json(text), _) => Json::from(text.as_str()),
        (Value::Bytes(bytes), _) => Json::from(encode_base64(bytes)),
        (Value::Date(days), _) => time(i64::from(*days) * 86_400_000_000, "%Y-%m-%d"),
        (Value::Timestamp(micros), _) => time(*micros, "%Y-%m-%dT%H:%M:%S%.6fZ"),
        (Value::Uuid(bytes), _) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            Json::from(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
        }
        (Value::Decimal(_), _) => panic!("a decimal as {column_type}"),
    }
}
