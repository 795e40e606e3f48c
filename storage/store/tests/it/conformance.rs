//! What every storage backend has to pass; run on each of them.

mod batches;
mod closing;
mod concurrency;
mod copies;
mod model;
mod scans;
mod snapshots;

use crate::support::{Harness, Memory, RocksDb};

macro_rules! tests {
    ($harness:ty: $($module:ident: $($test:ident)*;)*) => {$($(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            super::$module::$test(&<$harness>::new()).await;
        }
    )*)*};
}

macro_rules! conformance {
    ($backend:ident, $harness:ty) => {
        mod $backend {
            use super::*;

            tests! { $harness:
                batches: written_is_read an_empty_batch_changes_nothing writes_of_a_batch_apply_in_order
                    range_deletes_keep_to_their_range an_open_range_deletes_to_the_end families_are_apart
                    empty_keys_and_values_are_kept large_batches_are_whole get_many_answers_in_order;
                scans: both_ways_in_order limits_split_a_scan_and_rests_resume_it bytes_bound_a_chunk
                    partitions_end_at_their_prefix ranges_without_keys_are_empty long_scans_read_the_same
                    a_scan_pays_for_its_own_keys;
                model: scans_agree_with_a_sorted_map;
                snapshots: later_writes_are_not_seen each_sees_its_own_instant a_scan_goes_on_at_its_instant
                    gets_count_their_keys;
                concurrency: every_batch_of_concurrent_writers_is_there batches_are_seen_whole
                    readers_go_on_while_writers_write;
                closing: closed_is_closed_for_all closing_waits_for_what_runs closing_needs_no_snapshot_dropped;
                copies: size_is_what_the_files_take a_checkpoint_opens_as_a_database
                    a_checkpoint_replaces_nothing closed_data_is_there_again;
            }
        }
    };
}

conformance!(memory, Memory);
conformance!(rocksdb, RocksDb);
