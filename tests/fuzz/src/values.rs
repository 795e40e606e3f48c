//! Types, values, schemas and ids from a fuzzer's bytes.

use kalamdb_commons::{ColumnId, ColumnName, SchemaVersion, Seq, UserId};
use kalamdb_sql::{ColumnDefinition, ColumnType, MAX_DECIMAL_PRECISION, TableSchema, Value};
use kalamdb_store::codec::row::RowHeader;
use libfuzzer_sys::arbitrary::{Result, Unstructured};

/// Any column type.
pub fn column_type(input: &mut Unstructured<'_>) -> Result<ColumnType> {
    Ok(match input.int_in_range(0..=12)? {
        0 => ColumnType::Boolean,
        1 => ColumnType::SmallInt,
        2 => ColumnType::Int,
        3 => ColumnType::BigInt,
        4 => ColumnType::Float,
        5 => ColumnType::Double,
        6 => {
            let precision = input.int_in_range(1..=MAX_DECIMAL_PRECISION)?;
            ColumnType::Decimal { precision, scale: input.int_in_range(0..=precision)? }
        }
        7 => ColumnType::Text,
        8 => ColumnType::Bytes,
        9 => ColumnType::Date,
        10 => ColumnType::Timestamp,
        11 => ColumnType::Uuid,
        _ => ColumnType::Json,
    })
}

/// A value of that type, never NULL.
pub fn value(input: &mut Unstructured<'_>, column_type: ColumnType) -> Result<Value> {
    Ok(match column_type {
        ColumnType::Boolean => Value::Boolean(input.arbitrary()?),
        ColumnType::SmallInt => Value::SmallInt(input.arbitrary()?),
        ColumnType::Int => Value::Int(input.arbitrary()?),
        ColumnType::BigInt => Value::BigInt(input.arbitrary()?),
        ColumnType::Float => Value::Float(f32::from_bits(input.arbitrary()?)),
        ColumnType::Double => Value::Double(f64::from_bits(input.arbitrary()?)),
        ColumnType::Decimal { precision, .. } => {
            let limit = 10_i128.pow(precision.into());
            Value::Decimal(input.arbitrary::<i128>()? % limit)
        }
        ColumnType::Text => Value::Text(input.arbitrary()?),
        ColumnType::Bytes => Value::Bytes(input.arbitrary()?),
        ColumnType::Date => Value::Date(input.arbitrary()?),
        ColumnType::Timestamp => Value::Timestamp(input.arbitrary()?),
        ColumnType::Uuid => Value::Uuid(input.arbitrary()?),
        ColumnType::Json => Value::Json(serde_json::Value::from(input.arbitrary::<String>()?).to_string()),
    })
}

/// A schema of up to `most` columns, without a key.
pub fn schema(input: &mut Unstructured<'_>, most: u32) -> Result<TableSchema> {
    let count = input.int_in_range(1..=most)?;
    let mut columns = Vec::new();
    for id in 1..=count {
        columns.push(ColumnDefinition {
            id: ColumnId(id),
            name: ColumnName::new(format!("c{id}")).expect("a good name"),
            column_type: column_type(input)?,
            nullable: true,
            default: None,
            default_text: None,
            initial: Value::Null,
        });
    }
    let version = SchemaVersion(input.int_in_range(1..=1000)?);
    Ok(TableSchema { version, columns, primary_key: Vec::new(), next_column_id: ColumnId(count + 1) })
}

/// A row of a schema, NULLs among its values.
pub fn row(input: &mut Unstructured<'_>, schema: &TableSchema) -> Result<Vec<Value>> {
    let mut row = Vec::new();
    for column in &schema.columns {
        row.push(if input.ratio(1, 4)? { Value::Null } else { value(input, column.column_type)? });
    }
    Ok(row)
}

/// The header of a row of that schema version.
pub fn header(input: &mut Unstructured<'_>, schema: &TableSchema) -> Result<RowHeader> {
    Ok(RowHeader {
        schema_version: schema.version,
        seq: Seq(input.int_in_range(0..=Seq::LIMIT - 1)?),
        updated: input.arbitrary()?,
        deleted: input.arbitrary()?,
    })
}

/// A user id, where the bytes make one.
pub fn user(input: &mut Unstructured<'_>) -> Result<Option<UserId>> {
    let text: String = input.arbitrary()?;
    Ok(UserId::new(text).ok())
}
