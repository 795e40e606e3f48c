//! One part: lanes that each own a connection and take the next operation when they can.
//!
//! Every operation is counted exactly once: as answered and right, or under an error code. Its latency
//! counts from the moment it was due in an open loop, from the moment it was sent in a closed one.

mod tally;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::FusedFuture as _;
use tokio::task::JoinSet;

use crate::failure::Failure;

use super::connection::{Address, Answer, Broken, Connection, Head};
use super::pace::{Due, Pace, Schedule};
use super::scenario::Operation;
pub(crate) use tally::Tally;

/// A lane that got no answer so many times in a row stops: the server is gone.
const PATIENCE: u32 = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// What a part does.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) operation: Arc<dyn Operation>,
    /// One for each caller.
    pub(crate) heads: Arc<[Head]>,
    /// Number of the first operation; a warm-up has used those before it.
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// No operation is begun (closed loop) or due (open loop) after this time.
    pub(crate) cap: Option<Duration>,
    pub(crate) pace: Pace,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// The same without what each lane spent on requests that are not timed.
    pub(crate) timed: Duration,
    pub(crate) tally: Tally,
    /// The number after the last operation that was taken.
    pub(crate) next: u64,
}

/// The connections of a number of requests in flight.
#[derive(Debug)]
pub(crate) struct Lanes {
    connections: Vec<Connection>,
}

impl Lanes {
    /// # Errors
    /// Nobody listens.
    pub(crate) async fn open(address: &Address, count: usize) -> Result<Self, Failure> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Connection::open(address).await?);
        }
        Ok(Self { connections })
    }

    /// Runs a part to its end.
    ///
    /// # Errors
    /// Only where this program breaks; what the server does wrong is in the tally.
    pub(crate) async fn run(&mut self, part: &Part) -> Result<Measured, Failure> {
        self.run_until(part, std::future::pending()).await
    }

    /// Runs a part to its end; an open loop ends with `stop` too: what was due by then is sent and counted, nothing
    /// more. `stop` is polled from when the part begins, and dropped if the part ends before it.
    ///
    /// # Errors
    /// As for [`Self::run`].
    pub(crate) async fn run_until(&mut self, part: &Part, stop: impl Future<Output = ()>) -> Result<Measured, Failure> {
        let start = Instant::now();
        let count = match (part.pace, part.cap) {
            (Pace::Open { rate }, Some(cap)) => part.count.min(Schedule::within(rate, cap)),
            (Pace::Open { .. } | Pace::Closed, _) => part.count,
        };
        let due = Arc::new(Due::none_of(count));
        let pacer = match part.pace {
            Pace::Closed => None,
            Pace::Open { rate } => {
                let schedule = Schedule::new(start, rate);
                Some(schedule.release(self.connections.len(), Arc::clone(&due)).map_err(Failure::Thread)?)
            }
        };
        let shared = Arc::new(Shared { part: part.clone(), start, due, taken: AtomicU64::new(0) });
        let mut running = JoinSet::new();
        for connection in self.connections.drain(..) {
            running.spawn(lane(connection, Arc::clone(&shared)));
        }
        let mut tally = Tally::default();
        let mut stop = pin!(stop.fuse());
        loop {
            let ended = tokio::select! {
                ended = running.join_next() => ended,
                () = &mut stop, if !stop.is_terminated() => {
                    if let Some(pacer) = &pacer {
                        shared.due.stop();
                        pacer.thread().unpark();
                    }
                    continue;
                }
            };
            let Some(ended) = ended else { break };
            let (connection, of_lane) = ended?;
            self.connections.push(connection);
            tally.add(&of_lane);
        }
        let took = start.elapsed();
        if let Some(pacer) = pacer {
            // It has handed out everything long since, unless all lanes gave up.
            shared.due.close();
            pacer.thread().unpark();
            let _ = pacer.join();
        }
        let count = shared.due.count();
        tally.not_begun = match part.pace {
            // A cap ends a closed loop early; nothing was due.
            Pace::Closed => 0,
            Pace::Open { .. } => count - tally.operations(),
        };
        let lanes = u32::try_from(self.connections.len()).unwrap_or(u32::MAX).max(1);
        let timed = took.saturating_sub(tally.aside / lanes);
        Ok(Measured { took, timed, tally, next: part.first + shared.taken.load(Ordering::Relaxed).min(count) })
    }
}

#[derive(Debug)]
struct Shared {
    part: Part,
    start: Instant,
    due: Arc<Due>,
    taken: AtomicU64,
}

impl Shared {
    /// The next operation, and when it was due; `None` if there is none left.
    async fn next(&self) -> Option<(u64, Instant)> {
        let index = match self.part.pace {
            Pace::Closed => self.take()?,
            Pace::Open { .. } => {
                self.due.next().await;
                self.take()?
            }
        };
        let now = Instant::now();
        let due = match self.part.pace {
            Pace::Closed if self.part.cap.is_some_and(|cap| now - self.start >= cap) => return None,
            Pace::Closed => now,
            Pace::Open { rate } => Schedule::new(self.start, rate).due_at(index),
        };
        Some((self.part.first + index, due))
    }

    fn take(&self) -> Option<u64> {
        let index = self.taken.fetch_add(1, Ordering::Relaxed);
        (index < self.due.count()).then_some(index)
    }
}

async fn lane(mut connection: Connection, shared: Arc<Shared>) -> (Connection, Tally) {
    let mut tally = Tally::default();
    let mut unanswered = 0;
    while let Some((number, due)) = shared.next().await {
        let sent = Instant::now();
        match operate(&mut connection, &shared.part, number).await {
            // As if it had begun later by what is not timed.
            Ok(aside) => {
                tally.right(due + aside, sent + aside, Instant::now());
                tally.aside += aside;
            }
            Err(Trouble::Wrong(answer)) => tally.wrong(&answer),
            Err(Trouble::NoCaller(caller)) => {
                tally.broken(&format!("operation {number} has no caller {caller}"));
            }
            Err(Trouble::Broken(broken)) => {
                tally.broken(&broken.to_string());
                unanswered += 1;
                if unanswered == PATIENCE {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        unanswered = 0;
    }
    (connection, tally)
}

/// Why an operation did not end well.
enum Trouble {
    Wrong(Answer),
    NoCaller(usize),
    Broken(Broken),
}

/// Sends the requests of one operation; gives what those took that are not timed.
async fn operate(connection: &mut Connection, part: &Part, number: u64) -> Result<Duration, Trouble> {
    let Part { operation, heads, .. } = part;
    let steps = operation.steps();
    let mut aside = Duration::ZERO;
    for number in (0..steps).map(|step| number * steps + step) {
        let began = (!operation.is_timed(number)).then(Instant::now);
        let ask = operation.ask(number);
        let head = heads.get(ask.caller).ok_or(Trouble::NoCaller(ask.caller))?;
        let answer = connection.exchange(head, ask.body).await.map_err(Trouble::Broken)?;
        if answer.status != 200 || !operation.is_right(number, &answer.body) {
            return Err(Trouble::Wrong(answer));
        }
        aside += began.map_or(Duration::ZERO, |began| began.elapsed());
    }
    Ok(aside)
}

#[cfg(test)]
mod tests;
