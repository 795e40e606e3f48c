//! The open database as backend and snapshots share it, and how it is closed under them.
//!
//! Every operation holds the read side of one lock while it runs, and never across an `await`; closing
//! takes the write side. Snapshots are held here, and lent to those who asked for them, so that one
//! which somebody forgot cannot keep the directory locked.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use rocksdb::SnapshotWithThreadMode;
use self_cell::self_cell;

use super::database::Database;
use super::write;
use crate::StoreError;

/// RocksDB's snapshot; borrows its database.
pub(super) type RawSnapshot<'a> = SnapshotWithThreadMode<'a, rocksdb::DB>;

self_cell!(
    /// A snapshot with a hold on its database.
    pub(super) struct Pinned {
        owner: Arc<Database>,

        #[covariant]
        dependent: RawSnapshot,
    }
);

impl Pinned {
    fn new_of(database: &Arc<Database>) -> Self {
        Self::new(Arc::clone(database), |database| database.db.snapshot())
    }
}

/// What a snapshot keeps: its number in the register, and a way to the register's entry.
#[derive(Debug)]
pub(super) struct Pin {
    id: u64,
    pinned: Weak<Pinned>,
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Pinned").field(&self.borrow_dependent().sequence_number()).finish()
    }
}

#[derive(Debug, Default)]
struct Register {
    next: u64,
    pinned: HashMap<u64, Arc<Pinned>>,
}

/// Fields are dropped in order: no snapshot outlives its database.
#[derive(Debug)]
struct Open {
    snapshots: Mutex<Register>,
    database: Arc<Database>,
}

/// The database, as long as it is open.
#[derive(Debug)]
pub(super) struct Shared {
    /// Set before closing waits, so that newcomers are turned away and not queued.
    closing: AtomicBool,
    open: RwLock<Option<Open>>,
}

impl Shared {
    pub(super) fn new(database: Database) -> Self {
        let open = Open { snapshots: Mutex::default(), database: Arc::new(database) };
        Self { closing: AtomicBool::new(false), open: RwLock::new(Some(open)) }
    }

    fn while_open<T>(&self, work: impl FnOnce(&Open) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        // Whoever finds it locked has met the close: nobody waits for that.
        let open = self.open.try_read().ok_or(StoreError::Closed)?;
        work(open.as_ref().ok_or(StoreError::Closed)?)
    }

    /// Runs an operation that closing waits for. Not to be nested.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.while_open(|open| work(&open.database))
    }

    /// As [`with`](Self::with), at a snapshot.
    pub(super) fn with_pin<T>(
        &self,
        pin: &Pin,
        work: impl FnOnce(&Database, &RawSnapshot<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.while_open(|_| {
            let pinned = pin.pinned.upgrade().ok_or(StoreError::Closed)?;
            work(pinned.borrow_owner(), pinned.borrow_dependent())
        })
    }

    /// Takes a snapshot.
    pub(super) fn pin(&self) -> Result<Pin, StoreError> {
        self.while_open(|open| {
            let pinned = Arc::new(Pinned::new_of(&open.database));
            let mut register = open.snapshots.lock();
            let id = register.next;
            register.next += 1;
            let weak = Arc::downgrade(&pinned);
            register.pinned.insert(id, pinned);
            Ok(Pin { id, pinned: weak })
        })
    }

    /// Gives a snapshot back.
    pub(super) fn unpin(&self, pin: &Pin) {
        // Dropped in here, where closing waits for it: it holds the database. An error means that closing
        // has released it, or will.
        let _ = self.while_open(|open| {
            let released = open.snapshots.lock().pinned.remove(&pin.id);
            drop(released);
            Ok(())
        });
    }

    /// Waits for running operations, syncs, closes the files. They are closed on an error too.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        if self.closing.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Closed);
        }
        let Some(Open { snapshots, database }) = self.open.write().take() else {
            return Err(StoreError::Closed);
        };
        let synced = write::sync(&database);
        database.db.cancel_all_background_work(true);
        drop(snapshots);
        debug_assert_eq!(Arc::strong_count(&database), 1, "only running operations hold the database");
        drop(database);
        synced
    }
}
