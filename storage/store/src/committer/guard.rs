//! A partition held for a commit, and its record.

use std::sync::Arc;

use bytes::Bytes;
use kalamdb_commons::{Family, Result, Seq};
use tokio::sync::{MutexGuard, OwnedRwLockReadGuard};

use super::acknowledge::Written;
use super::table::{Table, Threshold, TotalsChange};
use super::watched::Stripe;
use super::{Changes, CommitError, Committed, Committer, PartitionId, SyncMode, batch, premises};
use crate::StoreError;
use crate::backend::Snapshot;
use crate::codec::keys;
use crate::codec::partition::PartitionRecord;

/// A partition held for one commit: nobody else commits to it, no DDL on its table runs.
#[derive(Debug)]
pub struct PartitionGuard<'a> {
    pub(super) committer: &'a Committer,
    pub(super) partition: PartitionId,
    pub(super) table: Arc<Table>,
    pub(super) _gate: OwnedRwLockReadGuard<()>,
    /// The partition's lock.
    pub(super) stripe: MutexGuard<'a, Stripe>,
}

impl PartitionGuard<'_> {
    /// Checks the premises and writes. The write is readable on return, and durable when it is acknowledged:
    /// drop the guard, then [wait](super::Acknowledgement::wait).
    ///
    /// # Errors
    /// [`CommitError::Stale`] when the partition moved on since the statement read it: read again.
    /// [`CommitError::Refused`] for a duplicate key or a broken backend.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn commit(&mut self, changes: Changes) -> Result<Committed, CommitError> {
        let committer = self.committer;
        committer.check_writable()?;
        let record = self.record().await?;
        if changes.base.is_some_and(|base| base != record.last_seq) {
            return Err(CommitError::Stale);
        }
        let generation = record.manifest_generation;
        let premises = premises::check(committer.backend.as_ref(), &self.partition, &changes, generation).await?;
        if changes.rows.is_empty() {
            return Ok(Committed { seqs: Vec::new(), acknowledgement: None });
        }

        let _writer = committer.writer.lock().await;
        committer.check_writable()?;
        let seqs = committer.take_seqs(changes.rows.len()).await?;
        let before = record;
        let (batch, record) = batch::encode(&self.partition, &changes, &premises, &seqs, before);
        self.stripe.note(&self.partition, &batch);
        let ticket = committer.next_ticket();
        // Before the write: a snapshot that shows the rows must find the ticket (CM-3).
        if committer.mode == SyncMode::Sync {
            committer.unsynced.lock().insert(self.partition.clone(), ticket);
        }
        self.stripe.records.forget(&self.partition);
        let logged = changes.log.then(|| self.partition.clone());
        let written = Written { ticket, last_seq: seqs.last().copied(), logged };
        let acknowledgement = committer.write(batch, written).await?;
        self.stripe.records.put(&self.partition, record);
        committer.overfull.note(&self.partition, before.log_bytes, record.log_bytes);
        let change = TotalsChange::between(&before, &record).marked(premises.marking.marked);
        if self.table.apply(change) == Threshold::Crossed {
            committer.notice.give(self.partition.table);
        }
        Ok(Committed { seqs, acknowledgement: Some(acknowledgement) })
    }

    /// The manifest generation of the partition as it is now, and stays while the guard lives; 0 for one that never
    /// had a segment: then there is nothing to look up in segments.
    ///
    /// # Errors
    /// When the backend cannot be read, or the partition's record does not decode.
    pub async fn manifest_generation(&mut self) -> Result<u64> {
        Ok(self.record().await?.manifest_generation)
    }

    /// The partition's record; a partition never written to has the default one. What is in memory is what is stored:
    /// only a guard's holder writes it, and after a failed write nothing is asked of this committer any more (CM-4).
    pub(super) async fn record(&mut self) -> Result<PartitionRecord, StoreError> {
        if let Some(record) = self.stripe.records.get(&self.partition) {
            return Ok(record);
        }
        let key = keys::partition_record_key(self.partition.table, self.partition.user.as_ref());
        let values = self.committer.backend.get_many(Family::Manifest, &[key]).await?;
        decode_record(values.first().and_then(Option::as_ref))
    }
}

fn decode_record(value: Option<&Bytes>) -> Result<PartitionRecord, StoreError> {
    Ok(value.map(|bytes| PartitionRecord::decode(bytes)).transpose()?.unwrap_or_default())
}

/// Decodes a partition's record; an absent one is that of a partition never written to.
///
/// # Errors
/// [`DATA_CORRUPTED`](kalamdb_commons::ErrorCode::DataCorrupted).
pub fn read_record(value: Option<&Bytes>) -> Result<PartitionRecord> {
    Ok(decode_record(value)?)
}

/// The last `_seq` of a partition as a snapshot shows it.
///
/// # Errors
/// When the backend cannot be read.
pub async fn last_seq(snapshot: &dyn Snapshot, partition: &PartitionId) -> Result<Seq> {
    let key = keys::partition_record_key(partition.table, partition.user.as_ref());
    let values = snapshot.get_many(Family::Manifest, &[key]).await?;
    Ok(read_record(values.first().and_then(Option::as_ref))?.last_seq)
}
