//! The hot part of a scan: chunks of a key range of the statement's snapshot.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use futures::stream::{self, Stream};
use kalamdb_commons::Result;
use kalamdb_store::backend::{Direction, KeyRange, ScanRequest};

use super::decode::{RowDecoder, StoredRow, Tombstones};
use super::exec::{Progress, ScanArgs};

/// The first chunk is small: most reads want few rows, and so many are read on the calling thread.
const FIRST_CHUNK_ROWS: usize = 256;
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 1 << 20;

struct HotRows {
    args: Arc<ScanArgs>,
    progress: Arc<Progress>,
    decoder: RowDecoder,
    rest: Option<KeyRange>,
    chunk_rows: usize,
}

/// The rows, chunk by chunk.
pub(super) fn hot_batches(
    args: Arc<ScanArgs>,
    progress: Arc<Progress>,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let deleted = if args.with_deleted { Tombstones::Since(args.context.deleted_since()) } else { Tombstones::None };
    // Without conditions every row that is read is one that was asked for.
    let first = if args.filter.is_empty() { args.limit.unwrap_or(FIRST_CHUNK_ROWS) } else { FIRST_CHUNK_ROWS };
    let rows = HotRows {
        decoder: RowDecoder::new(Arc::clone(&args.entry), args.columns.clone(), Arc::clone(&args.schema), deleted)
            .younger_than(args.context.expired_before(&args.entry)),
        rest: args.range.range.clone(),
        chunk_rows: first.clamp(1, FIRST_CHUNK_ROWS),
        args,
        progress,
    };
    stream::try_unfold(rows, HotRows::next)
}

impl HotRows {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            let left = self.progress.left();
            let Some(range) = self.rest.take().filter(|_| left > 0) else { return Ok(None) };
            let request =
                ScanRequest { range, direction: Direction::Forward, limit: self.chunk_rows, max_bytes: CHUNK_BYTES };
            let chunk = self.args.context.rows_of(self.args.entry.table_type())?.scan(request).await?;
            self.chunk_rows = CHUNK_ROWS;
            self.progress.found_hot(chunk.entries.len());
            let prefix_len = self.args.range.prefix_len;
            let rows = chunk.entries.iter().map(|(key, value)| (key.get(prefix_len..).unwrap_or_default(), value));
            let batch = self.batch(rows, left)?;
            self.progress.deliver(batch.num_rows());
            self.rest = chunk.rest;
            if batch.num_rows() > 0 {
                return Ok(Some((batch, self)));
            }
        }
    }

    /// Of some stored rows those that are to be shown and meet the conditions, `most` at most. Of a row that does not meet
    /// them no more is decoded than what they look at.
    fn batch<'r>(&mut self, stored: impl Iterator<Item = (&'r [u8], &'r [u8])>, most: usize) -> Result<RecordBatch> {
        let filter = &self.args.filter;
        if filter.is_empty() {
            return self.decoder.decode(stored, most);
        }
        let rows = self.decoder.shown(stored, usize::MAX)?;
        let met = filter.matches(&self.decoder.batch_of(filter.columns(), filter.schema(), &rows)?)?;
        let rows: Vec<StoredRow<'_>> =
            rows.into_iter().zip(&met).filter(|(_, met)| *met == Some(true)).map(|(row, _)| row).take(most).collect();
        self.decoder.batch(&rows)
    }
}
