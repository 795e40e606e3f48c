//! Functions beyond DataFusion's, and those of DataFusion's that KalamDB answers differently.
//!
//! `NOW()` and its relatives are the time the statement began, in microseconds (DataFusion's are
//! nanoseconds of the planning time); `CURRENT_USER()` is the caller. They are made anew for each statement.

mod checked;
mod ids;
mod statement;

pub(crate) use checked::CheckedArithmetic;
pub(crate) use ids::{IdFunction, SnowflakeGenerator, new_ulid, new_uuid_v7};
pub(crate) use statement::statement_function;
