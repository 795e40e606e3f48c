//! Queries that take long go on elsewhere.
//!
//! How long a query takes is not known before. Each begins on the threads for statements; once it has been computing for
//! [`LONG`] in all, its plan goes on with the threads for long queries, and what is left where it was waits for its rows. So however many
//! large sorts there are, short statements find their threads free, and the operating system shares the cores out among all.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result as DfResult, internal_datafusion_err};
use datafusion::physical_plan::{RecordBatchStream, SendableRecordBatchStream};
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::scope::{Limits, on_behalf};

/// Time inside the plan from which on a query is a long one: many times what a statement of a few rows takes.
const LONG: Duration = Duration::from_millis(20);
/// Batches on their way between the threads: counted by nobody, so the next is made only when there is a place for it.
const BATCHES: usize = 1;

/// A plan's rows, from wherever it runs.
pub(super) struct Moving {
    schema: SchemaRef,
    threads: Handle,
    /// How long it may compute here.
    limit: Duration,
    busy: Duration,
    rows: Rows,
}

enum Rows {
    Here(SendableRecordBatchStream),
    /// With the task that makes them.
    There(mpsc::Receiver<DfResult<RecordBatch>>, AbortOnDropHandle<()>),
    Over,
}

impl Moving {
    /// The stream of a plan that was just begun; `threads` are those for long queries.
    pub(super) fn new(stream: SendableRecordBatchStream, threads: Handle) -> Self {
        Self::after(LONG, stream, threads)
    }

    fn after(limit: Duration, stream: SendableRecordBatchStream, threads: Handle) -> Self {
        Self { schema: stream.schema(), threads, limit, busy: Duration::ZERO, rows: Rows::Here(stream) }
    }

    fn go_on_there(&mut self, stream: SendableRecordBatchStream) -> Rows {
        let (sender, receiver) = mpsc::channel(BATCHES);
        let task = self.threads.spawn(on_behalf(Limits::of_task(), pump(stream, sender)));
        Rows::There(receiver, AbortOnDropHandle::new(task))
    }
}

/// The plan is dropped before its rows are known to be over: nothing of it is at work then.
async fn pump(mut stream: SendableRecordBatchStream, sender: mpsc::Sender<DfResult<RecordBatch>>) {
    while let Ok(place) = sender.reserve().await {
        let Some(batch) = stream.next().await else { break };
        let is_last = batch.is_err();
        place.send(batch);
        if is_last {
            break;
        }
    }
    drop(stream);
}

impl Stream for Moving {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::mem::replace(&mut self.rows, Rows::Over) {
                Rows::Here(stream) if self.busy >= self.limit => self.rows = self.go_on_there(stream),
                Rows::Here(mut stream) => {
                    let begun = Instant::now();
                    let polled = stream.poll_next_unpin(context);
                    self.busy += begun.elapsed();
                    if !matches!(polled, Poll::Ready(None)) {
                        self.rows = Rows::Here(stream);
                    }
                    // Whoever waits is woken by the plan; nobody would be by this one.
                    if polled.is_ready() || self.busy < self.limit {
                        return polled;
                    }
                }
                Rows::There(mut receiver, mut task) => match receiver.poll_recv(context) {
                    Poll::Pending => {
                        self.rows = Rows::There(receiver, task);
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(batch)) => {
                        self.rows = Rows::There(receiver, task);
                        return Poll::Ready(Some(batch));
                    }
                    // The end of the rows, or of the task alone.
                    Poll::Ready(None) => match task.poll_unpin(context) {
                        Poll::Pending => {
                            self.rows = Rows::There(receiver, task);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(())) => return Poll::Ready(None),
                        Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(lost(&error)))),
                    },
                },
                Rows::Over => return Poll::Ready(None),
            }
        }
    }
}

/// A task that was lost has not told all of its rows.
fn lost(error: &tokio::task::JoinError) -> DataFusionError {
    internal_datafusion_err!("a long query's task was lost: {error}")
}

impl RecordBatchStream for Moving {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread::ThreadId;

    use datafusion::arrow::array::Int64Array;
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
    use parking_lot::Mutex;

    use super::*;

    fn batch(value: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![value]))]).expect("a batch")
    }

    fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
        batches
            .iter()
            .map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().expect("BIGINT").value(0))
            .collect()
    }

    /// Where each batch was made.
    type Places = Arc<Mutex<Vec<ThreadId>>>;

    /// `count` batches, each of which takes `work` and then waits once.
    fn plan(count: i64, work: Duration, fails_at: Option<i64>, places: &Places) -> SendableRecordBatchStream {
        let places = Arc::clone(places);
        let rows = futures::stream::iter(0..count).then(move |value| {
            let places = Arc::clone(&places);
            async move {
                // Where it is begun: by its end the machine may have taken as long as it likes.
                places.lock().push(std::thread::current().id());
                let begun = Instant::now();
                while begun.elapsed() < work {
                    std::hint::spin_loop();
                }
                tokio::task::yield_now().await;
                match fails_at {
                    Some(at) if at == value => Err(DataFusionError::Execution("it fails".to_owned())),
                    _ => Ok(batch(value)),
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), rows))
    }

    /// Threads of their own.
    fn others() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("threads")
    }

    #[test]
    fn a_short_query_stays_and_a_long_one_moves() {
        let (here, there) = (tokio::runtime::Builder::new_current_thread().build().expect("a thread"), others());
        let own = std::thread::current().id();
        for (work, limit, moves) in [(Duration::ZERO, Duration::from_hours(1), false), (LONG / 3, LONG, true)] {
            let places = Places::default();
            let stream = Moving::after(limit, plan(30, work, None, &places), there.handle().clone());
            assert_eq!(stream.schema(), batch(0).schema());
            let rows: Vec<_> = here.block_on(stream.map(|row| row.expect("a row")).collect());
            assert_eq!(numbers(&rows), (0..30).collect::<Vec<_>>(), "each once, in order");
            assert_eq!(places.lock()[0], own);
            assert_eq!(places.lock()[29] != own, moves);
        }
        there.shutdown_background();
    }

    #[test]
    fn an_error_over_there_ends_it_here() {
        let (here, there) = (tokio::runtime::Builder::new_current_thread().build().expect("a thread"), others());
        let stream = Moving::new(plan(30, LONG, Some(9), &Places::default()), there.handle().clone());
        let rows: Vec<_> = here.block_on(stream.collect());
        assert_eq!(rows.len(), 10);
        assert!(rows[9].is_err() && rows[..9].iter().all(Result::is_ok));
        there.shutdown_background();
    }

    #[test]
    fn a_lost_task_is_no_end_of_rows() {
        let (here, there) = (tokio::runtime::Builder::new_current_thread().build().expect("a thread"), others());
        let rows = futures::stream::iter(0..30).then(|value| async move {
            let begun = Instant::now();
            while begun.elapsed() < LONG {
                std::hint::spin_loop();
            }
            assert!(value < 9, "a panic in a plan");
            Ok(batch(value))
        });
        let stream: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(batch(0).schema(), rows));
        let rows: Vec<_> = here.block_on(Moving::new(stream, there.handle().clone()).collect());
        assert_eq!(rows.len(), 10);
        assert!(rows[9].is_err());
        there.shutdown_background();
    }

    #[test]
    fn who_gives_up_here_ends_it_there() {
        let (here, there) = (tokio::runtime::Builder::new_current_thread().build().expect("a thread"), others());
        let places = Places::default();
        let mut stream = Moving::new(plan(i64::MAX, LONG, None, &places), there.handle().clone());
        here.block_on(async {
            for _ in 0..3 {
                assert!(stream.next().await.is_some_and(|row| row.is_ok()));
            }
        });
        drop(stream);
        let deadline = Instant::now() + Duration::from_secs(20);
        while there.metrics().num_alive_tasks() > 0 {
            assert!(Instant::now() < deadline, "the task goes on");
            std::thread::yield_now();
        }
        there.shutdown_background();
    }
}
