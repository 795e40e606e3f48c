//! What waits in an outbox, counted by kind, and where its subscriptions stand with it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kalamdb_wire::{CloseReason, FrameHead, FrameTail, ServerFrame};

use super::{LiveEnd, SubKey};

#[derive(Debug)]
pub(super) enum Payload {
    Whole(Vec<u8>),
    Shared(FrameHead, FrameTail),
}

impl Payload {
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Shared(_, tail) => tail.bytes(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Never dropped.
    Last,
    Paced,
    /// Of the statement with this last number.
    Change(u64),
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) sub: Option<SubKey>,
    pub(super) payload: Payload,
    pub(super) kind: Kind,
    pub(super) bookmark: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Sub {
    pub(super) query_id: Arc<str>,
    /// The last bookmark that was put in, and the last that was taken out.
    pub(super) queued: Option<u64>,
    pub(super) taken: Option<u64>,
    /// Its actor was lost.
    pub(super) lost: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queue: VecDeque<Item>,
    pub(super) changes: usize,
    pub(super) change_bytes: usize,
    pub(super) paced_bytes: usize,
    pub(super) subs: HashMap<SubKey, Sub>,
    pub(super) end: Option<LiveEnd>,
    /// Nobody reads it any more.
    pub(super) dead: bool,
}

impl State {
    pub(super) fn push(&mut self, item: Item) {
        let bytes = item.payload.bytes();
        match item.kind {
            Kind::Change(_) => {
                self.changes += 1;
                self.change_bytes += bytes;
            }
            Kind::Paced => self.paced_bytes += bytes,
            Kind::Last => {}
        }
        if let (Some(bookmark), Some(sub)) = (item.bookmark, item.sub.and_then(|sub| self.subs.get_mut(&sub))) {
            sub.queued = Some(bookmark);
        }
        self.queue.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        let bytes = item.payload.bytes();
        match item.kind {
            Kind::Change(_) => {
                self.changes -= 1;
                self.change_bytes -= bytes;
            }
            Kind::Paced => self.paced_bytes -= bytes,
            Kind::Last => {}
        }
        if let (Some(bookmark), Some(sub)) = (item.bookmark, item.sub.and_then(|sub| self.subs.get_mut(&sub))) {
            sub.taken = Some(bookmark);
        }
        Some(item)
    }

    /// Takes items out that are not going to be written.
    pub(super) fn drop_items(&mut self, is_dropped: impl Fn(&Item) -> bool) {
        let Self { queue, changes, change_bytes, paced_bytes, .. } = self;
        queue.retain(|item| {
            if !is_dropped(item) {
                return true;
            }
            match item.kind {
                Kind::Change(_) => {
                    *changes -= 1;
                    *change_bytes -= item.payload.bytes();
                }
                Kind::Paced => *paced_bytes -= item.payload.bytes(),
                Kind::Last => {}
            }
            false
        });
    }

    /// Whether what has waited longest is of another statement than this one.
    pub(super) fn waits_since_before(&self, statement: u64) -> bool {
        let oldest = self.queue.iter().find_map(|item| match item.kind {
            Kind::Change(oldest) => Some(oldest),
            Kind::Last | Kind::Paced => None,
        });
        oldest.is_some_and(|oldest| oldest != statement)
    }

    pub(super) fn say_closed(
        &mut self,
        key: SubKey,
        reason: CloseReason,
        resume_seq: impl FnOnce(&Sub) -> Option<u64>,
    ) -> bool {
        let Some(sub) = self.subs.remove(&key) else { return false };
        let resume_seq = resume_seq(&sub);
        let frame = ServerFrame::Closed { query_id: &sub.query_id, reason, resume_seq }.to_json();
        self.push(Item { sub: None, payload: Payload::Whole(frame), kind: Kind::Last, bookmark: None });
        true
    }

    /// Ends the connection: what its subscriptions were not told yet they are told where to find.
    pub(super) fn end(&mut self, end: LiveEnd, reason: CloseReason) {
        if self.end.is_some() {
            return;
        }
        if end == LiveEnd::SlowConsumer {
            self.drop_items(|item| item.kind != Kind::Last);
        }
        let mut keys: Vec<SubKey> = self.subs.keys().copied().collect();
        keys.sort_unstable_by_key(|key| key.0);
        for key in keys {
            self.say_closed(key, reason, |sub| match end {
                // What waited is dropped.
                LiveEnd::SlowConsumer => sub.taken,
                LiveEnd::Shutdown => sub.queued,
            });
        }
        self.end = Some(end);
    }
}
