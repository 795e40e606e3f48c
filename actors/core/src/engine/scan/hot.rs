//! The hot part of a scan: chunks of a key range of the statement's snapshot.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use futures::stream::{self, Stream};
use kalamdb_commons::Result;
use kalamdb_store::backend::{Direction, KeyRange, ScanRequest};

use super::decode::{RowDecoder, Tombstones};
use super::exec::{Progress, ScanArgs};
use super::filter::BatchFilter;

/// The first chunk is small: most reads want few rows, and so many are read on the calling thread.
const FIRST_CHUNK_ROWS: usize = 256;
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 1 << 20;

struct HotRows {
    args: Arc<ScanArgs>,
    progress: Arc<Progress>,
    decoder: RowDecoder,
    filter: BatchFilter,
    rest: Option<KeyRange>,
    chunk_rows: usize,
}

/// The rows, chunk by chunk.
pub(super) fn hot_batches(
    args: Arc<ScanArgs>,
    progress: Arc<Progress>,
) -> DfResult<impl Stream<Item = Result<RecordBatch>> + Send> {
    let deleted = if args.with_deleted { Tombstones::Since(args.context.deleted_since()) } else { Tombstones::None };
    let (columns, schema) = args.filter.read_columns(&args.columns, &args.schema);
    let filter = args.filter.on_batches(&schema)?;
    // Without conditions every row that is read is one that was asked for.
    let first = if args.filter.is_empty() { args.limit.unwrap_or(FIRST_CHUNK_ROWS) } else { FIRST_CHUNK_ROWS };
    let rows = HotRows {
        decoder: RowDecoder::new(Arc::clone(&args.entry), columns, schema, deleted)
            .younger_than(args.context.expired_before(&args.entry)),
        filter,
        rest: args.range.range.clone(),
        chunk_rows: first.clamp(1, FIRST_CHUNK_ROWS),
        args,
        progress,
    };
    Ok(stream::try_unfold(rows, HotRows::next))
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
            let rows =
                chunk.entries.iter().map(|(key, value)| (key.get(prefix_len..).unwrap_or_default(), value.as_ref()));
            let most = if self.args.filter.is_empty() { left } else { usize::MAX };
            let batch = self.filter.apply(self.decoder.decode(rows, most)?)?;
            let batch = self.args.output(&batch.slice(0, batch.num_rows().min(left)))?;
            self.progress.deliver(batch.num_rows());
            self.rest = chunk.rest;
            if batch.num_rows() > 0 {
                return Ok(Some((batch, self)));
            }
        }
    }
}
