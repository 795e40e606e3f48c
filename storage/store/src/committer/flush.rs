//! The commit by which a file becomes a segment, and its rows leave the hot side.
//!
//! Whatever fails, and wherever: the rows are hot still, or they are in the segment; the file is named by the
//! manifest, or by one of the lists of files to be deleted.

use kalamdb_commons::{Error, SchemaVersion, Seq};

use super::departure::Departure;
use super::segment_rows::SegmentRows;
use super::segments::SegmentWrite;
use super::{Acknowledgement, Lease, PartitionGuard, PendingFile};
use crate::StoreError;
use crate::codec::manifest::ManifestEntry;

/// Why a flush or compaction did not get on. Nothing was written but where the error says so.
#[derive(Debug)]
pub enum FlushError {
    /// It is not the table's current one any more: give up; what was pending is deleted when the lease is let go.
    LeaseLost,
    /// What a compaction has read is not there any more: begin anew.
    Stale,
    /// It cannot be done; the error says whether its outcome is known.
    Refused(Error),
}

impl From<Error> for FlushError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for FlushError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

/// What a manifest entry says of a file that its rows do not.
#[derive(Debug, Clone)]
pub struct NewSegment {
    /// The segment's ULID.
    pub segment_id: u128,
    /// Its shard; empty where the template has none.
    pub shard: String,
    /// Size of the file.
    pub bytes: u64,
    /// The schema version it was written with.
    pub schema_version: SchemaVersion,
    /// Microseconds since the epoch.
    pub created_at: i64,
    /// How often its rows were merged: 0 from a flush.
    pub level: u8,
}

/// A written commit of a flush or compaction.
#[derive(Debug)]
pub struct SegmentCommit {
    /// The new segment; none if no row of it was left. Its file is garbage then.
    pub entry: Option<ManifestEntry>,
    /// Rows that left the hot side; of a compaction, rows of the new segment that are not marked.
    pub rows: u64,
    /// To be waited for with the partition let go.
    pub acknowledgement: Acknowledgement,
}

impl PartitionGuard<'_> {
    /// Makes a file a segment: its manifest entry is there, the rows that are as the file has them are hot no more,
    /// all others of it are marked deleted, and the file is pending no more; all of that in one batch, or nothing.
    /// If not one row is as the file has it, the file becomes garbage instead.
    ///
    /// What a flush does, step by step:
    /// 1. [`raise_lease`](super::Committer::raise_lease), held until the end.
    /// 2. [`begin_flush`](super::Committer::begin_flush) on a group of partitions.
    /// 3. [`record_pending`](super::Committer::record_pending) for the group's files, before their first byte.
    /// 4. Read each partition's rows ([`HotRows::next`](super::HotRows::next)) into its file, and
    ///    [cut](super::HotRows::cut).
    /// 5. Make the files durable under their names.
    /// 6. For each file: [`begin`](super::Committer::begin), look at the catalog again, this, drop the guard.
    /// 7. Wait for the acknowledgements, the last one's comes last; then the next group.
    /// 8. After many rows (ten thousand and more), at the end: [`tidy`](super::Committer::tidy).
    ///
    /// # Errors
    /// [`FlushError::LeaseLost`]; [`FlushError::Refused`] by a broken backend.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn commit_flush(
        &mut self,
        lease: &Lease,
        file: PendingFile,
        segment: NewSegment,
        rows: SegmentRows,
    ) -> Result<SegmentCommit, FlushError> {
        let committer = self.committer;
        committer.check_writable()?;
        self.check_own(lease, &file)?;
        if rows.partition() != &self.partition {
            return Err(Error::internal("rows of another partition than the one that is held").into());
        }
        let before = self.record().await?;
        let departure = Departure::plan(committer.backend.as_ref(), &rows).await?;
        let contents = Contents {
            rows: rows.len() as u64,
            seqs: rows.seqs(),
            first_key: rows.first_key(),
            last_key: rows.last_key(),
            deleted_rows: departure.moved_on.len(),
        };
        let entry = entry_of(&file, segment, &contents)?;
        let (moved, leaving) = (departure.count(), departure.leaving);
        let mut write = SegmentWrite::new(before);
        write.take_over(&file);
        if moved == 0 {
            write.retire(&entry, entry.created_at);
            let acknowledgement = self.write_segments(lease, write).await?;
            return Ok(SegmentCommit { entry: None, rows: 0, acknowledgement });
        }
        write.add_segment(&self.partition, entry.clone(), &departure.moved_on);
        departure.put(&mut write.batch, &rows);
        let record = &mut write.record;
        record.hot_rows = record.hot_rows.saturating_sub(leaving.rows);
        record.hot_tombstones = record.hot_tombstones.saturating_sub(leaving.tombstones);
        record.hot_bytes = record.hot_bytes.saturating_sub(leaving.bytes);
        self.stripe.note_departure(&rows.watch);
        let acknowledgement = self.write_segments(lease, write).await?;
        Ok(SegmentCommit { entry: Some(entry), rows: moved, acknowledgement })
    }
}

/// What a manifest entry says of a file's rows.
pub(super) struct Contents<'a> {
    pub(super) rows: u64,
    /// Smallest and largest; none of a file without rows.
    pub(super) seqs: Option<(Seq, Seq)>,
    pub(super) first_key: &'a [u8],
    pub(super) last_key: &'a [u8],
    pub(super) deleted_rows: u64,
}

/// The manifest entry of a written file.
pub(super) fn entry_of(file: &PendingFile, segment: NewSegment, rows: &Contents<'_>) -> Result<ManifestEntry, Error> {
    let (min_seq, max_seq) = rows.seqs.ok_or_else(|| Error::internal("a segment without rows"))?;
    let NewSegment { segment_id, shard, bytes, schema_version, created_at, level } = segment;
    Ok(ManifestEntry {
        segment_id,
        storage: file.file().storage.clone(),
        path: file.file().path.clone(),
        shard,
        rows: rows.rows,
        bytes,
        schema_version,
        min_seq,
        max_seq,
        min_key: rows.first_key.to_vec(),
        max_key: rows.last_key.to_vec(),
        deleted_rows: rows.deleted_rows,
        created_at,
        level,
    })
}
