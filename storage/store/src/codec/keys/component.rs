//! Values as parts of keys.
//!
//! There is no presence byte before a component: key columns are NOT NULL (CONTRACT 4.3), and a byte
//! per component and row would buy nothing. Should a later index need NULLs, it gets a key encoding of
//! its own; its keys would live in a family of their own.

use kalamdb_commons::UserId;
use kalamdb_sql::{ColumnType, Row, TableSchema, Value};

use crate::StoreError;
use crate::codec::bytes::Reader;
use crate::codec::corrupted;

const WHAT: &str = "key";
/// What follows a NUL that belongs to the text.
const ESCAPED: u8 = 0xff;
/// What follows a NUL that ends the text; below [`ESCAPED`], so that a text sorts before its
/// continuations.
const TERMINATED: u8 = 0x01;
/// The one NaN of keys, as bits.
const NAN_32: u32 = 0x7fc0_0000;
const NAN_64: u64 = 0x7ff8_0000_0000_0000;
const SIGN_32: u32 = 1 << 31;
const SIGN_64: u64 = 1 << 63;
const SIGN_128: u128 = 1 << 127;

/// Appends a value as a key component: components one after the other sort as tuples of values do.
///
/// Floats are normalised on the way (`-0.0` is `0.0`, one NaN, last); JSON sorts as its text.
///
/// # Panics
/// On NULL: rows are checked before they get here, and a key that is not unique would lose data.
pub fn encode_key_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => panic!("NULL in a key"),
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::SmallInt(number) => out.extend_from_slice(&(number ^ i16::MIN).to_be_bytes()),
        Value::Int(number) | Value::Date(number) => out.extend_from_slice(&(number ^ i32::MIN).to_be_bytes()),
        Value::BigInt(number) | Value::Timestamp(number) => {
            out.extend_from_slice(&(number ^ i64::MIN).to_be_bytes());
        }
        Value::Float(number) => out.extend_from_slice(&sortable_f32(*number).to_be_bytes()),
        Value::Double(number) => out.extend_from_slice(&sortable_f64(*number).to_be_bytes()),
        Value::Decimal(number) => out.extend_from_slice(&(number ^ i128::MIN).to_be_bytes()),
        Value::Text(text) | Value::Json(text) => encode_escaped(out, text.as_bytes()),
        Value::Bytes(bytes) => encode_escaped(out, bytes),
        Value::Uuid(bytes) => out.extend_from_slice(bytes),
    }
}

/// The values of a key, or the first ones of it: then every key that begins so lies in the range of
/// that prefix.
///
/// # Panics
/// As [`encode_key_value`].
#[must_use]
pub fn encode_key(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * 9);
    for value in values {
        encode_key_value(&mut out, value);
    }
    out
}

/// The primary key of a row; empty for a table without one.
///
/// # Errors
/// [`StoreError::Corrupted`] when the row is shorter than its schema or a key column is NULL.
pub fn encode_primary_key(schema: &TableSchema, row: &Row) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::with_capacity(schema.primary_key.len() * 9);
    for id in &schema.primary_key {
        match schema.position_of_id(*id).and_then(|position| row.get(position)) {
            None => return Err(corrupted(WHAT, format!("the row lacks key column {id}"))),
            Some(Value::Null) => return Err(corrupted(WHAT, format!("key column {id} is NULL"))),
            Some(value) => encode_key_value(&mut out, value),
        }
    }
    Ok(out)
}

/// Reads a whole key back.
///
/// # Errors
/// [`StoreError::Corrupted`] when `bytes` is not a key of these types, and nothing but it.
pub fn decode_key(bytes: &[u8], types: &[ColumnType]) -> Result<Vec<Value>, StoreError> {
    let (values, rest) = decode_key_prefix(bytes, types)?;
    if rest.is_empty() { Ok(values) } else { Err(corrupted(WHAT, format!("{} bytes too many", rest.len()))) }
}

/// Reads components from the front; also returns what follows them.
///
/// # Errors
/// [`StoreError::Corrupted`] when `bytes` does not begin with components of these types.
pub fn decode_key_prefix<'a>(bytes: &'a [u8], types: &[ColumnType]) -> Result<(Vec<Value>, &'a [u8]), StoreError> {
    let mut values = Vec::with_capacity(types.len());
    let mut rest = bytes;
    for column_type in types {
        let (value, after) = decode_key_value(rest, *column_type)?;
        values.push(value);
        rest = after;
    }
    Ok((values, rest))
}

fn decode_key_value(bytes: &[u8], column_type: ColumnType) -> Result<(Value, &[u8]), StoreError> {
    let mut reader = Reader::new(WHAT, bytes);
    let value = match column_type {
        ColumnType::Boolean => match reader.u8()? {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            other => return Err(corrupted(WHAT, format!("boolean {other}"))),
        },
        ColumnType::SmallInt => Value::SmallInt(i16::from_be_bytes(reader.array()?) ^ i16::MIN),
        ColumnType::Int => Value::Int(i32::from_be_bytes(reader.array()?) ^ i32::MIN),
        ColumnType::Date => Value::Date(i32::from_be_bytes(reader.array()?) ^ i32::MIN),
        ColumnType::BigInt => Value::BigInt(i64::from_be_bytes(reader.array()?) ^ i64::MIN),
        ColumnType::Timestamp => Value::Timestamp(i64::from_be_bytes(reader.array()?) ^ i64::MIN),
        ColumnType::Float => Value::Float(float_of(u32::from_be_bytes(reader.array()?))?),
        ColumnType::Double => Value::Double(double_of(u64::from_be_bytes(reader.array()?))?),
        ColumnType::Decimal { .. } => Value::Decimal((u128::from_be_bytes(reader.array()?) ^ SIGN_128).cast_signed()),
        ColumnType::Uuid => Value::Uuid(reader.array()?),
        ColumnType::Bytes => {
            let (content, rest) = decode_escaped(WHAT, bytes)?;
            return Ok((Value::Bytes(content), rest));
        }
        ColumnType::Text | ColumnType::Json => {
            let (content, rest) = decode_escaped(WHAT, bytes)?;
            let text = String::from_utf8(content).map_err(|error| corrupted(WHAT, error.to_string()))?;
            let is_json = column_type == ColumnType::Json;
            return Ok((if is_json { Value::Json(text) } else { Value::Text(text) }, rest));
        }
    };
    let consumed = bytes.len() - reader.remaining();
    Ok((value, bytes.get(consumed..).unwrap_or_default()))
}

/// The key of a row in a table without primary key.
#[must_use]
pub fn encode_row_number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// Reads a row number back.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is not 8 bytes.
pub fn decode_row_number(bytes: &[u8]) -> Result<u64, StoreError> {
    let number = bytes.try_into().map_err(|_| corrupted("row number", format!("{} bytes", bytes.len())))?;
    Ok(u64::from_be_bytes(number))
}

/// Appends a user id, escaped and terminated: no user's form begins another's (`ann`, `anna`).
pub fn encode_user(out: &mut Vec<u8>, user: &UserId) {
    encode_escaped(out, user.as_str().as_bytes());
}

/// Reads a user id; also returns what follows it.
///
/// # Errors
/// [`StoreError::Corrupted`] when there is none.
pub fn decode_user(bytes: &[u8]) -> Result<(UserId, &[u8]), StoreError> {
    const WHAT_USER: &str = "user id in a key";
    let (content, rest) = decode_escaped(WHAT_USER, bytes)?;
    let text = String::from_utf8(content).map_err(|error| corrupted(WHAT_USER, error.to_string()))?;
    let user = UserId::new(text).map_err(|error| corrupted(WHAT_USER, error.message))?;
    Ok((user, rest))
}

fn encode_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0);
    out.extend_from_slice(parts.next().unwrap_or_default());
    for part in parts {
        out.extend_from_slice(&[0, ESCAPED]);
        out.extend_from_slice(part);
    }
    out.extend_from_slice(&[0, TERMINATED]);
}

fn decode_escaped<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(Vec<u8>, &'a [u8]), StoreError> {
    let mut content = Vec::new();
    let mut rest = bytes;
    loop {
        let nul = rest.iter().position(|byte| *byte == 0).ok_or_else(|| corrupted(what, "text without its end"))?;
        let (part, after) = rest.split_at(nul);
        content.extend_from_slice(part);
        match after {
            [_, TERMINATED, end @ ..] => return Ok((content, end)),
            [_, ESCAPED, more @ ..] => {
                content.push(0);
                rest = more;
            }
            [_, other, ..] => return Err(corrupted(what, format!("byte {other:#04x} after a NUL"))),
            _ => return Err(corrupted(what, "text without its end")),
        }
    }
}

/// Bits that sort as unsigned numbers the way IEEE 754's total order does.
fn sortable_f32(number: f32) -> u32 {
    let bits = match number {
        _ if number == 0.0 => 0,
        _ if number.is_nan() => NAN_32,
        _ => number.to_bits(),
    };
    if bits & SIGN_32 == 0 { bits | SIGN_32 } else { !bits }
}

fn sortable_f64(number: f64) -> u64 {
    let bits = match number {
        _ if number == 0.0 => 0,
        _ if number.is_nan() => NAN_64,
        _ => number.to_bits(),
    };
    if bits & SIGN_64 == 0 { bits | SIGN_64 } else { !bits }
}

fn float_of(sortable: u32) -> Result<f32, StoreError> {
    let bits = if sortable & SIGN_32 == 0 { !sortable } else { sortable ^ SIGN_32 };
    let number = f32::from_bits(bits);
    // Only what an encoder wrote: two keys that read as one value would be two rows of one key.
    if sortable_f32(number) == sortable {
        Ok(number)
    } else {
        Err(corrupted(WHAT, format!("float {bits:#x} is not normalised")))
    }
}

fn double_of(sortable: u64) -> Result<f64, StoreError> {
    let bits = if sortable & SIGN_64 == 0 { !sortable } else { sortable ^ SIGN_64 };
    let number = f64::from_bits(bits);
    if sortable_f64(number) == sortable {
        Ok(number)
    } else {
        Err(corrupted(WHAT, format!("double {bits:#x} is not normalised")))
    }
}
