//! Answers that leave while their query still runs: chunks of an encoded result on their way from the statement's task
//! to the door, through a queue of one.
//!
//! What always holds: an answer whose task ended without saying so ends with an error, never as if it were whole.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use kalamdb_commons::{Error, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How a streamed result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFormat {
    /// One JSON object per line.
    Ndjson,
    /// RFC 4180, with a header.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

/// Chunks that nobody has taken yet, beside the one that is being written.
const QUEUED_CHUNKS: usize = 1;

#[derive(Debug, Default)]
struct Ending {
    result: OnceLock<Result<()>>,
    over: CancellationToken,
}

/// The result of one SELECT, chunk by chunk; dropping it ends the query. An error is the last item.
#[derive(Debug)]
pub struct AnswerStream {
    chunks: mpsc::Receiver<Bytes>,
    ending: Arc<Ending>,
    is_over: bool,
}

impl AnswerStream {
    /// Cancelled when the query has ended, whether its last chunks were taken or not.
    #[must_use]
    pub fn over(&self) -> CancellationToken {
        self.ending.over.clone()
    }
}

impl Stream for AnswerStream {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(chunk) = ready!(self.chunks.poll_recv(context)) {
            return Poll::Ready(Some(Ok(chunk)));
        }
        self.is_over = true;
        let result = self.ending.result.get_or_init(|| Err(lost()));
        Poll::Ready(result.as_ref().err().map(|error| Err(error.clone())))
    }
}

fn lost() -> Error {
    Error::internal("a statement's task ended in the middle of its answer")
}

/// The task's end.
#[derive(Debug)]
pub(crate) struct AnswerSink {
    chunks: mpsc::Sender<Bytes>,
    ending: Arc<Ending>,
}

impl AnswerSink {
    /// Both ends.
    pub(crate) fn pair() -> (Self, AnswerStream) {
        let (sender, receiver) = mpsc::channel(QUEUED_CHUNKS);
        let ending = Arc::new(Ending::default());
        let stream = AnswerStream { chunks: receiver, ending: Arc::clone(&ending), is_over: false };
        (Self { chunks: sender, ending }, stream)
    }

    /// Waits for room; `false` if the client is gone.
    pub(crate) async fn send(&self, chunk: Vec<u8>) -> bool {
        self.chunks.send(chunk.into()).await.is_ok()
    }

    /// Waits until the client is gone.
    pub(crate) async fn gone(&self) {
        self.chunks.closed().await;
    }

    /// Says how it ended.
    pub(crate) fn end(self, result: Result<()>) {
        // Set once: nobody else does before this is dropped.
        let _ = self.ending.result.set(result);
    }
}

impl Drop for AnswerSink {
    fn drop(&mut self) {
        let _ = self.ending.result.get_or_init(|| Err(lost()));
        self.ending.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use kalamdb_commons::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn a_task_that_is_lost_breaks_its_answer() {
        let (sink, mut stream) = AnswerSink::pair();
        assert!(sink.send(b"a".to_vec()).await);
        drop(sink);
        assert!(stream.over().is_cancelled());
        assert_eq!(stream.next().await.and_then(Result::ok).as_deref(), Some(&b"a"[..]));
        assert_eq!(stream.next().await.and_then(Result::err).map(|error| error.code), Some(ErrorCode::Internal));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_whole_answer_ends_and_a_client_that_left_is_noticed() {
        let (sink, mut stream) = AnswerSink::pair();
        sink.end(Ok(()));
        assert!(stream.next().await.is_none() && stream.over().is_cancelled());
        let (sink, stream) = AnswerSink::pair();
        drop(stream);
        sink.gone().await;
        assert!(!sink.send(Vec::new()).await);
    }
}
