//! Files that a flush or compaction is about to write (FL-2, FL-4).
//!
//! Each file has a record of its own, on disk before the first byte of the file. It goes in the batch by which the
//! manifest, or the garbage list, takes the file over. What is left when its writer is gone is to be deleted, and
//! nothing else is: no directory is ever searched for files that nobody knows.

use kalamdb_commons::{Error, Result};

use super::{Committer, FlushError, Lease};
use crate::backend::Batch;
use crate::codec::files::{PendingFiles, StoredFile};
use crate::failpoint;
use crate::files::{self, PendingRecord};

/// A file that may be written now. While this is held its lease is.
#[derive(Debug)]
pub struct PendingFile {
    lease: Lease,
    file: StoredFile,
    number: u32,
}

impl PendingFile {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &StoredFile {
        &self.file
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    fn record(&self) -> PendingRecord {
        PendingRecord {
            table: self.lease.table(),
            number: self.number,
            pending: PendingFiles { lease_generation: self.lease.generation(), files: vec![self.file.clone()] },
        }
    }

    /// Takes the record away: with the batch that takes the file over.
    pub(super) fn take_over(&self, batch: &mut Batch) {
        files::delete_pending(batch, &self.record());
    }
}

impl Committer {
    /// Records files that are about to be written, all with one sync; on return they may be.
    ///
    /// # Errors
    /// [`FlushError::LeaseLost`] when they could not be committed any more; nothing is recorded then.
    /// [`FlushError::Refused`] when the backend cannot be written.
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn record_pending(&self, lease: &Lease, files: Vec<StoredFile>) -> Result<Vec<PendingFile>, FlushError> {
        self.reach(failpoint::BEFORE_PENDING).await;
        let table = self.table(lease.table());
        let mut pending = Vec::with_capacity(files.len());
        let mut batch = Batch::new();
        for file in files {
            let number = lease.next_number().ok_or_else(|| Error::internal("too many files under one lease"))?;
            let file = PendingFile { lease: lease.clone(), file, number };
            files::put_pending(&mut batch, &file.record());
            pending.push(file);
        }
        if batch.is_empty() {
            return Ok(pending);
        }
        let acknowledgement = {
            let _writer = self.writer.lock().await;
            self.check_writable()?;
            self.check_lease(&table, lease)?;
            self.write_next(batch).await?
        };
        self.wait_durable(acknowledgement).await?;
        self.reach(failpoint::AFTER_PENDING).await;
        Ok(pending)
    }

    /// The pending files that nobody writes and nobody can commit any more: exactly those that are to be deleted.
    /// [Forget](Self::forget_pending) them when they are.
    ///
    /// # Errors
    /// When the backend cannot be read, or a record does not decode.
    pub async fn unowned_pending(&self) -> Result<Vec<PendingRecord>> {
        let snapshot = self.backend.snapshot().await?;
        let mut unowned = files::pending(snapshot.as_ref()).await?;
        self.reach(failpoint::PENDING_LISTED).await;
        unowned.retain(|record| !self.leases.contains(record.table, record.pending.lease_generation));
        if unowned.is_empty() {
            return Ok(unowned);
        }
        // One of them may have been committed since the snapshot, and its lease let go. Nobody commits under a lease
        // that nobody holds, so those that are listed still will never be.
        let snapshot = self.backend.snapshot().await?;
        let listed = files::pending(snapshot.as_ref()).await?;
        unowned.retain(|record| listed.contains(record));
        // A commit whose fate is not known has let go its lease, too, and may be found done when the store is opened again.
        self.check_writable()?;
        Ok(unowned)
    }

    /// Forgets pending files that do not exist any more, or never did.
    ///
    /// # Errors
    /// [`ErrorCode::StorageUnavailable`](kalamdb_commons::ErrorCode::StorageUnavailable).
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn forget_pending(&self, records: &[PendingRecord]) -> Result<()> {
        let mut batch = Batch::new();
        for record in records {
            files::delete_pending(&mut batch, record);
        }
        self.write_unwaited(batch).await
    }
}
