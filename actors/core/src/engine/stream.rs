//! A SELECT whose rows leave while it runs.
//!
//! It runs in its statement's task like any other, so it keeps the user's place, counts as running, and is called off
//! when the server stops. Time bounds the way to the first chunk, and from then on each wait for the client: one that
//! takes nothing for `server.request_timeout` ends its query. So a snapshot stays pinned only while its answer moves.
//! In memory there are a batch of the plan, the chunk that is being written, and those that were handed over.

use std::sync::Arc;

use datafusion::physical_plan::SendableRecordBatchStream;
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::ast;
use tokio::time::sleep;

use super::context::StatementContext;
use super::errors::from_datafusion;
use super::params::Params;
use super::query::open;
use super::result::{CHUNK_BYTES, Encoder};
use super::scope::{Scope, still_wanted};
use crate::answer::{AnswerFormat, AnswerSink, AnswerStream};

/// A query whose first chunk is on its way.
pub(crate) struct RunningStream {
    scope: Scope,
    chunks: Chunks,
    sink: AnswerSink,
}

/// Runs a query up to its first chunk: what fails until then is an ordinary error.
pub(crate) async fn begin(
    scope: Scope,
    query: ast::Query,
    names: Option<&[String]>,
    params: &Params,
    format: AnswerFormat,
) -> Result<(AnswerStream, RunningStream)> {
    let scope = scope.with_open_end();
    let context = scope.begin(None).await?;
    let started = scope
        .bound(async {
            let first = async {
                let batches = open(&context, query, names, params).await?;
                let encoder = Encoder::new(format, &batches.schema())?;
                let mut chunks = Chunks { context: Arc::clone(&context), batches, encoder, is_over: false };
                let first = chunks.next().await?;
                Ok((chunks, first))
            }
            .await;
            // Which partitions are read is known since planning, and the snapshot is older: once is enough for all rows.
            context.wait_visible().await?;
            first
        })
        .await;
    let (chunks, first) = started?;
    let (sink, stream) = AnswerSink::pair();
    if let Some(first) = first {
        // Into an empty queue.
        sink.send(first).await;
    }
    scope.open_end();
    Ok((stream, RunningStream { scope, chunks, sink }))
}

impl RunningStream {
    /// Runs it to its end, or until its client is gone.
    pub(crate) async fn run(self, request_id: &str) {
        let Self { scope, mut chunks, sink } = self;
        let result = pump(&scope, &mut chunks, &sink).await;
        // Before it is called off: then everything would be.
        let result = result.map_err(|error| scope.while_reopening(error));
        // Whatever still works for it elsewhere has no deadline any more.
        scope.call_off();
        // What the statement held goes before its end is known.
        drop(chunks);
        if let Err(error) = &result {
            tracing::debug!(request_id, statement = 0, code = %error.code, "statement failed in the middle of its answer");
        }
        sink.end(result);
    }
}

async fn pump(scope: &Scope, chunks: &mut Chunks, sink: &AnswerSink) -> Result<()> {
    loop {
        let next = tokio::select! {
            next = scope.bound(chunks.next()) => next?,
            () = sink.gone() => {
                scope.call_off();
                return Ok(());
            }
        };
        let Some(chunk) = next else { return Ok(()) };
        let taken = tokio::select! {
            taken = sink.send(chunk) => taken,
            error = scope.limits().called_off() => return Err(error),
            () = sleep(scope.runtime.settings().server.request_timeout) => {
                let message = "the client took nothing of the answer for server.request_timeout";
                return Err(Error::new(ErrorCode::Timeout, message));
            }
        };
        if !taken {
            scope.call_off();
            return Ok(());
        }
    }
}

/// The result in pieces.
struct Chunks {
    context: Arc<StatementContext>,
    batches: SendableRecordBatchStream,
    encoder: Encoder,
    is_over: bool,
}

impl Chunks {
    /// The next one; none after the last.
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if self.encoder.fill()? {
                return Ok(Some(self.encoder.take_chunk()));
            }
            if self.is_over {
                return Ok(None);
            }
            still_wanted()?;
            match self.batches.try_next().await.map_err(from_datafusion)? {
                Some(batch) => {
                    // With its copy, and chunks that the client has not taken.
                    let bytes = 2 * batch.get_array_memory_size() + 4 * CHUNK_BYTES;
                    self.context.results.try_resize(bytes).map_err(from_datafusion)?;
                    self.encoder.put(batch)?;
                }
                None => {
                    self.is_over = true;
                    self.encoder.finish()?;
                    let last = self.encoder.take_chunk();
                    return Ok(Some(last).filter(|last| !last.is_empty()));
                }
            }
        }
    }
}

impl std::fmt::Debug for RunningStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningStream").field("sink", &self.sink).finish_non_exhaustive()
    }
}
