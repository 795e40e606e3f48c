//! Segments: the immutable Parquet files that flushes write, where they lie, and how they are read.
//!
//! - *Where*: [`PathTemplate`] and [`ShardingStrategy`] give a partition its directory, [`SegmentPath`] is a file below a
//!   storage's location, [`SegmentStorage`] the location itself: [`LocalStorage`] or
//!   [`ObjectStorage`], made by [`open_storage`].
//! - *What*: [`SegmentSchema`] says which columns a file has, under which ids; [`SegmentWriter`] encodes one.
//! - *Reading*: [`SegmentCache::open`] gives a checked [`Segment`]: to scan ([`Segment::scan`]), to look keys up
//!   ([`Segment::find`], [`Segment::fetch`]), or to hand to other Parquet readers ([`Segment::source`]).
//!
//! The manifest, delete marks and file lists are `kalamdb-store`'s; flushing, merging with hot rows and deciding what
//! to delete is `kalamdb-core`'s. The bytes are in `docs/architecture/formats.md`.

mod bloom;
mod cache;
mod checksum;
mod error;
mod filter;
mod guard;
mod key;
mod lookup;
mod marks;
mod metadata;
mod path;
mod projection;
mod schema;
mod segment;
mod shard;
pub mod shared;
mod source;
mod statistics;
mod storage;
#[cfg(test)]
mod testing;
mod writer;
mod zones;

pub use cache::{OpenSegment, SegmentCache};
pub use error::{Result, SegmentError};
pub use filter::{DeletedRows, Pruning, RowCondition, SegmentFilter};
pub use kalamdb_commons::{PathTemplate, PathValues};
pub use key::KeyLayout;
pub use lookup::{Lookup, LookupWork};
pub use marks::RowGroupSelection;
pub use metadata::PartitionName;
pub use path::SegmentPath;
pub use projection::{KeyedProjection, SegmentColumn, SegmentProjection};
pub use schema::{
    DELETED_FIELD_ID, FIRST_RESERVED_FIELD_ID, ROW_NUMBER_FIELD_ID, SEQ_FIELD_ID, SegmentSchema, UPDATED_FIELD_ID,
    field_id, row_number_name,
};
pub use segment::{DEFAULT_BATCH_ROWS, Segment, SegmentScan, SegmentStream};
pub use shard::{
    Alphabetic, HashShards, MAX_SHARDS, ShardingStrategy, Unsharded, shard_of_partition, sharding_strategy,
};
pub use source::{ReadCounters, SegmentSource};
pub use statistics::{ColumnStatistics, RowStatistics};
pub use storage::{
    FileTail, LocalStorage, NOTE_LIMIT, ObjectStorage, ObjectStorageArgs, SegmentGroup, SegmentSink, SegmentStorage,
    StorageDefinition, is_place_option, is_secret_option, open_storage,
};
pub use writer::{SegmentWriter, SegmentWriterArgs, WrittenSegment};
