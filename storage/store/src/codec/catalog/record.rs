//! Records of storages, users and jobs.

use std::collections::BTreeMap;
use std::fmt;

use kalamdb_commons::{NamespaceId, Role, TableName, UserId};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::codec::json;

macro_rules! json_record {
    ($name:ident, $what:literal, format $format:literal) => {
        impl $name {
            /// The record as it is stored.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                json::encode($format, self)
            }

            /// Reads a stored record.
            ///
            /// # Errors
            /// [`StoreError::Corrupted`] when it is none.
            pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
                json::decode($what, bytes, $format)
            }
        }
    };
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as SQL shows it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }
    };
}

named!(
    /// What kind of place a storage is.
    StorageType {
        /// A directory.
        Filesystem = "filesystem",
        /// Amazon S3 and what speaks its protocol.
        S3 = "s3",
        /// Google Cloud Storage.
        Gcs = "gcs",
        /// Azure Blob Storage.
        Azure = "azure",
    }
);

/// A destination of segments.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageRecord {
    /// Its name.
    pub name: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub storage_type: StorageType,
    /// Directory or URL.
    pub location: String,
    /// For user tables; the server's default if none.
    pub user_path_template: Option<String>,
    /// For shared tables; the server's default if none.
    pub shared_path_template: Option<String>,
    /// Everything else it was given: region, endpoint, credentials.
    pub options: BTreeMap<String, String>,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch.
    pub updated_at: i64,
}

json_record!(StorageRecord, "storage", format 1);

impl fmt::Debug for StorageRecord {
    /// Leaves the options' values out: some are credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageRecord")
            .field("name", &self.name)
            .field("storage_type", &self.storage_type)
            .field("location", &self.location)
            .field("options", &self.options.keys())
            .finish_non_exhaustive()
    }
}

/// A user with a row in `system.users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// Its id.
    pub user_id: UserId,
    /// Wins over the token's claim; none leaves the claim as it is.
    pub role: Option<Role>,
    /// For people.
    pub username: Option<String>,
    /// JSON text.
    pub metadata: Option<String>,
    /// Refused at the door.
    pub disabled: bool,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch.
    pub updated_at: i64,
}

json_record!(UserRecord, "user", format 1);

named!(
    /// What a job does.
    JobType {
        /// Hot rows into segments.
        Flush = "flush",
        /// Segments into larger ones.
        Compaction = "compaction",
        /// A backup.
        Backup = "backup",
    }
);

named!(
    /// Where a job is.
    JobStatus {
        /// Waiting for its turn.
        Queued = "queued",
        /// At work.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// Given up; `error` says why.
        Failed = "failed",
        /// Stopped from outside.
        Cancelled = "cancelled",
    }
);

named!(
    /// Why a job began.
    JobTrigger {
        /// Its time had come.
        Schedule = "schedule",
        /// Enough rows were buffered.
        Rows = "rows",
        /// A statement asked for it.
        Manual = "manual",
        /// The server stops.
        Shutdown = "shutdown",
    }
);

/// A job, as `system.jobs` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobRecord {
    /// A ULID in text.
    pub job_id: String,
    /// What it does.
    pub job_type: JobType,
    /// Where it is.
    pub status: JobStatus,
    /// The table's namespace; none for a backup.
    pub namespace_id: Option<NamespaceId>,
    /// The table; none for a backup.
    pub table_name: Option<TableName>,
    /// Why it began.
    pub trigger: JobTrigger,
    /// Rows moved so far.
    pub rows: u64,
    /// Segments written so far.
    pub segments: u64,
    /// Where to.
    pub storage_location: Option<String>,
    /// Tries so far.
    pub attempts: u32,
    /// Why the last try failed.
    pub error: Option<String>,
    /// The server that runs it.
    pub node: String,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// Microseconds since the epoch.
    pub started_at: Option<i64>,
    /// Microseconds since the epoch.
    pub finished_at: Option<i64>,
}

json_record!(JobRecord, "job", format 1);
