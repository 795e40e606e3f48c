//! How a subscription gets from where it begins to where its actor is: the snapshot or the past first, as fast as the
//! client reads, then the actor.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use kalamdb_commons::{Error, ErrorCode, Seq};
use kalamdb_store::{LogPage, PartitionReader};
use kalamdb_wire::{CloseReason, ServerFrame, SubscribeOptions, initial_frames};

use crate::connection::LiveCaller;
use crate::feed::ending;
use crate::hub::LiveHub;
use crate::outbox::Ended;
use crate::source::LiveSnapshot;
use crate::subscription::{Member, Subscription};

/// Bytes of the log read at a time.
const PAGE_BYTES: usize = 256 << 10;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what happens from now on.
    Now,
    /// With the rows changed last.
    LastRows(u64),
    /// With everything after a number; if that is no longer there, with rows, where asked for.
    FromSeq(u64, Option<u64>),
    /// Where it was: its actor was lost.
    Again(Seq),
}

impl Start {
    pub(crate) fn of(options: &SubscribeOptions) -> Self {
        match (options.from_seq, options.last_rows) {
            (Some(seq), last_rows) => Self::FromSeq(seq, last_rows),
            (None, Some(rows)) => Self::LastRows(rows),
            (None, None) => Self::Now,
        }
    }
}

/// Why a subscription was not brought to its actor.
enum Stop {
    /// It has ended meanwhile.
    Ended,
    /// It was refused before it began.
    Refused(Error),
    /// It ends for this.
    Failed(CloseReason, Error),
    /// It ends for what has become of its table.
    Closed(CloseReason),
    /// The client reads more slowly than its partition's log is trimmed.
    Slow,
}

impl From<Ended> for Stop {
    fn from(_: Ended) -> Self {
        Self::Ended
    }
}

/// Brings a subscription to its actor; whatever is in the way is told to the client.
pub(crate) async fn feed(hub: &Arc<LiveHub>, caller: &LiveCaller, subscription: Arc<Subscription>, start: Start) {
    let feeder = Feeder { hub, caller, reader: hub.source.reader(&subscription.query), subscription };
    match feeder.run(start).await {
        Ok(()) | Err(Stop::Ended) => {}
        Err(Stop::Refused(error)) => {
            let subscription = &feeder.subscription;
            let query_id = subscription.request.query_id.as_str();
            if subscription.end() {
                subscription.outbox.answer(&ServerFrame::error(Some(query_id), &error)).await;
            }
        }
        Err(Stop::Closed(reason)) => feeder.subscription.close(reason),
        Err(Stop::Slow) => feeder.subscription.cut_off(),
        Err(Stop::Failed(reason, error)) => {
            if reason == CloseReason::Internal {
                let detail = error.detail.as_deref().unwrap_or(&error.message);
                tracing::error!(live_id = %feeder.subscription.live_id, detail, "a live query ended");
            }
            feeder.subscription.fail(reason, &error);
        }
    }
}

struct Feeder<'a> {
    hub: &'a Arc<LiveHub>,
    caller: &'a LiveCaller,
    subscription: Arc<Subscription>,
    reader: Arc<dyn PartitionReader>,
}

impl Feeder<'_> {
    async fn run(&self, start: Start) -> Result<(), Stop> {
        let after = match start {
            Start::Now => {
                let seq = self.reader.coverage().await.map_err(Stop::Refused)?.end;
                self.begin(seq, false, Some(seq)).await?;
                seq
            }
            Start::LastRows(rows) => self.snapshot(rows).await?,
            Start::FromSeq(seq, last_rows) => {
                let seq = Seq(seq);
                match (self.first_page(seq).await?, last_rows) {
                    (Some(first), _) => {
                        self.hub.replays.fetch_add(1, Ordering::Relaxed);
                        self.begin(seq, true, Some(seq)).await?;
                        self.catch_up(seq, first).await?
                    }
                    (None, Some(rows)) => self.snapshot(rows).await?,
                    (None, None) => {
                        return Err(Stop::Refused(Error::new(
                            ErrorCode::ResumeTooOld,
                            "the change log of this partition does not reach from that number to now: begin with last_rows",
                        )));
                    }
                }
            }
            Start::Again(seq) => self.catch_up(seq, None).await?,
        };
        self.attach(after).await
    }

    async fn begin(&self, seq: Seq, resumed: bool, bookmark: Option<Seq>) -> Result<(), Stop> {
        let subscription = &self.subscription;
        let frame = ServerFrame::Subscribed {
            query_id: &subscription.request.query_id,
            subscription_id: &subscription.live_id,
            columns: &subscription.query.columns,
            seq: seq.0,
            resumed,
        };
        Ok(subscription.outbox.tell(subscription.key, &frame, bookmark).await?)
    }

    async fn snapshot(&self, rows: u64) -> Result<Seq, Stop> {
        let subscription = &self.subscription;
        let request = &subscription.request;
        let found = self.hub.source.last_rows(self.caller, request, &subscription.query, rows).await;
        let LiveSnapshot { rows, keys, seq, memory } = match found {
            Ok(snapshot) => snapshot,
            Err(error) if is_of_query(&error) => {
                let seq = self.reader.coverage().await.map_err(Stop::Refused)?.end;
                self.begin(seq, false, None).await?;
                return Err(Stop::Failed(CloseReason::Error, error));
            }
            Err(error) => return Err(Stop::Refused(error)),
        };
        self.begin(seq, false, None).await?;
        let batch = request.options.batch_size.map_or(usize::MAX, |rows| usize::try_from(rows).unwrap_or(usize::MAX));
        let frames = initial_frames(&rows, &keys, seq.0, batch, self.hub.evaluator.max_frame_bytes, true);
        drop((rows, keys));
        subscription.replay(frames).await?;
        drop(memory);
        self.catch_up(seq, None).await
    }

    /// Where the log reaches from `seq` to now: its first entries with the number that they are read up to, if there is anything yet.
    /// Read before the subscription has begun: what is trimmed until then is nobody's slowness.
    async fn first_page(&self, seq: Seq) -> Result<Option<Option<(Seq, LogPage)>>, Stop> {
        if !self.reader.coverage().await.map_err(Stop::Refused)?.contains(seq) {
            return Ok(None);
        }
        let published = self.reader.published();
        if published <= seq {
            return Ok(Some(None));
        }
        match self.reader.log(seq, published, PAGE_BYTES).await {
            Ok(page) => Ok(Some(Some((published, page)))),
            Err(error) if error.code == ErrorCode::ResumeTooOld => Ok(None),
            Err(error) => Err(Stop::Refused(error)),
        }
    }

    /// Tells what is in the log after `seq`, of which `first` is there already; how far that was.
    async fn catch_up(&self, seq: Seq, first: Option<(Seq, LogPage)>) -> Result<Seq, Stop> {
        let subscription = &self.subscription;
        let (mut after, mut first) = (seq, first);
        loop {
            let (published, page) = match first.take() {
                Some(first) => first,
                None => {
                    let published = self.reader.published();
                    if published <= after {
                        return Ok(after);
                    }
                    (published, self.reader.log(after, published, PAGE_BYTES).await.map_err(log_failed)?)
                }
            };
            let is_last = page.reached >= published;
            for (last, entry) in &page.entries {
                let frames = self.hub.evaluator.frames(&subscription.query, *last, entry);
                let frames = frames.map_err(|error| self.query_failed(error))?;
                let count = frames.len() as u64;
                subscription.replay(frames).await?;
                subscription.changes.fetch_add(count, Ordering::Relaxed);
            }
            after = page.reached;
            // What came while this was told is told in the same way: only what the actor tells may be too much.
            if is_last && page.entries.is_empty() {
                return Ok(after);
            }
        }
    }

    fn query_failed(&self, error: Error) -> Stop {
        match ending(&*self.hub.source, &self.subscription.query, error) {
            (reason, Some(error)) => Stop::Failed(reason, error),
            (reason, None) => Stop::Closed(reason),
        }
    }

    async fn attach(&self, after: Seq) -> Result<(), Stop> {
        let Some(user) = &self.subscription.query.partition.user else {
            return Err(Stop::Failed(CloseReason::Internal, Error::internal("a live query without a user")));
        };
        let member = Member { subscription: Arc::clone(&self.subscription), after };
        self.hub.attach(user, member).await.map_err(|error| Stop::Failed(CloseReason::Internal, error))
    }
}

/// Whether the query itself is to blame.
fn is_of_query(error: &Error) -> bool {
    error.code == ErrorCode::EvaluationError
}

/// The end for an error of a query's evaluation.
pub(crate) fn reason_of(error: &Error) -> CloseReason {
    if matches!(error.code, ErrorCode::Internal | ErrorCode::DataCorrupted) {
        CloseReason::Internal
    } else {
        CloseReason::Error
    }
}

fn log_failed(error: Error) -> Stop {
    if error.code == ErrorCode::ResumeTooOld { Stop::Slow } else { Stop::Failed(CloseReason::Internal, error) }
}
