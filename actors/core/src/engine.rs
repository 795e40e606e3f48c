//! What happens inside a statement: planning, reading, writing, results.

mod analyzer;
pub(crate) mod context;
pub(crate) mod ddl;
mod dml;
mod errors;
mod execute;
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
mod store;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use execute::run_request;
pub(crate) use runtime::{Runtime, now_micros};
pub(crate) use scope::Limits;
pub(crate) use store::Store;
