//! A table's definition after ALTER TABLE.

use kalamdb_commons::{ColumnId, ColumnName, Error, ErrorCode, Result, SchemaVersion};
use kalamdb_sql::{MAX_COLUMNS, TableDefinition, TableSchema};

use crate::engine::ddl::Alteration;

/// The definition after a change, one version on, and what was done, in a sentence. Ids of columns are never used again,
/// so a column that is dropped and added anew is another one in every row.
///
/// # Errors
/// [`ErrorCode::ColumnNotFound`], [`ErrorCode::Conflict`] for a name that is taken, [`ErrorCode::Unsupported`] for the
/// primary key's columns and a table's last one, [`ErrorCode::InvalidOption`].
pub(crate) fn altered(before: &TableDefinition, change: &Alteration) -> Result<(TableDefinition, String)> {
    let mut table = before.clone();
    let schema = &mut table.schema;
    let done = match change {
        Alteration::AddColumn(column) => {
            check_free(schema, &column.name)?;
            if schema.columns.len() >= MAX_COLUMNS {
                let message = format!("a table has at most {MAX_COLUMNS} columns");
                return Err(Error::new(ErrorCode::InvalidSql, message));
            }
            let mut column = column.clone();
            column.id = schema.next_column_id;
            schema.next_column_id = ColumnId(column.id.0.checked_add(1).ok_or_else(used_up)?);
            let done = format!("column '{}' added to '{}'", column.name, table.name);
            schema.columns.push(column);
            done
        }
        Alteration::DropColumn(name) => {
            let place = place_of(schema, name)?;
            check_not_key(schema, place, "dropped")?;
            if schema.columns.len() == 1 {
                let message = format!("column '{name}' is the last one of '{}': drop the table", table.name);
                return Err(Error::new(ErrorCode::Unsupported, message));
            }
            schema.columns.remove(place);
            format!("column '{name}' dropped from '{}'", table.name)
        }
        Alteration::RenameColumn { from, to } => {
            let place = place_of(schema, from)?;
            check_not_key(schema, place, "renamed")?;
            check_free(schema, to)?;
            if let Some(column) = schema.columns.get_mut(place) {
                column.name = to.clone();
            }
            format!("column '{from}' of '{}' renamed to '{to}'", table.name)
        }
        Alteration::SetOptions(changes) => {
            table.options = changes.apply(table.table_type, &table.options)?;
            format!("options of '{}' set", table.name)
        }
    };
    table.schema.version = SchemaVersion(before.schema.version.0.checked_add(1).ok_or_else(used_up)?);
    Ok((table, done))
}

fn used_up() -> Error {
    Error::new(ErrorCode::ResourcesExhausted, "the table has been altered too often: its numbers are used up")
}

fn place_of(schema: &TableSchema, name: &ColumnName) -> Result<usize> {
    schema
        .position_of(name.as_str())
        .ok_or_else(|| Error::new(ErrorCode::ColumnNotFound, format!("Column '{name}' does not exist.")))
}

fn check_free(schema: &TableSchema, name: &ColumnName) -> Result<()> {
    match schema.position_of(name.as_str()) {
        None => Ok(()),
        Some(_) => Err(Error::new(ErrorCode::Conflict, format!("Column '{name}' exists already."))),
    }
}

fn check_not_key(schema: &TableSchema, place: usize, what: &str) -> Result<()> {
    let in_key = schema.columns.get(place).filter(|column| schema.primary_key.contains(&column.id));
    match in_key {
        None => Ok(()),
        Some(column) => {
            let message = format!("column '{}' is in the primary key: it cannot be {what}", column.name);
            Err(Error::new(ErrorCode::Unsupported, message))
        }
    }
}
