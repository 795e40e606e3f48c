//! Tests of rows: what is written is read, by any later schema version, column by column.

mod damage;
pub(in crate::codec) mod golden;
mod project;
mod whole;
