//! Small records of family `system`: the data directory's identity, counters, leases, schedules.

use kalamdb_commons::{Seq, TableId};

use super::bytes::{Reader, put_bytes};
use crate::StoreError;

macro_rules! record {
    ($name:ident, $what:literal, format $format:literal, |$value:ident, $out:ident| $put:block, |$reader:ident| $read:expr) => {
        impl $name {
            /// The record as it is stored.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                let mut $out = vec![$format];
                let $value = self;
                $put
                $out
            }

            /// Reads a stored record.
            ///
            /// # Errors
            /// [`StoreError::Corrupted`] when it is none.
            pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
                let mut $reader = Reader::of_format($what, bytes, $format)?;
                let record = $read;
                $reader.finish()?;
                Ok(record)
            }
        }
    };
}

/// The format of the data directory as a whole: which families there are and how keys look. A server
/// refuses a directory of a newer one and touches nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataFormat(
    /// Counts from 1.
    pub u32,
);

impl DataFormat {
    /// What this version of the server writes.
    pub const CURRENT: Self = Self(1);

    /// Refuses the data of a newer server.
    ///
    /// # Errors
    /// [`StoreError::NewerFormat`].
    pub fn check(self) -> Result<(), StoreError> {
        if self <= Self::CURRENT {
            return Ok(());
        }
        Err(StoreError::NewerFormat { what: "data", found: self.0, known: Self::CURRENT.0 })
    }
}

record!(
    DataFormat,
    "data format",
    format 1,
    |value, out| { out.extend_from_slice(&value.0.to_le_bytes()) },
    |reader| Self(reader.u32()?)
);

/// The identity of a database: made at its first start, kept by backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseId(
    /// A ULID.
    pub u128,
);

record!(
    DatabaseId,
    "database id",
    format 1,
    |value, out| { out.extend_from_slice(&value.0.to_be_bytes()) },
    |reader| Self(reader.u128_be()?)
);

/// Where storage `local` was at the first start: it cannot move while segments lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLocation {
    /// Absolute path.
    pub path: String,
}

record!(
    LocalLocation,
    "location of storage local",
    format 1,
    |value, out| { put_bytes(&mut out, value.path.as_bytes()) },
    |reader| Self { path: reader.text()?.to_owned() }
);

/// What tells a data directory from a copy of it: each start compares it with the one that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The directory's number in its file system: a copy that hard links the files has another directory.
    pub directory: u64,
    /// The number of the file that marks it: files put back into the directory are other files.
    pub marker: u64,
    /// When that file was made, in nanoseconds since the epoch, where the file system knows.
    pub born: Option<i64>,
    /// Which machine it was opened on, where that has a name.
    pub machine: Option<String>,
}

record!(
    Home,
    "home of the data directory",
    format 1,
    |value, out| {
        out.extend_from_slice(&value.directory.to_le_bytes());
        out.extend_from_slice(&value.marker.to_le_bytes());
        out.push(u8::from(value.born.is_some()));
        out.extend_from_slice(&value.born.unwrap_or_default().to_le_bytes());
        out.push(u8::from(value.machine.is_some()));
        put_bytes(&mut out, value.machine.as_deref().unwrap_or_default().as_bytes());
    },
    |reader| {
        let (directory, marker) = (reader.u64()?, reader.u64()?);
        let born = match (reader.u8()?, reader.i64()?) {
            (0, 0) => None,
            (1, at) => Some(at),
            (flag, _) => return Err(reader.error(format!("unknown flag {flag}"))),
        };
        let machine = match (reader.u8()?, reader.text()?) {
            (0, "") => None,
            (1, name) => Some(name.to_owned()),
            (flag, _) => return Err(reader.error(format!("unknown flag {flag}"))),
        };
        Self { directory, marker, born, machine }
    }
);

/// The oldest segment that is this database's own: files of older ones may be another server's, too, and are never
/// deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedBelow(
    /// A ULID.
    pub u128,
);

record!(
    SharedBelow,
    "boundary of shared segments",
    format 1,
    |value, out| { out.extend_from_slice(&value.0.to_be_bytes()) },
    |reader| Self(reader.u128_be()?)
);

/// How far `_seq` has been reserved: numbers from here on were never given out, so a start begins here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeqBlock {
    /// The first number not reserved; at most 2^53.
    pub reserved_until: Seq,
}

record!(
    SeqBlock,
    "seq block",
    format 1,
    |value, out| { out.extend_from_slice(&value.reserved_until.0.to_le_bytes()) },
    |reader| {
        let reserved_until = reader.u64()?;
        if reserved_until > Seq::LIMIT {
            return Err(reader.error(format!("reserved until {reserved_until}, above 2^53")));
        }
        Self { reserved_until: Seq(reserved_until) }
    }
);

/// A number of the sequence that was taken when a table was made: nothing of the table is older, and no number that
/// anybody was told before belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableBorn(
    /// It.
    pub Seq,
);

record!(
    TableBorn,
    "table born",
    format 1,
    |value, out| { out.extend_from_slice(&value.0.0.to_le_bytes()) },
    |reader| Self(reader.seq()?)
);

/// The id that the next table gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextTableId(
    /// Never given out so far.
    pub TableId,
);

record!(
    NextTableId,
    "next table id",
    format 1,
    |value, out| { out.extend_from_slice(&value.0.0.to_le_bytes()) },
    |reader| Self(TableId(reader.u64()?))
);

/// The right to commit flushes and compactions of a table: raised at their start, so that a flush that
/// outlived its actor is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushLease {
    /// Counts from 1.
    pub generation: u64,
    /// Microseconds since the epoch.
    pub started_at: i64,
}

record!(
    FlushLease,
    "flush lease",
    format 1,
    |value, out| {
        out.extend_from_slice(&value.generation.to_le_bytes());
        out.extend_from_slice(&value.started_at.to_le_bytes());
    },
    |reader| Self { generation: reader.u64()?, started_at: reader.i64()? }
);

/// When a table's next flush is due, and how its last one went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushSchedule {
    /// Microseconds since the epoch.
    pub due_at: i64,
    /// Microseconds since the epoch; none before the first flush.
    pub last_flush_at: Option<i64>,
}

record!(
    FlushSchedule,
    "flush schedule",
    format 1,
    |value, out| {
        out.extend_from_slice(&value.due_at.to_le_bytes());
        out.push(u8::from(value.last_flush_at.is_some()));
        out.extend_from_slice(&value.last_flush_at.unwrap_or_default().to_le_bytes());
    },
    |reader| {
        let due_at = reader.i64()?;
        let last_flush_at = match (reader.u8()?, reader.i64()?) {
            (0, 0) => None,
            (1, at) => Some(at),
            (flag, _) => return Err(reader.error(format!("unknown flag {flag}"))),
        };
        Self { due_at, last_flush_at }
    }
);
