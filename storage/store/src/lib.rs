//! Where hot bytes live: the [`StorageBackend`] border, its engines, the codecs, and the typed stores
//! on top of them.

pub mod backend;
pub mod catalog;
pub mod codec;
pub mod committer;
mod error;
pub mod identity;

pub use backend::{
    BackendOptions, BackendRegistry, Batch, Direction, Durability, Entry, IfMissing, KeyRange, MemoryBackend,
    Partition, ScanChunk, ScanRequest, Snapshot, StorageBackend, Write, prefix_end,
};
#[cfg(feature = "rocksdb")]
pub use backend::{RocksDbBackend, RocksDbOptions};
pub use committer::{
    Acknowledgement, Changes, CommitError, Committed, Committer, PartitionGuard, PartitionId, RowChange, SyncMode,
    Ticket,
};
pub use error::StoreError;
