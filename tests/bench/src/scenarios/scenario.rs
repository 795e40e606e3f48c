//! What a scenario is, and those that exist.

use std::fmt::Debug;
use std::num::NonZeroUsize;

use futures::future::LocalBoxFuture;

use crate::failure::Failure;

use super::args::ScenariosArgs;
use super::ground::{Ground, Prepared};
use super::{
    aggregate, alter_table, concurrent_selects, create_table, crud, delete, delete_range, drop_table,
    flushed_aggregate, flushed_lookup, insert, insert_batch, insert_large, insert_wide, join, mixed, order_limit,
    point_lookup, select_all, select_count, select_filter, update, wide_results,
};

/// The floor, which is measured before any scenario.
pub(crate) const HEALTH_NAME: &str = "health";
/// Its kind.
pub(crate) const HEALTH_KIND: &str = "floor";
/// How often it is asked of its own accord.
pub(crate) const HEALTH_TIMES: u64 = 20_000;

/// What is measured. The same number of an operation is the same work in every run.
pub(crate) trait Scenario: Debug + Send + Sync {
    /// Its name on the command line and in reports.
    fn name(&self) -> &'static str;

    /// What it does, in a line.
    fn about(&self) -> &'static str;

    /// `ddl`, `write`, `read` or `mixed`.
    fn kind(&self) -> &'static str;

    /// How many operations each of its lines has of its own accord.
    fn times(&self) -> u64;

    /// Numbers of requests under way, a line for each.
    fn in_flight(&self, args: &ScenariosArgs) -> Vec<NonZeroUsize> {
        args.in_flight.clone()
    }

    /// Makes what its operation needs, unmeasured.
    fn prepare<'a>(&'a self, ground: &'a mut Ground<'_>) -> Preparing<'a>;
}

/// See [`Scenario::prepare`]; fails with what the server says.
pub(crate) type Preparing<'a> = LocalBoxFuture<'a, Result<Prepared, Failure>>;

/// All of them, in the order in which they run.
pub(crate) const ALL: &[&dyn Scenario] = &[
    &create_table::CreateTable,
    &alter_table::AlterTable,
    &drop_table::DropTable,
    &insert::InsertOne,
    &insert_batch::InsertBatch,
    &insert_large::InsertLarge,
    &insert_wide::InsertWide,
    &select_all::SelectAll,
    &select_filter::SelectFilter,
    &select_count::SelectCount,
    &order_limit::OrderLimit,
    &point_lookup::PointLookup,
    &aggregate::Aggregate,
    &join::Join,
    &update::Update,
    &delete::Delete,
    &delete_range::DeleteRange,
    &crud::Crud,
    &concurrent_selects::ConcurrentSelects,
    &mixed::MixedLoad,
    &wide_results::WideResults,
    &flushed_lookup::FlushedLookup,
    &flushed_aggregate::FlushedAggregate,
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_a_namespace() {
        let names: HashSet<&str> = ALL.iter().map(|scenario| scenario.name()).chain([HEALTH_NAME]).collect();
        assert_eq!(names.len(), ALL.len() + 1);
        for scenario in ALL {
            let fits = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
            // A namespace has up to 63 characters, of which time and process take 22, and the prefix what it needs.
            assert!(scenario.name().len() <= 18 && scenario.name().chars().all(fits), "{}", scenario.name());
            assert!(["ddl", "write", "read", "mixed"].contains(&scenario.kind()), "{}", scenario.name());
            assert!(scenario.times() > 0);
        }
    }
}
