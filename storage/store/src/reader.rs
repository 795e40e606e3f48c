//! Following a partition's change log: what everything live reads.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::{Error, ErrorCode, Family, Result, Seq};

use crate::backend::{Direction, ScanRequest, Snapshot};
use crate::codec::changelog::LogEntry;
use crate::codec::keys;
use crate::codec::meta::TableBorn;
use crate::codec::system;
use crate::committer::PartitionId;
use crate::manifest;
use crate::read::get;

/// Entries read at a time: few enough for the calling thread.
const PAGE_ENTRIES: usize = 256;

/// A part of a change log.
#[derive(Debug, Default)]
pub struct LogPage {
    /// Statements in commit order, each with its last `_seq`.
    pub entries: Vec<(Seq, LogEntry)>,
    /// There is nothing else up to here.
    pub reached: Seq,
}

/// What a change log covers: a reader that has everything up to a number between these two, both included, can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCoverage {
    /// Everything after this is in the log.
    pub begin: Seq,
    /// Nothing after this is published.
    pub end: Seq,
}

impl LogCoverage {
    /// Whether a reader that has everything up to `seq` can go on from there.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        self.begin <= seq && seq <= self.end
    }
}

/// One partition's change log, as a follower sees it.
///
/// A follower keeps a cursor of its own, the number up to which it has read; nothing here remembers it. What is read is
/// published: a power cut takes none of it back in `sync` mode.
#[async_trait]
pub trait PartitionReader: Send + Sync + fmt::Debug {
    /// Everything up to here may be read.
    fn published(&self) -> Seq;

    /// What the log covers now.
    ///
    /// # Errors
    /// When the backend cannot be read.
    async fn coverage(&self) -> Result<LogCoverage>;

    /// The next entries after `after` and up to `up_to`, about `max_bytes` of them, one at least where there is one.
    ///
    /// # Errors
    /// [`ErrorCode::ResumeTooOld`] when entries after `after` are no longer kept; else when the backend cannot be
    /// read.
    async fn log(&self, after: Seq, up_to: Seq, max_bytes: usize) -> Result<LogPage>;
}

/// What a partition's log covers, as a snapshot shows it; `published` was asked for before the snapshot was taken, and
/// nothing from before `floor` is kept whatever the partition says.
/// `catalog` is a snapshot of the store that holds the catalog.
///
/// # Errors
/// When the backend cannot be read.
pub async fn log_coverage(
    catalog: &dyn Snapshot,
    snapshot: &dyn Snapshot,
    partition: &PartitionId,
    (floor, published): (Seq, Seq),
) -> Result<LogCoverage> {
    let record = manifest::record(snapshot, partition).await?;
    let born = get(catalog, Family::System, system::table_born(partition.table)).await?;
    let born = born.map(|bytes| TableBorn::decode(&bytes)).transpose()?.map(|born| born.0).unwrap_or_default();
    Ok(LogCoverage { begin: record.log_begin.max(born).max(floor), end: published.max(born) })
}

/// A part of a partition's log, as a snapshot shows it; see [`PartitionReader::log`].
///
/// # Errors
/// As there.
pub async fn read_log(
    snapshot: &dyn Snapshot,
    partition: &PartitionId,
    after: Seq,
    up_to: Seq,
    max_bytes: usize,
) -> Result<LogPage> {
    if manifest::record(snapshot, partition).await?.log_begin > after {
        return Err(Error::new(
            ErrorCode::ResumeTooOld,
            "the changes after that number are no longer kept: begin with last_rows",
        ));
    }
    let space = keys::log_partition(partition.table, partition.user.as_ref());
    let mut range = space.range();
    range.start = keys::log_key(&space, Seq(after.0 + 1));
    range.end = Some(keys::log_key(&space, Seq(up_to.0 + 1)));
    let request = ScanRequest { range, direction: Direction::Forward, limit: PAGE_ENTRIES, max_bytes };
    let chunk = snapshot.scan(request).await?;
    let mut page = LogPage { entries: Vec::with_capacity(chunk.entries.len()), reached: up_to };
    for (key, value) in chunk.entries.iter() {
        page.entries.push((keys::decode_log_key(&space, key)?, LogEntry::decode(&Bytes::copy_from_slice(value))?));
    }
    if chunk.rest.is_some() {
        page.reached = page.entries.last().map_or(up_to, |(seq, _)| *seq);
    }
    Ok(page)
}
