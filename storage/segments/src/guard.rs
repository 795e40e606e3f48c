//! The border to the Parquet decoder: damaged bytes are an error that names the segment, whatever they do to it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt as _};
use parquet::errors::ParquetError;

use crate::error::{Result, SegmentError};
use crate::path::SegmentPath;

/// Decodes something of a segment. The decoder checks most of what it reads; where it panics on the rest, that is
/// the same damage.
pub(crate) fn decoding<T>(path: &SegmentPath, decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(outcome) => outcome.map_err(|error| SegmentError::decode(path.as_str(), &error)),
        Err(_) => {
            Err(SegmentError::Damaged { path: path.to_string(), message: "its bytes made the decoder fail".to_owned() })
        }
    }
}

/// How many rows a read should give.
pub(crate) enum ExpectedRows {
    /// So many.
    Given(u64),
    /// Any number, of so many that were tested.
    Tested { rows: u64, tested: Arc<AtomicU64> },
    /// Not more.
    AtMost(u64),
}

impl ExpectedRows {
    /// What is wrong with a read that gave so many.
    fn fault(&self, given: u64) -> Option<String> {
        match self {
            Self::Given(rows) => (given != *rows).then(|| format!("{given} rows were read of it, not {rows}")),
            Self::Tested { rows, tested } => {
                let tested = tested.load(Ordering::Relaxed);
                (tested != *rows).then(|| format!("{tested} rows were looked at in it, not {rows}"))
            }
            Self::AtMost(rows) => (given > *rows).then(|| format!("{given} rows were read of it, not {rows} at most")),
        }
    }
}

/// Batches of a segment, with panics of the decoder as damage; one row fewer or more than there should be is damage too.
pub(crate) fn decoding_stream<S>(
    path: SegmentPath,
    stream: S,
    expected: ExpectedRows,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static
where
    S: Stream<Item = Result<RecordBatch, ParquetError>> + Send + Unpin + 'static,
{
    let guarded = AssertUnwindSafe(stream).catch_unwind();
    futures::stream::unfold(Some((guarded, path, 0_u64, expected)), move |state| async move {
        let (mut guarded, path, rows, expected) = state?;
        let damaged = |message: String| SegmentError::Damaged { path: path.to_string(), message };
        match guarded.next().await {
            Some(Ok(Ok(batch))) => {
                let rows = rows + batch.num_rows() as u64;
                Some((Ok(batch), Some((guarded, path, rows, expected))))
            }
            Some(Ok(Err(error))) => Some((Err(SegmentError::decode(path.as_str(), &error)), None)),
            Some(Err(_)) => Some((Err(damaged("its bytes made the decoder fail".to_owned())), None)),
            None => expected.fault(rows).map(|fault| (Err(damaged(fault)), None)),
        }
    })
}
