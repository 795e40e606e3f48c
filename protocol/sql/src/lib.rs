//! The dialect: what can be said to KalamDB in SQL, and the definitions that DDL leaves behind.
//!
//! [`statements`] turns text into [`Statement`]s, one after the other, and never touches storage or
//! the catalog. Text is untrusted: the limits on nesting, chains, columns and tokens are counted before
//! any recursive parser sees a statement, and the work that parser may do is bounded.
//!
//! Definitions ([`TableDefinition`] and its parts) are plain data; `kalamdb-store` keeps them,
//! `kalamdb-core` acts on them. That split (definitions here, storage there) is decision 001.

mod column_names;
mod convert;
mod definition;
mod dialect;
mod limits;
mod parameters;
mod parser;
mod scan;
mod source;
mod statement;
mod types;
mod value;
mod words;

pub use column_names::leftmost_select;
pub use convert::{
    decode_base64, decode_hex, encode_base64, format_decimal, is_in_range, is_json, json_to_value, number_to_value,
    text_to_value,
};
pub use definition::{
    Access, ColumnDefault, ColumnDefinition, DefaultFunction, NamespaceDefinition, StorageOptions, TableDefinition,
    TableOptions, TableSchema, UserOptions,
};
pub use limits::MAX_COLUMNS;
pub use parser::{OptionChanges, Statements, statements};
pub use sqlparser::ast;
pub use statement::{
    ColumnSpec, CreateTable, DefaultClause, DefaultSpec, Delete, Insert, InsertSource, OnConflict, OnConflictAction,
    ParsedStatement, Statement, TableChange, TableRef, Update, is_default_keyword,
};
pub use types::{ColumnType, MAX_DECIMAL_PRECISION, column_type_of};
pub use value::{Row, Value};
