//! The shared vocabulary of KalamDB: identifiers, the error type and its codes, names of system
//! tables and storage families, and the settings model.
//!
//! Everything else depends on this crate; it depends on no other crate of the workspace, does no I/O
//! and knows no engine. An identifier type can only be built from text that satisfies its rules, so
//! a function that takes one need not check again.

mod error;
mod identifiers;
mod names;
mod numbers;
mod path_template;
mod role;
pub mod settings;
mod units;

pub use error::{Error, ErrorCode, Outcome, Position, Result, ResultExt};
pub use identifiers::{
    ColumnName, NamespaceId, QualifiedTableName, TableName, UserId, encode_path_component, stable_hash,
};
pub use names::{Family, SystemColumn, SystemTable};
pub use numbers::{ColumnId, SchemaVersion, Seq, TableId};
pub use path_template::{PathTemplate, PathValues};
pub use role::{Identity, Role, TableType};
pub use units::{format_duration, format_size, parse_duration, parse_size};
