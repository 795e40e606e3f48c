//! Stops one of those who come to a place, and counts who passes where.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kalamdb_store::failpoint;
use tokio::sync::watch;

use super::fixture::{Fixture, eventually};

/// See the module.
#[derive(Debug)]
pub(super) struct Barrier {
    place: &'static str,
    /// How many pass before one is stopped.
    pass: usize,
    arrived: AtomicUsize,
    open: watch::Sender<bool>,
    leases: AtomicUsize,
    collections: AtomicUsize,
}

impl Barrier {
    pub(super) fn set(fixture: &Fixture, place: &'static str, pass: usize) -> Arc<Self> {
        let barrier = Arc::new(Self {
            place,
            pass,
            arrived: AtomicUsize::new(0),
            open: watch::Sender::new(false),
            leases: AtomicUsize::new(0),
            collections: AtomicUsize::new(0),
        });
        let reached = Arc::clone(&barrier);
        fixture.runtime.store().committer.set_failpoints(move |place| {
            let barrier = Arc::clone(&reached);
            Box::pin(async move { barrier.reached(place).await })
        });
        barrier
    }

    async fn reached(&self, place: &'static str) {
        if place == failpoint::LEASE_RAISED {
            self.leases.fetch_add(1, Ordering::AcqRel);
        }
        if place == failpoint::COLLECTED {
            self.collections.fetch_add(1, Ordering::AcqRel);
        }
        if place == self.place && self.arrived.fetch_add(1, Ordering::AcqRel) == self.pass {
            let opened = self.open.subscribe().wait_for(|open| *open).await.is_ok();
            assert!(opened, "the barrier is there for as long as its test");
        }
    }

    pub(super) async fn holds_one(&self) {
        eventually("somebody waits", || self.arrived.load(Ordering::Acquire) > self.pass).await;
    }

    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Leases that were raised since.
    pub(super) fn leases(&self) -> usize {
        self.leases.load(Ordering::Acquire)
    }

    /// Waits for a collection of files that begins after this call.
    pub(super) async fn files_are_collected(&self) {
        // The first that ends may have begun before.
        let before = self.collections.load(Ordering::Acquire);
        eventually("files are collected", || self.collections.load(Ordering::Acquire) > before + 1).await;
    }
}

pub(super) fn files_below(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.insert(path.display().to_string());
        }
    }
    found
}
