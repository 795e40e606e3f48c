//! A segment's bytes as the Parquet readers ask for them, with a count of what was read.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use crate::checksum::Checksums;
use crate::error::SegmentError;
use crate::path::SegmentPath;
use crate::storage::SegmentStorage;

/// How much was read from storage.
#[derive(Debug, Default)]
pub struct ReadCounters {
    ranges: AtomicU64,
    bytes: AtomicU64,
    rows: AtomicU64,
}

impl ReadCounters {
    /// Stretches of a file: pages where rows were selected, else whole columns of row groups.
    #[must_use]
    pub fn ranges(&self) -> u64 {
        self.ranges.load(Ordering::Relaxed)
    }

    /// Bytes, those that were read beside for their checksums too.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Rows of scans that key ranges, delete marks and statistics left to be looked at.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(crate) fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    fn add(&self, ranges: &[Range<u64>], blocks: &[Range<u64>]) {
        let bytes = blocks.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        self.ranges.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// An [`AsyncFileReader`] of one segment, whose footer is in memory.
#[derive(Debug, Clone)]
pub struct SegmentSource {
    storage: Arc<dyn SegmentStorage>,
    path: SegmentPath,
    metadata: Arc<ParquetMetaData>,
    checksums: Arc<Checksums>,
    counters: Arc<ReadCounters>,
    gives_way: bool,
}

impl SegmentSource {
    pub(crate) fn new(
        storage: Arc<dyn SegmentStorage>,
        path: SegmentPath,
        metadata: Arc<ParquetMetaData>,
        checksums: Arc<Checksums>,
    ) -> Self {
        Self { storage, path, metadata, checksums, counters: Arc::default(), gives_way: true }
    }

    /// The same, counting there.
    pub(crate) fn with_counters(self, counters: Arc<ReadCounters>) -> Self {
        Self { counters, ..self }
    }

    /// Does not give way after each read: for a reader of a few pages.
    pub(crate) fn for_few(self) -> Self {
        Self { gives_way: false, ..self }
    }

    /// What was read through this source and its clones.
    #[must_use]
    pub fn counters(&self) -> &Arc<ReadCounters> {
        &self.counters
    }
}

impl AsyncFileReader for SegmentSource {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move {
            let mut read = self.get_byte_ranges(vec![range]).await?;
            read.pop().ok_or_else(|| ParquetError::General("a read gave nothing".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let damaged = |message: String| SegmentError::Damaged { path: self.path.to_string(), message };
            let blocks = self.checksums.blocks_of(&ranges).map_err(damaged)?;
            self.counters.add(&ranges, &blocks);
            let mut reading = self.storage.read(&self.path, &blocks);
            let read = match futures::poll!(reading.as_mut()) {
                Poll::Ready(read) => {
                    if self.gives_way {
                        // Where nothing has to be waited for, and no row may come of it, whoever waits for a turn, or for
                        // the end of this one's time, would wait for the whole scan.
                        tokio::task::yield_now().await;
                    }
                    read
                }
                Poll::Pending => reading.await,
            }?;
            Ok(self.checksums.verified(&ranges, &blocks, &read).map_err(damaged)?)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move { Ok(Arc::clone(&self.metadata)) }.boxed()
    }
}
