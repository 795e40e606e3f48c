//! One value as JSON.

use std::io::Write as _;

use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use datafusion::arrow::array::{Array, ArrayRef, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use kalamdb_commons::{Error, Result};
use kalamdb_sql::{ColumnType, encode_base64, format_decimal, is_json};

use super::interval;

/// A column of a batch, ready to be written value by value.
pub(super) struct CellWriter {
    array: ArrayRef,
    kind: Kind,
}

enum Kind {
    Null,
    Boolean,
    SmallInt,
    Int,
    BigInt,
    /// May exceed what a JSON number carries: text.
    Unsigned,
    Float,
    Double,
    Decimal(u8),
    Decimal256,
    Text,
    /// Text whose type says that it is JSON already.
    Json,
    Bytes,
    Date,
    Timestamp,
    Time,
    Interval,
    List(Box<Field>),
    Struct(Vec<(Vec<u8>, CellWriter)>),
    Map {
        keys: ArrayRef,
        values: Box<CellWriter>,
    },
}

impl CellWriter {
    pub(super) fn new(field: &Field, array: &ArrayRef) -> Result<Self> {
        let to = |data_type: DataType, kind: Kind| {
            let array = if *array.data_type() == data_type {
                std::sync::Arc::clone(array)
            } else {
                cast(array, &data_type).map_err(super::super::errors::from_arrow)?
            };
            Ok(Self { array, kind })
        };
        match array.data_type() {
            DataType::Null => to(DataType::Null, Kind::Null),
            DataType::Boolean => to(DataType::Boolean, Kind::Boolean),
            DataType::Int8 | DataType::Int16 => to(DataType::Int16, Kind::SmallInt),
            DataType::Int32 => to(DataType::Int32, Kind::Int),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::Int64 => {
                to(DataType::Int64, Kind::BigInt)
            }
            DataType::UInt64 => to(DataType::UInt64, Kind::Unsigned),
            DataType::Float16 | DataType::Float32 => to(DataType::Float32, Kind::Float),
            DataType::Float64 => to(DataType::Float64, Kind::Double),
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale) => match u8::try_from(*scale) {
                Ok(digits) => to(DataType::Decimal128(*precision, *scale), Kind::Decimal(digits)),
                // A negative scale is a whole number.
                Err(_) => to(DataType::Decimal256(76, 0), Kind::Decimal256),
            },
            DataType::Decimal256(..) => to(array.data_type().clone(), Kind::Decimal256),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let is_typed_json = super::column_type_of_field(field) == Some(ColumnType::Json);
                to(DataType::Utf8View, if is_typed_json { Kind::Json } else { Kind::Text })
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                to(DataType::BinaryView, Kind::Bytes)
            }
            DataType::Date32 | DataType::Date64 => to(DataType::Date32, Kind::Date),
            DataType::Timestamp(..) => to(DataType::Timestamp(TimeUnit::Microsecond, None), Kind::Timestamp),
            DataType::Time32(_) | DataType::Time64(_) => to(DataType::Time64(TimeUnit::Microsecond), Kind::Time),
            DataType::Interval(_) | DataType::Duration(_) => to(array.data_type().clone(), Kind::Interval),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                let kind = Kind::List(Box::new(item.as_ref().clone()));
                to(DataType::LargeList(std::sync::Arc::clone(item)), kind)
            }
            DataType::Struct(fields) => {
                let columns = array.as_struct();
                let members = fields
                    .iter()
                    .zip(columns.columns())
                    .map(|(field, column)| Ok((key_of(field.name()), Self::new(field, column)?)))
                    .collect::<Result<Vec<_>>>()?;
                to(array.data_type().clone(), Kind::Struct(members))
            }
            DataType::Map(entries, _) => {
                let map = array.as_map();
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a map without entries"));
                };
                let value_field = fields.get(1).ok_or_else(|| Error::internal("a map without values"))?;
                let keys = cast(map.keys(), &DataType::Utf8View).map_err(super::super::errors::from_arrow)?;
                let values = Box::new(Self::new(value_field, map.values())?);
                to(array.data_type().clone(), Kind::Map { keys, values })
            }
            DataType::Dictionary(_, values) => {
                let plain = cast(array, values).map_err(super::super::errors::from_arrow)?;
                Self::new(&Field::new(field.name(), values.as_ref().clone(), true), &plain)
            }
            DataType::RunEndEncoded(_, values) => {
                let plain = cast(array, values.data_type()).map_err(super::super::errors::from_arrow)?;
                Self::new(values, &plain)
            }
            DataType::Union(..) => to(DataType::Utf8View, Kind::Text),
        }
    }

    /// The value as text of its own, without JSON's quotes and escapes; `false` for NULL, which has none.
    pub(super) fn write_plain(&self, out: &mut Vec<u8>, row: usize) -> Result<bool> {
        if self.array.is_null(row) {
            return Ok(false);
        }
        match &self.kind {
            Kind::Null => return Ok(false),
            Kind::Text | Kind::Json => out.extend_from_slice(self.array.as_string_view().value(row).as_bytes()),
            Kind::List(_) | Kind::Struct(_) | Kind::Map { .. } => self.write(out, row)?,
            Kind::Boolean
            | Kind::SmallInt
            | Kind::Int
            | Kind::BigInt
            | Kind::Unsigned
            | Kind::Float
            | Kind::Double
            | Kind::Decimal(_)
            | Kind::Decimal256
            | Kind::Bytes
            | Kind::Date
            | Kind::Timestamp
            | Kind::Time
            | Kind::Interval => {
                // What is quoted here needs no escapes.
                self.write(out, row)?;
                out.retain(|byte| *byte != b'"');
            }
        }
        Ok(true)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, row: usize) -> Result<()> {
        let array = &self.array;
        if array.is_null(row) || matches!(self.kind, Kind::Null) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Null => {}
            Kind::Boolean => {
                out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
            }
            Kind::SmallInt => write_display(out, array.as_primitive::<Int16Type>().value(row)),
            Kind::Int => write_display(out, array.as_primitive::<Int32Type>().value(row)),
            Kind::BigInt => write_display(out, array.as_primitive::<Int64Type>().value(row)),
            Kind::Unsigned => write_quoted(out, array.as_primitive::<UInt64Type>().value(row)),
            Kind::Float => write_float(out, array.as_primitive::<Float32Type>().value(row)),
            Kind::Double => write_float(out, array.as_primitive::<Float64Type>().value(row)),
            Kind::Decimal(scale) => {
                write_quoted(out, format_decimal(array.as_primitive::<Decimal128Type>().value(row), *scale));
            }
            Kind::Decimal256 => {
                let numbers: &PrimitiveArray<Decimal256Type> = array.as_primitive();
                write_quoted(out, numbers.value_as_string(row));
            }
            Kind::Text => write_text(out, array.as_string_view().value(row)),
            Kind::Json => {
                // An expression may give its type to text that nobody has looked at, and one such text would spoil the answer.
                let text = array.as_string_view().value(row);
                if is_json(text) {
                    out.extend_from_slice(text.as_bytes());
                } else {
                    write_text(out, text);
                }
            }
            Kind::Bytes => write_quoted(out, encode_base64(array.as_binary_view().value(row))),
            Kind::Date => write_quoted(out, date(array.as_primitive::<Date32Type>().value(row))?),
            Kind::Timestamp => {
                write_quoted(out, timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row))?);
            }
            Kind::Time => {
                let micros = array.as_primitive::<Time64MicrosecondType>().value(row);
                write_quoted(out, interval::time_of_day(micros));
            }
            Kind::Interval => write_quoted(out, interval::iso8601(array, row)?),
            Kind::List(item) => {
                let values = array.as_list::<i64>().value(row);
                let items = Self::new(item, &values)?;
                out.push(b'[');
                for at in 0..values.len() {
                    if at > 0 {
                        out.push(b',');
                    }
                    items.write(out, at)?;
                }
                out.push(b']');
            }
            Kind::Struct(members) => {
                out.push(b'{');
                for (at, (key, member)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(key);
                    member.write(out, row)?;
                }
                out.push(b'}');
            }
            Kind::Map { keys, values } => {
                let offsets = array.as_map().value_offsets();
                let place = |at: usize| offsets.get(at).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
                out.push(b'{');
                for (count, at) in (place(row)..place(row + 1)).enumerate() {
                    if count > 0 {
                        out.push(b',');
                    }
                    write_text(out, keys.as_string_view().value(at));
                    out.push(b':');
                    values.write(out, at)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

/// A member's name as JSON, with the colon.
fn key_of(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_text(&mut key, name);
    key.push(b':');
    key
}

/// A JSON string.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, text).is_err() {
        // A Vec takes every write.
        out.truncate(start);
        out.extend_from_slice(b"null");
    }
}

fn write_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    // A Vec takes every write.
    let _ = write!(out, "{value}");
}

/// Text that needs no escaping.
fn write_quoted(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "\"{value}\"");
}

fn write_float<T: Copy + Into<f64> + serde::Serialize>(out: &mut Vec<u8>, number: T) {
    let wide: f64 = number.into();
    let named = if wide.is_nan() {
        "\"NaN\""
    } else if wide == f64::INFINITY {
        "\"Infinity\""
    } else if wide == f64::NEG_INFINITY {
        "\"-Infinity\""
    } else {
        // The shortest digits that read back as the same number, of its own width.
        let _ = serde_json::to_writer(&mut *out, &number);
        return;
    };
    out.extend_from_slice(named.as_bytes());
}

/// A moment as results show it.
pub(crate) fn timestamp(micros: i64) -> Result<String> {
    let time = DateTime::from_timestamp_micros(micros).filter(|time| (1..=9999).contains(&time.year()));
    let time = time.ok_or_else(|| out_of_range("TIMESTAMP"))?;
    Ok(time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

fn date(days: i32) -> Result<String> {
    let date = NaiveDate::from_epoch_days(days).filter(|date| (1..=9999).contains(&date.year()));
    Ok(date.ok_or_else(|| out_of_range("DATE"))?.to_string())
}

fn out_of_range(what: &str) -> Error {
    Error::new(
        kalamdb_commons::ErrorCode::EvaluationError,
        format!("a {what} of the result lies outside the years 0001 to 9999"),
    )
}

#[cfg(test)]
#[path = "cell_tests.rs"]
mod tests;
