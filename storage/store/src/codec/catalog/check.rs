//! What must hold between the parts of a stored schema: everything that decodes rows relies on it.

use std::collections::HashSet;

use kalamdb_sql::{ColumnDefault, ColumnType, MAX_DECIMAL_PRECISION, TableSchema, Value};

use crate::StoreError;
use crate::codec::corrupted;

/// Checks ids against each other, and values against their columns' types.
pub(super) fn check_schema(what: &'static str, schema: &TableSchema) -> Result<(), StoreError> {
    let mut ids = HashSet::with_capacity(schema.columns.len());
    for column in &schema.columns {
        let wrong = |reason: &str| Err(corrupted(what, format!("column {}: {reason}", column.name)));
        if !ids.insert(column.id) {
            return wrong("its id is another column's too");
        }
        if column.id >= schema.next_column_id {
            return wrong("its id is one of those to come");
        }
        if !is_possible(column.column_type) {
            return wrong("its type does not exist");
        }
        let constant = match &column.default {
            Some(ColumnDefault::Constant(value)) => value,
            Some(ColumnDefault::Function(_)) | None => &Value::Null,
        };
        if [constant, &column.initial].into_iter().any(|value| !is_of_type(value, column.column_type)) {
            return wrong("a value is not of its type");
        }
    }
    for id in &schema.primary_key {
        if !ids.contains(id) {
            return Err(corrupted(what, format!("key column {id} is not there")));
        }
    }
    Ok(())
}

fn is_possible(column_type: ColumnType) -> bool {
    match column_type {
        ColumnType::Decimal { precision, scale } => {
            (1..=MAX_DECIMAL_PRECISION).contains(&precision) && scale <= precision
        }
        _ => true,
    }
}

fn is_of_type(value: &Value, column_type: ColumnType) -> bool {
    matches!(
        (value, column_type),
        (Value::Null, _)
            | (Value::Boolean(_), ColumnType::Boolean)
            | (Value::SmallInt(_), ColumnType::SmallInt)
            | (Value::Int(_), ColumnType::Int)
            | (Value::BigInt(_), ColumnType::BigInt)
            | (Value::Float(_), ColumnType::Float)
            | (Value::Double(_), ColumnType::Double)
            | (Value::Decimal(_), ColumnType::Decimal { .. })
            | (Value::Text(_), ColumnType::Text)
            | (Value::Bytes(_), ColumnType::Bytes)
            | (Value::Date(_), ColumnType::Date)
            | (Value::Timestamp(_), ColumnType::Timestamp)
            | (Value::Uuid(_), ColumnType::Uuid)
            | (Value::Json(_), ColumnType::Json)
    )
}
