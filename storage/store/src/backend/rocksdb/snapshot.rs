//! Reading at one instant.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use kalamdb_commons::Family;

use super::shared::{Pin, Shared};
use super::threads::Threads;
use super::{KeysRead, SHORT_READ, read};
use crate::StoreError;
use crate::backend::{ScanChunk, ScanRequest, Snapshot};

/// Given back when the last holder drops it, and by closing at the latest.
#[derive(Debug)]
pub(super) struct RocksDbSnapshot {
    view: Arc<View>,
    threads: Arc<Threads>,
}

/// What a blocking thread needs of a snapshot; the snapshot lives as long as such work runs.
#[derive(Debug)]
struct View {
    shared: Arc<Shared>,
    pin: Pin,
    keys_read: KeysRead,
}

impl Drop for View {
    fn drop(&mut self) {
        self.shared.unpin(&self.pin);
    }
}

impl View {
    fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.keys_read.fetch_add(keys.len() as u64, Ordering::Relaxed);
        self.shared.with_pin(&self.pin, |database, snapshot| read::get_many(database, Some(snapshot), family, keys))
    }

    fn scan(&self, request: &ScanRequest) -> Result<ScanChunk, StoreError> {
        self.shared.with_pin(&self.pin, |database, snapshot| read::scan(database, snapshot, request, &self.keys_read))
    }
}

impl RocksDbSnapshot {
    pub(super) fn new(shared: Arc<Shared>, threads: Arc<Threads>, pin: Pin) -> Self {
        Self { view: Arc::new(View { shared, pin, keys_read: KeysRead::new(0) }), threads }
    }
}

#[async_trait]
impl Snapshot for RocksDbSnapshot {
    async fn get_many(&self, family: Family, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if keys.len() <= SHORT_READ {
            return self.view.get_many(family, keys);
        }
        let (view, keys) = (Arc::clone(&self.view), keys.to_vec());
        self.threads.read("read", move || view.get_many(family, &keys)).await
    }

    async fn scan(&self, request: ScanRequest) -> Result<ScanChunk, StoreError> {
        if request.limit <= SHORT_READ {
            return self.view.scan(&request);
        }
        let view = Arc::clone(&self.view);
        self.threads.read("scan", move || view.scan(&request)).await
    }

    fn keys_read(&self) -> u64 {
        self.view.keys_read.load(Ordering::Relaxed)
    }
}
