//! Tests of keys: their order, and that no user's keys lie among another's.

mod damage;
pub(in crate::codec) mod golden;
mod order;
mod partitions;
