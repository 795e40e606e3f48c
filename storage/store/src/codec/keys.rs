//! Keys of rows, change-log entries and the manifest.
//!
//! A table's and a user's data are key prefixes, so the encodings here carry the isolation of users:
//! they are order-preserving (the bytes sort as Arrow and Parquet sort the values) and prefix-free
//! (no user's prefix begins another's). Keys of family `system` are in [`super::system`].

mod component;
mod manifest;
mod partition;
#[cfg(test)]
pub(super) mod tests;

pub use component::{
    decode_key, decode_key_prefix, decode_row_number, decode_user, encode_key, encode_key_value, encode_primary_key,
    encode_row_number, encode_user,
};
pub use manifest::{
    ManifestKey, ROWS_PER_CONTAINER, delete_mark_key, delete_marks_of, manifest_entries, manifest_entry_key,
    manifest_partition, manifest_table, parse_manifest_key, partition_record_key, split_partition_record_key,
};
pub use partition::{
    decode_log_key, log_key, log_partition, log_table, row_key, rows_partition, rows_table, split_row_key,
};
