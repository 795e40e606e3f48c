//! Where segments' files lie: the border that every kind of storage implements.
//!
//! Callers are the flush and compaction (groups), the readers of this crate, and whoever deletes files that the
//! pending or garbage list names.
//!
//! What always holds:
//! - A file under its final name is complete. After a crash there may be temporary files beside the final
//!   names; [`SegmentStorage::delete`] of the final name removes both.
//! - Nothing here lists a directory or a bucket, and nothing is deleted that the caller did not name.

mod local;
mod object;
mod open;

use std::fmt;
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;

pub use local::LocalStorage;
pub use object::{ObjectStorage, ObjectStorageArgs};
pub use open::{StorageDefinition, is_place_option, is_secret_option, open_storage};

/// The end of a file, and how long the file is.
#[derive(Debug, Clone)]
pub struct FileTail {
    /// The last bytes.
    pub bytes: Bytes,
    /// Size of the whole file.
    pub size: u64,
}

/// A destination of segments.
#[async_trait]
pub trait SegmentStorage: fmt::Debug + Send + Sync {
    /// Makes a storage that is to be used from now on: a directory that is missing, with those above it; then
    /// [probes](Self::probe). For CREATE STORAGE, and before a storage's first segment: one that has segments, and is
    /// missing, was moved or unmounted, and another in its place would hide them.
    ///
    /// # Errors
    /// As of [`probe`](Self::probe).
    ///
    /// # Cancel safety
    /// As of [`probe`](Self::probe).
    async fn prepare(&self) -> Result<()>;

    /// Finds out whether the storage can be written and read: writes a small file, and removes it.
    ///
    /// # Errors
    /// [`Unavailable`](crate::SegmentError::Unavailable) or [`Full`](crate::SegmentError::Full).
    ///
    /// # Cancel safety
    /// The small file may stay.
    async fn probe(&self) -> Result<()>;

    /// Begins a group of files that become durable together.
    fn begin_group(&self) -> Box<dyn SegmentGroup>;

    /// Reads ranges of a file, in the order asked for; each comes whole.
    ///
    /// # Errors
    /// [`Missing`](crate::SegmentError::Missing) and [`Damaged`](crate::SegmentError::Damaged) when the file is not
    /// there or too short, although its storage is; [`Unavailable`](crate::SegmentError::Unavailable) otherwise.
    ///
    /// # Cancel safety
    /// Safe: a read that nobody waits for is dropped when it is done.
    async fn read(&self, path: &SegmentPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>>;

    /// Reads the last `length` bytes (or all, if there are fewer) of a file that should have `expected_size` bytes.
    /// A file of another size may also be answered with its true size and any bytes.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    ///
    /// # Cancel safety
    /// As for [`read`](Self::read).
    async fn read_tail(&self, path: &SegmentPath, expected_size: u64, length: u64) -> Result<FileTail>;

    /// Deletes files, and what unfinished writes of them left. A file that is not there is a success. When the
    /// call returns, a power cut does not bring them back.
    ///
    /// # Errors
    /// [`Unavailable`](crate::SegmentError::Unavailable): some may be gone and others not; the same call may be repeated.
    ///
    /// # Cancel safety
    /// Some may be gone and others not.
    async fn delete(&self, paths: &[SegmentPath]) -> Result<()>;

    /// Reads a note: a small object that is replaced as a whole. None where there is none, although the storage is.
    ///
    /// # Errors
    /// [`Unavailable`](crate::SegmentError::Unavailable) when that cannot be told;
    /// [`Damaged`](crate::SegmentError::Damaged) for one of more than [`NOTE_LIMIT`] bytes.
    ///
    /// # Cancel safety
    /// Safe.
    async fn read_note(&self, path: &SegmentPath) -> Result<Option<Bytes>>;

    /// Writes a note, in place of the one that is there. On return a power cut does not take it away; whoever reads it
    /// meanwhile reads the old one or the new one.
    ///
    /// # Errors
    /// [`Unavailable`](crate::SegmentError::Unavailable) or [`Full`](crate::SegmentError::Full): it may be written.
    ///
    /// # Cancel safety
    /// As after an error.
    async fn write_note(&self, path: &SegmentPath, content: Bytes) -> Result<()>;
}

/// A note has no more bytes.
pub const NOTE_LIMIT: u64 = 4096;

/// What is there is no note of ours.
fn too_long(path: &SegmentPath) -> SegmentError {
    SegmentError::Damaged { path: path.to_string(), message: format!("it has more than {NOTE_LIMIT} bytes") }
}

/// Files being written, to be made durable together.
///
/// A group that is dropped without [`commit`](Self::commit) or [`abort`](Self::abort) may leave files behind, under
/// temporary and (in a bucket) final names: the caller has recorded them as pending and deletes them.
#[async_trait]
pub trait SegmentGroup: fmt::Debug + Send + Sync {
    /// Opens a new file. Blocks: call it, and write the sink, off the async threads, on a thread that knows the
    /// runtime (`spawn_blocking`).
    ///
    /// # Errors
    /// [`Unavailable`](crate::SegmentError::Unavailable) or [`Full`](crate::SegmentError::Full).
    fn create(&self, path: &SegmentPath) -> Result<Box<dyn SegmentSink>>;

    /// Makes every file of the group durable under its final name. Each sink must have been finished.
    ///
    /// # Errors
    /// [`Unavailable`](crate::SegmentError::Unavailable) or [`Full`](crate::SegmentError::Full): the group has failed as a whole and is
    /// never tried again; some of its files may exist, as after a crash.
    ///
    /// # Cancel safety
    /// Not safe: any part of the files may then exist.
    async fn commit(self: Box<Self>) -> Result<()>;

    /// Gives the group up and removes what it wrote, as far as that is possible.
    async fn abort(self: Box<Self>);
}

/// One file of a group being written. Dropped unfinished, its group cannot commit.
pub trait SegmentSink: io::Write + fmt::Debug + Send {
    /// The file has all of its bytes (and is not yet durable).
    ///
    /// # Errors
    /// As for [`SegmentGroup::create`].
    fn finish(self: Box<Self>) -> Result<()>;
}
