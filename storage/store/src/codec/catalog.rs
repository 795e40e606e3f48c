//! Catalog records: namespaces, tables, schema versions, storages, users, jobs.
//!
//! Rarely read and short, so JSON behind a format byte. What DDL leaves behind is plain data of
//! `kalamdb-sql`; its form on disk is `definition`'s own, so that a change there cannot silently
//! change what is stored.

mod check;
mod definition;
mod record;

use kalamdb_sql::{NamespaceDefinition, TableDefinition, TableSchema};

use super::json;
use crate::StoreError;

pub use record::{JobRecord, JobStatus, JobTrigger, JobType, StorageRecord, StorageType, UserRecord};

const NAMESPACE_FORMAT: u8 = 1;
const TABLE_FORMAT: u8 = 1;
const SCHEMA_FORMAT: u8 = 1;

/// A namespace as it is stored.
#[must_use]
pub fn encode_namespace(namespace: &NamespaceDefinition) -> Vec<u8> {
    json::encode(NAMESPACE_FORMAT, &definition::NamespaceForm::from(namespace))
}

/// Reads a stored namespace.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn decode_namespace(bytes: &[u8]) -> Result<NamespaceDefinition, StoreError> {
    json::decode::<definition::NamespaceForm>("namespace", bytes, NAMESPACE_FORMAT).map(Into::into)
}

/// A table's current definition as it is stored.
#[must_use]
pub fn encode_table(table: &TableDefinition) -> Vec<u8> {
    json::encode(TABLE_FORMAT, &definition::TableForm::from(table))
}

/// Reads a stored table definition.
///
/// # Errors
/// [`StoreError::Corrupted`] when it is none.
pub fn decode_table(bytes: &[u8]) -> Result<TableDefinition, StoreError> {
    let table: TableDefinition = json::decode::<definition::TableForm>("table definition", bytes, TABLE_FORMAT)?.into();
    check::check_schema("table definition", &table.schema)?;
    Ok(table)
}

/// One version of a table's columns.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaRecord {
    /// The columns.
    pub schema: TableSchema,
    /// Microseconds since the epoch.
    pub created_at: i64,
}

impl SchemaRecord {
    /// The record as it is stored.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        json::encode(SCHEMA_FORMAT, &definition::SchemaRecordForm::from(self))
    }

    /// Reads a stored record.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] when it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let record: Self = json::decode::<definition::SchemaRecordForm>("schema version", bytes, SCHEMA_FORMAT)?.into();
        check::check_schema("schema version", &record.schema)?;
        Ok(record)
    }
}
