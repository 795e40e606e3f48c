//! The one batch by which a partition's segments change: of a flush or a compaction.

use kalamdb_commons::{Error, Family};

use super::dropping::garbage_of;
use super::table::TotalsChange;
use super::{Acknowledgement, FlushError, Lease, PartitionGuard, PartitionId, PendingFile};
use crate::backend::Batch;
use crate::codec::files::GarbageEntry;
use crate::codec::keys;
use crate::codec::manifest::ManifestEntry;
use crate::codec::partition::PartitionRecord;
use crate::failpoint;
use crate::files;
use crate::manifest::SegmentMarks;

/// What is going to be written; everything but what depends on the manifest generation it will have.
#[derive(Debug)]
pub(super) struct SegmentWrite {
    pub(super) batch: Batch,
    /// The partition's record as it will be.
    pub(super) record: PartitionRecord,
    before: PartitionRecord,
    /// Files that nothing names any more.
    retired: Vec<(u128, GarbageEntry)>,
    segments: TotalsChange,
    manifest_changes: bool,
}

impl SegmentWrite {
    pub(super) fn new(record: PartitionRecord) -> Self {
        Self {
            batch: Batch::new(),
            record,
            before: record,
            retired: Vec::new(),
            segments: TotalsChange::default(),
            manifest_changes: false,
        }
    }

    /// The file is pending no more.
    pub(super) fn take_over(&mut self, file: &PendingFile) {
        file.take_over(&mut self.batch);
    }

    /// Names a segment, with the marks it begins with.
    pub(super) fn add_segment(&mut self, partition: &PartitionId, entry: ManifestEntry, marks: &SegmentMarks) {
        let (table, user) = (partition.table, partition.user.as_ref());
        self.segments = self.segments.with_segment(&entry);
        self.batch.put(Family::Manifest, keys::manifest_entry_key(table, user, entry.segment_id), entry.encode());
        for (container, marks) in marks.containers() {
            let key = keys::delete_mark_key(table, user, entry.segment_id, container);
            self.batch.put(Family::Manifest, key, marks.encode());
        }
        self.manifest_changes = true;
    }

    /// Names a segment no more, and forgets its marks, which are in these containers. Its file is retired.
    pub(super) fn remove_segment(
        &mut self,
        partition: &PartitionId,
        entry: &ManifestEntry,
        containers: impl Iterator<Item = u32>,
        now: i64,
    ) {
        let (table, user) = (partition.table, partition.user.as_ref());
        self.segments = self.segments.without_segment(entry);
        self.batch.delete(Family::Manifest, keys::manifest_entry_key(table, user, entry.segment_id));
        for container in containers {
            self.batch.delete(Family::Manifest, keys::delete_mark_key(table, user, entry.segment_id, container));
        }
        self.retire(entry, now);
        self.manifest_changes = true;
    }

    /// Puts a file that nothing names on the garbage list.
    pub(super) fn retire(&mut self, entry: &ManifestEntry, now: i64) {
        self.retired.push((entry.segment_id, garbage_of(entry, now)));
    }
}

impl PartitionGuard<'_> {
    /// That a file was recorded under the lease, and both are about the table that is held.
    pub(super) fn check_own(&self, lease: &Lease, file: &PendingFile) -> Result<(), FlushError> {
        if lease.table() != self.partition.table || !file.lease().is(lease) {
            return Err(Error::internal("a file of another lease than the one it is committed under").into());
        }
        self.committer.check_lease(&self.table, lease)
    }

    /// FL-1, FL-3: all of it in one batch, under the current lease.
    pub(super) async fn write_segments(
        &mut self,
        lease: &Lease,
        write: SegmentWrite,
    ) -> Result<Acknowledgement, FlushError> {
        let committer = self.committer;
        committer.reach(failpoint::BEFORE_COMMIT).await;
        let SegmentWrite { mut batch, mut record, before, retired, segments, manifest_changes } = write;
        let acknowledgement = {
            let _writer = committer.writer.lock().await;
            committer.check_writable()?;
            committer.check_lease(&self.table, lease)?;
            let generation = committer.take_generation().await?;
            for (segment, entry) in &retired {
                files::put_garbage(&mut batch, generation, *segment, entry.encode());
            }
            if manifest_changes {
                record.manifest_generation = generation;
                let key = keys::partition_record_key(self.partition.table, self.partition.user.as_ref());
                batch.put(Family::Manifest, key, record.encode());
            }
            self.stripe.records.forget(&self.partition);
            let acknowledgement = committer.write_next(batch).await?;
            committer.pins.raise(generation);
            acknowledgement
        };
        self.stripe.records.put(&self.partition, record);
        self.table.apply(segments.and_hot(&before, &record));
        committer.reach(failpoint::AFTER_COMMIT).await;
        Ok(acknowledgement)
    }
}
