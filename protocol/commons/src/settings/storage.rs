//! Where bytes live, and what becomes of them.

use std::path::PathBuf;
use std::time::Duration;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Durability {
    /// After the fsync that covers it.
    #[default]
    Sync,
    /// After it is in the log; the fsync follows within 100 ms.
    Buffered,
}

impl Durability {
    /// The setting's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Buffered => "buffered",
        }
    }
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// The name of a registered backend.
    pub backend: String,
    /// Where the RocksDB backend keeps its files.
    pub rocksdb_dir: PathBuf,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// The location of storage `local`.
    pub default_location: PathBuf,
    /// Where a user table's segments go.
    pub user_path_template: String,
    /// Where a shared table's segments go.
    pub shared_path_template: String,
    /// The backend's block cache and write buffers together, in bytes.
    pub memory: u64,
    /// How long a deleted row can still be seen by naming `_deleted`.
    pub deleted_retention: Duration,
    /// How often the size on disk is logged.
    pub size_log_interval: Duration,
}

impl StorageSettings {
    /// The backends a server comes with.
    pub const BACKENDS: [&'static str; 2] = ["rocksdb", "memory"];
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self {
            backend: "rocksdb".to_owned(),
            rocksdb_dir: PathBuf::from("data/rocksdb"),
            durability: Durability::Sync,
            default_location: PathBuf::from("./data/storage"),
            user_path_template: "{storageLocation}/{namespace}/users/{userId}/{tableName}/".to_owned(),
            shared_path_template: "{storageLocation}/{namespace}/{tableName}/".to_owned(),
            memory: 256 << 20,
            deleted_retention: Duration::from_secs(7 * 86_400),
            size_log_interval: Duration::from_secs(600),
        }
    }
}

/// `[backup]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackupSettings {
    /// Where set, backups lie below it.
    pub dir: Option<PathBuf>,
}

/// `[compaction]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Whether segments are merged in the background.
    pub enabled: bool,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// `[flush]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushSettings {
    /// For tables that set no interval.
    pub default_interval: Duration,
    /// For tables that set no row count.
    pub default_rows: u64,
    /// Tables flushed at the same time by the scheduler.
    pub workers: usize,
    /// The first wait after a failed flush; it doubles up to [`Self::MAX_RETRY_BACKOFF`].
    pub retry_backoff: Duration,
}

impl FlushSettings {
    /// The longest wait after a failed flush.
    pub const MAX_RETRY_BACKOFF: Duration = Duration::from_secs(60);
}

impl Default for FlushSettings {
    fn default() -> Self {
        Self {
            default_interval: Duration::from_secs(300),
            default_rows: 10_000,
            workers: 2,
            retry_backoff: Duration::from_secs(1),
        }
    }
}
