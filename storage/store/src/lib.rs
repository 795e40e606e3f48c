//! Where hot bytes live: the [`StorageBackend`] border, its engines, the codecs, and the typed stores
//! on top of them.

pub mod backend;
pub mod catalog;
pub mod codec;
pub mod committer;
mod error;
pub mod failpoint;
pub mod files;
pub mod home;
pub mod identity;
pub mod jobs;
pub mod location;
pub mod manifest;
mod read;
pub mod reader;
pub mod schedule;

pub use backend::{
    BackendOptions, BackendRegistry, Batch, Direction, Durability, Entry, FoundHome, IfMissing, KeyRange,
    MemoryBackend, Partition, ScanChunk, ScanRequest, Snapshot, StorageBackend, Write, prefix_end,
};
#[cfg(feature = "rocksdb")]
pub use backend::{RocksDbBackend, RocksDbOptions};
pub use committer::{
    Acknowledgement, Changes, CommitError, Committed, Committer, CompactedRows, CompactionSource, FlushError,
    FlushLimits, FlushedRow, HotRow, HotRows, Lease, LogBounds, NewSegment, PartitionGuard, PartitionId, PendingFile,
    Pin, PublishWatch, RowChange, RowState, SegmentCommit, SegmentRows, SegmentsRead, StreamBounds, SyncMode,
    TableTotals, Ticket,
};
pub use error::StoreError;
pub use reader::{LogCoverage, LogPage, PartitionReader};
