//! Makes frames of a statement for a query, and counts how often: equal queries of a partition share what is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_commons::settings::LiveSettings;
use kalamdb_commons::{Error, Seq};
use kalamdb_store::codec::changelog::LogEntry;
use kalamdb_wire::{FrameTail, change_frames};

use crate::LiveQuery;
use crate::source::LiveSource;

/// What live queries have cost since the start, beside writing to sockets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveWork {
    /// How often a query was evaluated on a statement: once for all who follow a partition with equal queries, and once more
    /// for each who catches up.
    pub evaluations: u64,
    /// Frames that were encoded, however many subscriptions each was told to.
    pub encoded: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Evaluator {
    pub(crate) source: Arc<dyn LiveSource>,
    pub(crate) max_frame_bytes: usize,
    evaluations: AtomicU64,
    encoded: AtomicU64,
}

impl Evaluator {
    pub(crate) fn new(source: Arc<dyn LiveSource>, settings: &LiveSettings) -> Self {
        let max_frame_bytes = usize::try_from(settings.max_frame_bytes).unwrap_or(usize::MAX);
        Self { source, max_frame_bytes, evaluations: AtomicU64::new(0), encoded: AtomicU64::new(0) }
    }

    /// The frames that a statement is to a query.
    ///
    /// # Errors
    /// When the query fails on a row.
    pub(crate) fn frames(&self, query: &LiveQuery, last: Seq, entry: &LogEntry) -> Result<Vec<FrameTail>, Error> {
        if self.source.expired_before(query).is_some_and(|moment| entry.committed_at < moment) {
            return Ok(Vec::new());
        }
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        let changes = query.program.changes(entry)?;
        let first = entry.changes.first().map_or(0, |change| change.seq.0);
        let frames = change_frames(&changes, first, last.0, self.max_frame_bytes);
        self.encoded.fetch_add(frames.len() as u64, Ordering::Relaxed);
        Ok(frames)
    }

    pub(crate) fn work(&self) -> LiveWork {
        LiveWork {
            evaluations: self.evaluations.load(Ordering::Relaxed),
            encoded: self.encoded.load(Ordering::Relaxed),
        }
    }
}
