//! Subscribers that read whatever they are told, each in a task of its own, and note when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, interval};

use super::socket::{Frame, Socket};
use crate::failure::Failure;

/// What was acknowledged is told within this time, or the run is a failure.
const LIMIT: Duration = Duration::from_secs(30);

/// What one of them was told.
#[derive(Debug)]
pub(super) struct Told {
    /// Which of them it is.
    pub(super) subscriber: usize,
    /// The keys of the rows, and when they were read.
    pub(super) changes: Vec<(u64, Instant)>,
}

/// See the module. Dropped, they end.
#[derive(Debug)]
pub(super) struct Readers {
    running: JoinSet<Result<Told, Failure>>,
    received: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
}

impl Readers {
    /// Begins to read; each socket has one subscription.
    pub(super) fn start(sockets: Vec<Socket>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let received = Arc::new(AtomicU64::new(0));
        let mut running = JoinSet::new();
        for (subscriber, socket) in sockets.into_iter().enumerate() {
            running.spawn(read(subscriber, socket, Arc::clone(&received), stopped.clone()));
        }
        Self { running, received, stop }
    }

    /// Waits until they were told so many changes, all together.
    ///
    /// # Errors
    /// Too few, and whatever else they are told.
    pub(super) async fn reach(&mut self, expected: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + LIMIT;
        let mut ticks = interval(Duration::from_millis(5));
        loop {
            let found = self.received.load(Ordering::Acquire);
            if found >= expected {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(different(expected, found));
            }
            tokio::select! {
                _ = ticks.tick() => {}
                // Only a failure ends one before it is asked to.
                Some(ended) = self.running.join_next() => drop(ended??),
            }
        }
    }

    /// Waits until they were told so many changes since the start, all together, and ends them.
    ///
    /// # Errors
    /// As [`Self::reach`]; too many.
    pub(super) async fn finish(mut self, expected: u64) -> Result<Vec<Told>, Failure> {
        self.reach(expected).await?;
        // Nobody listens where there are no readers.
        let _ = self.stop.send(true);
        let mut told = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            told.push(ended??);
        }
        match self.received.load(Ordering::Acquire) {
            found if found == expected => Ok(told),
            found => Err(different(expected, found)),
        }
    }
}

fn different(expected: u64, found: u64) -> Failure {
    Failure::Different { what: "changes that were told".to_owned(), expected, found }
}

async fn read(
    subscriber: usize,
    mut socket: Socket,
    received: Arc<AtomicU64>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Told, Failure> {
    let mut changes = Vec::new();
    loop {
        let text = tokio::select! {
            text = socket.text() => text?,
            _ = stopped.changed() => return Ok(Told { subscriber, changes }),
        };
        let now = Instant::now();
        let frame = Frame::read(&text)?;
        match frame.kind {
            "change" => {}
            "progress" => continue,
            _ => return Err(Failure::Socket(format!("was to say change, and said {text}"))),
        }
        changes.extend(frame.keys.iter().map(|id| (*id, now)));
        received.fetch_add(frame.keys.len() as u64, Ordering::AcqRel);
    }
}
