//! The border to the Parquet decoder: damaged bytes are an error that names the segment, whatever they do to it.

use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// Batches of a segment, with panics of the decoder as damage; one row fewer or more than there should be is damage too.
pub(crate) fn decoding_stream<S>(
    path: SegmentPath,
    stream: S,
    expected_rows: u64,
) -> impl Stream<Item = Result<RecordBatch>> + Send + 'static
where
    S: Stream<Item = Result<RecordBatch, ParquetError>> + Send + Unpin + 'static,
{
    let guarded = AssertUnwindSafe(stream).catch_unwind();
    futures::stream::unfold(Some((guarded, path, 0_u64)), move |state| async move {
        let (mut guarded, path, rows) = state?;
        let damaged = |message: String| SegmentError::Damaged { path: path.to_string(), message };
        match guarded.next().await {
            Some(Ok(Ok(batch))) => {
                let rows = rows + batch.num_rows() as u64;
                Some((Ok(batch), Some((guarded, path, rows))))
            }
            Some(Ok(Err(error))) => Some((Err(SegmentError::decode(path.as_str(), &error)), None)),
            Some(Err(_)) => Some((Err(damaged("its bytes made the decoder fail".to_owned())), None)),
            None if rows == expected_rows => None,
            None => Some((Err(damaged(format!("{rows} rows were read of it, not {expected_rows}"))), None)),
        }
    })
}
