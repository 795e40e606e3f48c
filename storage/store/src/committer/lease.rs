//! The right to commit flushes and compactions of a table (FL-3).
//!
//! Raised at the start of each, on disk before the call returns. A flush that outlived its actor holds an older one,
//! and is refused. A lease is held for as long as a clone of it is, whether it is the current one or not, and also when
//! the store was closed and opened again meanwhile: whoever holds it may still be writing files, and those are not to be
//! deleted under its hands (FL-4).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use kalamdb_commons::{Error, ErrorCode, Family, Result, TableId};
use parking_lot::Mutex;

use super::table::Table;
use super::{Committer, FlushError};
use crate::backend::Batch;
use crate::codec::meta::FlushLease;
use crate::codec::system;

/// Leases that somebody holds, by how many: one of a store that failed may have the number of a later one.
#[derive(Debug, Default)]
pub(super) struct HeldLeases(Mutex<HashMap<(TableId, u64), usize>>);

impl HeldLeases {
    pub(super) fn contains(&self, table: TableId, generation: u64) -> bool {
        self.0.lock().contains_key(&(table, generation))
    }

    fn add(&self, table: TableId, generation: u64) {
        *self.0.lock().entry((table, generation)).or_default() += 1;
    }

    fn remove(&self, table: TableId, generation: u64) {
        let mut held = self.0.lock();
        if let Some(count) = held.get_mut(&(table, generation)) {
            *count -= 1;
            if *count == 0 {
                held.remove(&(table, generation));
            }
        }
    }
}

/// Tells the leases of one committer from those of the one before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Issuer(Arc<()>);

impl Issuer {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// See the module. Clones are one lease.
#[derive(Debug, Clone)]
pub struct Lease(Arc<Held>);

#[derive(Debug)]
struct Held {
    table: TableId,
    generation: u64,
    /// Numbers of pending records that were given.
    numbers: AtomicU32,
    issuer: Issuer,
    leases: Arc<HeldLeases>,
}

impl Lease {
    /// Whose.
    #[must_use]
    pub fn table(&self) -> TableId {
        self.0.table
    }

    /// Counts from 1 for each table.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Whether both are the same one.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The number of the next pending record; none after the last of four thousand million.
    pub(super) fn next_number(&self) -> Option<u32> {
        self.0.numbers.fetch_update(Ordering::AcqRel, Ordering::Acquire, |number| number.checked_add(1)).ok()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.leases.remove(self.table, self.generation);
    }
}

impl Committer {
    /// Raises a table's lease: whoever held it before commits nothing any more.
    ///
    /// # Errors
    /// [`ErrorCode::TableNotFound`] for a table that is not in the catalog (any more);
    /// [`ErrorCode::StorageUnavailable`].
    ///
    /// # Cancel safety
    /// Not safe: run it in a task that ends by itself.
    pub async fn raise_lease(&self, table: TableId, now: i64) -> Result<Lease> {
        let (lease, acknowledgement) = {
            let _writer = self.writer.lock().await;
            self.check_writable()?;
            let keys = [system::table(table), system::flush_lease(table)];
            let values = self.backend.get_many(Family::System, &keys).await?;
            let stored = |at: usize| values.get(at).and_then(Option::as_ref);
            if stored(0).is_none() {
                return Err(Error::new(ErrorCode::TableNotFound, "the table was dropped"));
            }
            let last =
                stored(1).map(|bytes| FlushLease::decode(bytes)).transpose()?.map_or(0, |lease| lease.generation);
            let generation = last + 1;
            let mut batch = Batch::new();
            let record = FlushLease { generation, started_at: now };
            batch.put(Family::System, system::flush_lease(table), record.encode());
            let acknowledgement = self.write_next(batch).await?;
            self.leases.add(table, generation);
            let (leases, issuer) = (Arc::clone(&self.leases), self.issuer.clone());
            let lease = Lease(Arc::new(Held { table, generation, numbers: AtomicU32::new(0), issuer, leases }));
            self.table(table).lease.store(generation, Ordering::Release);
            (lease, acknowledgement)
        };
        self.wait_durable(acknowledgement).await?;
        Ok(lease)
    }

    /// That a lease is the current one of its table. Certain only with the writer held.
    pub(super) fn check_lease(&self, table: &Table, lease: &Lease) -> Result<(), FlushError> {
        // One of a store that was closed may have the same number.
        let ours = lease.0.issuer.is(&self.issuer);
        let current = table.lease.load(Ordering::Acquire) == lease.generation();
        if ours && current { Ok(()) } else { Err(FlushError::LeaseLost) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_given_twice_is_held_until_both_are_let_go() {
        let leases = HeldLeases::default();
        leases.add(TableId(1), 5);
        leases.add(TableId(1), 5);
        leases.remove(TableId(1), 5);
        assert!(leases.contains(TableId(1), 5) && !leases.contains(TableId(2), 5));
        leases.remove(TableId(1), 5);
        assert!(!leases.contains(TableId(1), 5));
    }
}
