//! Functions beyond DataFusion's, and those of DataFusion's that KalamDB answers differently.
//!
//! `NOW()` and its relatives are the time the statement began, in microseconds (DataFusion's are
//! nanoseconds of the planning time); `CURRENT_USER()` is the caller. They are made anew for each statement.

mod bounded;
mod cast;
mod checked;
mod exact;
mod ids;
mod nullable;
mod ranks;
mod series;
mod statement;
mod sum;

pub(crate) use bounded::{BOUNDED, BoundedText};
pub(crate) use cast::CheckedCast;
pub(crate) use checked::CheckedArithmetic;
pub(crate) use exact::{EXACT_NUMBER, exact_number};
pub(crate) use ids::{IdFunction, SnowflakeGenerator, new_ulid, new_uuid_v7};
pub(crate) use nullable::{MAY_BE_NULL, may_be_null};
pub(crate) use ranks::SignedRanks;
pub(crate) use series::series;
pub(crate) use statement::{statement_constant, statement_function};
pub(crate) use sum::CheckedSum;
