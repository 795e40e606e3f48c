//! Text and numbers as a statement writes them, read as values of a type.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::numbers::{parse_day, parse_decimal, parse_timestamp};
use crate::{ColumnType, Value};

/// Reads text as a value of a type, as a literal in quotes is read. None if it is none.
#[must_use]
pub fn text_to_value(text: &str, column_type: ColumnType) -> Option<Value> {
    let trimmed = text.trim();
    Some(match column_type {
        ColumnType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "on" | "1" => Value::Boolean(true),
            "false" | "f" | "no" | "off" | "0" => Value::Boolean(false),
            _ => return None,
        },
        ColumnType::SmallInt => Value::SmallInt(trimmed.parse().ok()?),
        ColumnType::Int => Value::Int(trimmed.parse().ok()?),
        ColumnType::BigInt => Value::BigInt(trimmed.parse().ok()?),
        ColumnType::Float => Value::Float(parse_float(trimmed)?).normalized(),
        ColumnType::Double => Value::Double(parse_float(trimmed)?).normalized(),
        ColumnType::Decimal { precision, scale } => Value::Decimal(parse_decimal(trimmed, precision, scale)?),
        ColumnType::Text => Value::Text(text.to_owned()),
        ColumnType::Bytes => Value::Bytes(match text.strip_prefix("\\x") {
            Some(hex) => decode_hex(hex)?,
            None => text.as_bytes().to_vec(),
        }),
        ColumnType::Date => Value::Date(parse_day(trimmed)?),
        ColumnType::Timestamp => Value::Timestamp(parse_timestamp(trimmed)?),
        ColumnType::Uuid => Value::Uuid(uuid::Uuid::parse_str(trimmed).ok()?.into_bytes()),
        ColumnType::Json => Value::Json(valid_json(text)?),
    })
}

/// Reads a number as written. None if the type takes no numbers, or not this one.
#[must_use]
pub fn number_to_value(text: &str, column_type: ColumnType) -> Option<Value> {
    match column_type {
        ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
            // 38 digits hold every integer; a fraction is rounded as PostgreSQL does on assignment.
            let whole = parse_decimal(text, 38, 0)?;
            Some(match column_type {
                ColumnType::SmallInt => Value::SmallInt(whole.try_into().ok()?),
                ColumnType::Int => Value::Int(whole.try_into().ok()?),
                _ => Value::BigInt(whole.try_into().ok()?),
            })
        }
        ColumnType::Float | ColumnType::Double | ColumnType::Decimal { .. } => text_to_value(text, column_type),
        _ => None,
    }
}

/// `Infinity` and `NaN` are numbers here, an overflow is not.
fn parse_float<T: std::str::FromStr + Into<f64> + Copy>(text: &str) -> Option<T> {
    let number: T = text.parse().ok()?;
    let named = text.trim_start_matches(['-', '+']).starts_with(['i', 'I', 'n', 'N']);
    (named || number.into().is_finite()).then_some(number)
}

fn valid_json(text: &str) -> Option<String> {
    is_json(text).then(|| text.to_owned())
}

/// Whether text is a value of type JSON.
#[must_use]
pub fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Base64 as JSON carries BYTES.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

/// Base64 as JSON carries BYTES.
#[must_use]
pub fn encode_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Pairs of hexadecimal digits.
#[must_use]
pub fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
