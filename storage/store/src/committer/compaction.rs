//! The commit by which one file takes the place of several segments.
//!
//! A compaction goes the way of a flush ([`commit_flush`](PartitionGuard::commit_flush)): lease, pending file, guard.
//! It reads segments and their marks at a snapshot, with the generation [pinned](super::Committer::pin), writes the
//! rows that are not marked into one file and remembers where each came from ([`CompactedRows`]). Rows that are
//! marked between that snapshot and the commit are marked in the new segment too.

use bytes::Bytes;
use kalamdb_commons::{Error, Family, Result, Seq};

use super::flush::{Contents, entry_of};
use super::segments::SegmentWrite;
use super::{FlushError, Lease, NewSegment, PartitionGuard, PendingFile, SegmentCommit};
use crate::codec::keys;
use crate::codec::manifest::ManifestEntry;
use crate::manifest::{self, SegmentMarks};

/// A segment that is to be replaced, as the compaction's snapshot shows it.
#[derive(Debug, Clone)]
pub struct CompactionSource {
    /// Its entry.
    pub entry: ManifestEntry,
    /// The rows that were marked: they are not copied.
    pub marks: SegmentMarks,
}

/// Where the rows of the new file come from, in the order of the file.
#[derive(Debug)]
pub struct CompactedRows {
    sources: Vec<CompactionSource>,
    /// For each source its rows that were copied, ascending, with their positions in the new file.
    copied: Vec<Vec<(u32, u32)>>,
    rows: u64,
    seqs: Option<(Seq, Seq)>,
    min_key: Vec<u8>,
    max_key: Vec<u8>,
}

impl CompactedRows {
    /// No row so far.
    #[must_use]
    pub fn new(sources: Vec<CompactionSource>) -> Self {
        let copied = sources.iter().map(|_| Vec::new()).collect();
        Self { sources, copied, rows: 0, seqs: None, min_key: Vec::new(), max_key: Vec::new() }
    }

    /// The next row of the new file: row `position` of the source with this number.
    ///
    /// # Errors
    /// When there is no such source, its rows do not come in their order, or there are more rows than a file has.
    pub fn push(&mut self, source: usize, position: u64, key: &[u8], seq: Seq) -> Result<()> {
        let (Ok(place), Ok(row)) = (u32::try_from(self.rows), u32::try_from(position)) else {
            return Err(Error::internal("more rows than a segment has"));
        };
        let copied = self.copied.get_mut(source).ok_or_else(|| Error::internal("a row of no source"))?;
        if copied.last().is_some_and(|(before, _)| *before >= row) {
            return Err(Error::internal("rows of a source are not copied in their order"));
        }
        copied.push((row, place));
        if self.rows == 0 {
            self.min_key = key.to_vec();
        }
        self.max_key.clear();
        self.max_key.extend_from_slice(key);
        let (least, greatest) = self.seqs.unwrap_or((seq, seq));
        self.seqs = Some((least.min(seq), greatest.max(seq)));
        self.rows += 1;
        Ok(())
    }

    /// How many rows the new file has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.rows
    }

    /// Whether it has none: then there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Marks what a source's row became, if it was copied.
    fn mark(&self, source: usize, row: u64, marks: &mut SegmentMarks) {
        let Some(copied) = self.copied.get(source) else { return };
        if let Ok(at) = copied.binary_search_by_key(&row, |(row, _)| u64::from(*row))
            && let Some((_, place)) = copied.get(at)
        {
            marks.insert(u64::from(*place));
        }
    }
}

impl PartitionGuard<'_> {
    /// Puts a file in the place of its sources: their entries and marks go, their files become garbage, the new
    /// one's entry is there with the marks that were set meanwhile; in one batch. No file: the sources had no row
    /// left. A file all of whose rows were marked meanwhile becomes garbage too.
    ///
    /// # Errors
    /// [`FlushError::LeaseLost`]; [`FlushError::Stale`] when a source is not in the manifest any more;
    /// [`FlushError::Refused`] by a broken backend.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn commit_compaction(
        &mut self,
        lease: &Lease,
        file: Option<(PendingFile, NewSegment)>,
        rows: &CompactedRows,
        now: i64,
    ) -> Result<SegmentCommit, FlushError> {
        let committer = self.committer;
        committer.check_writable()?;
        match &file {
            Some((file, _)) => self.check_own(lease, file)?,
            None => committer.check_lease(&self.table, lease)?,
        }
        if file.is_some() == rows.is_empty() {
            return Err(Error::internal("a file without rows, or rows without a file").into());
        }
        let mut write = SegmentWrite::new(self.record().await?);
        let marks = self.replace_sources(rows, &mut write, now).await?;
        let entry = match file {
            None => None,
            Some((file, segment)) => {
                write.take_over(&file);
                let contents = Contents {
                    rows: rows.rows,
                    seqs: rows.seqs,
                    first_key: &rows.min_key,
                    last_key: &rows.max_key,
                    deleted_rows: marks.len(),
                };
                let entry = entry_of(&file, segment, &contents)?;
                if entry.deleted_rows < entry.rows {
                    write.add_segment(&self.partition, entry.clone(), &marks);
                    Some(entry)
                } else {
                    write.retire(&entry, now);
                    None
                }
            }
        };
        let acknowledgement = self.write_segments(lease, write).await?;
        let live = entry.as_ref().map_or(0, |entry| entry.rows - entry.deleted_rows);
        Ok(SegmentCommit { entry, rows: live, acknowledgement })
    }

    /// Takes the sources away; gives the marks of the new segment.
    async fn replace_sources(
        &self,
        rows: &CompactedRows,
        write: &mut SegmentWrite,
        now: i64,
    ) -> Result<SegmentMarks, FlushError> {
        let (table, user) = (self.partition.table, self.partition.user.as_ref());
        let keys: Vec<Bytes> =
            rows.sources.iter().map(|source| keys::manifest_entry_key(table, user, source.entry.segment_id)).collect();
        let values = self.committer.backend.get_many(Family::Manifest, &keys).await?;
        let mut marks = SegmentMarks::default();
        let mut snapshot = None;
        for (at, (source, value)) in rows.sources.iter().zip(values).enumerate() {
            let entry = ManifestEntry::decode(&value.ok_or(FlushError::Stale)?)?;
            if entry.deleted_rows == source.marks.len() {
                let containers = source.marks.containers().map(|(container, _)| container);
                write.remove_segment(&self.partition, &entry, containers, now);
                continue;
            }
            let snapshot = match &mut snapshot {
                Some(snapshot) => snapshot,
                none => none.insert(self.committer.backend.snapshot().await?),
            };
            let present = manifest::marks(snapshot.as_ref(), &self.partition, entry.segment_id).await?;
            for row in present.without(&source.marks).iter() {
                rows.mark(at, row, &mut marks);
            }
            let containers = present.containers().map(|(container, _)| container);
            write.remove_segment(&self.partition, &entry, containers, now);
        }
        Ok(marks)
    }
}
