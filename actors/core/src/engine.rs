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
mod predicate;
mod query;
mod result;
mod rewrite;
mod rows;
mod runtime;
mod scan;
mod scope;
mod show;
pub(crate) mod storages;
mod store;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use execute::run_request;
pub(crate) use result::timestamp;
pub(crate) use rows::result_of;
pub(crate) use runtime::{Runtime, now_micros};
pub(crate) use scan::{RowDecoder, ScanColumn, Tombstones};
pub(crate) use scope::Limits;
pub(crate) use show::{StoredTable, job_row};
pub(crate) use store::Store;
pub(crate) use values::array_to_values;
