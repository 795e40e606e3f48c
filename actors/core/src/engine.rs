//! What happens inside a statement: planning, reading, writing, results.

mod analyzer;
pub(crate) mod context;
pub(crate) mod ddl;
mod dml;
mod errors;
mod execute;
mod flush;
mod functions;
mod interrupt;
mod literals;
mod params;
mod parsed;
mod planning;
mod plans;
mod predicate;
mod query;
mod result;
mod rewrite;
mod rows;
mod runtime;
mod scan;
mod scope;
mod sessions;
mod show;
pub(crate) mod storages;
mod store;
mod stream;
pub(crate) mod template;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use analyzer::analyzer_rules;
pub(crate) use errors::from_datafusion;
pub(crate) use execute::run_request;
pub(crate) use params::Params;
pub(crate) use query::{plan, run};
pub(crate) use result::{RowJson, columns_of, timestamp};
pub(crate) use rewrite::{KEY_COLUMN, expose_system_columns, name_outputs};
pub(crate) use rows::result_of;
pub(crate) use runtime::{Runtime, now_micros};
pub(crate) use scan::{RowDecoder, ScanColumn, Tombstones};
pub(crate) use scope::{Caller, Limits, Scope};
pub(crate) use sessions::{SessionCache, SessionRow};
pub(crate) use show::{StoredTable, is_virtual, job_row};
pub(crate) use store::Store;
pub(crate) use values::array_to_values;
