//! What a connection still has to write, in order.
//!
//! Three kinds of things wait here. Changes that happen are put in by actors, which wait for nobody: when more of them
//! wait than the connection may have, and those of an earlier statement among them, the connection is over. Snapshots and
//! replays are put in as fast as the client reads: whoever has them waits for room. So do answers, which bounds a client that
//! only asks.
//!
//! The outbox also knows what each subscription was told last, so that one that ends can say where to go on.

mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kalamdb_commons::Seq;
use kalamdb_commons::settings::LiveSettings;
use kalamdb_wire::{CloseReason, FrameHead, FrameTail, ServerFrame};
use parking_lot::Mutex;
use tokio::sync::Notify;

use state::{Item, Kind, Payload, State, Sub};

/// Bytes of answers, snapshots and replays that may wait: enough to keep a fast reader busy.
const PACED_BYTES: usize = 256 << 10;

/// Which subscription of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SubKey(pub(crate) u64);

/// The next thing that a connection writes.
#[derive(Debug)]
pub enum Outgoing {
    /// A text frame.
    Frame(Vec<u8>),
    /// Nothing more: the connection is to be closed.
    Close(LiveEnd),
}

/// Why a connection ends from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveEnd {
    /// The client did not read; close code 4408.
    SlowConsumer,
    /// The server is stopping; close code 1001.
    Shutdown,
}

/// A frame was not taken: its subscription has ended, or the connection has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended;

/// What all outboxes count together.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) changes: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Something is there to be taken.
    filled: Notify,
    /// Something was taken.
    drained: Notify,
    /// A subscription's actor was lost.
    lost: Notify,
    most_changes: usize,
    most_bytes: usize,
    delivered: Arc<Delivered>,
}

impl Outbox {
    pub(crate) fn new(settings: &LiveSettings, delivered: Arc<Delivered>) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            lost: Notify::new(),
            most_changes: settings.buffer_size,
            most_bytes: usize::try_from(settings.buffer_bytes).unwrap_or(usize::MAX),
            delivered,
        }
    }

    /// A subscription begins.
    pub(crate) fn begin(&self, key: SubKey, query_id: Arc<str>) {
        let sub = Sub { query_id, queued: None, taken: None, lost: false };
        self.state.lock().subs.insert(key, sub);
    }

    /// Whether a subscription has not ended.
    pub(crate) fn has(&self, key: SubKey) -> bool {
        self.state.lock().subs.contains_key(&key)
    }

    /// Where a subscription stands with everything that was put in.
    pub(crate) fn bookmark(&self, key: SubKey) -> Option<Seq> {
        self.state.lock().subs.get(&key).and_then(|sub| sub.queued).map(Seq)
    }

    /// Puts in an answer, once there is room; false when the connection has ended.
    pub(crate) async fn answer(&self, frame: &ServerFrame<'_>) -> bool {
        let payload = Payload::Whole(frame.to_json());
        self.paced(Item { sub: None, payload, kind: Kind::Paced, bookmark: None }).await.is_ok()
    }

    /// Puts in a subscription's own frame, once there is room.
    pub(crate) async fn tell(&self, key: SubKey, frame: &ServerFrame<'_>, bookmark: Option<Seq>) -> Result<(), Ended> {
        let payload = Payload::Whole(frame.to_json());
        self.paced(Item { sub: Some(key), payload, kind: Kind::Paced, bookmark: bookmark.map(|seq| seq.0) }).await
    }

    /// Puts in a frame of a snapshot or replay, once there is room.
    pub(crate) async fn replay(&self, key: SubKey, head: &FrameHead, tail: FrameTail) -> Result<(), Ended> {
        let bookmark = tail.is_bookmark.then_some(tail.seq);
        let payload = Payload::Shared(head.clone(), tail);
        self.paced(Item { sub: Some(key), payload, kind: Kind::Paced, bookmark }).await
    }

    async fn paced(&self, item: Item) -> Result<(), Ended> {
        loop {
            let drained = self.drained.notified();
            {
                let mut state = self.state.lock();
                let has_ended = item.sub.is_some_and(|sub| !state.subs.contains_key(&sub));
                if state.dead || state.end.is_some() || has_ended {
                    return Err(Ended);
                }
                if state.paced_bytes < PACED_BYTES {
                    state.push(item);
                    break;
                }
            }
            drained.await;
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Puts in a statement's changes. Too many: the connection has ended with it. One statement may always wait, however
    /// large it is and however many of the connection's subscriptions are told of it.
    pub(crate) fn changes(&self, key: SubKey, head: &FrameHead, tails: &[FrameTail]) -> Result<(), Ended> {
        {
            let mut state = self.state.lock();
            if state.dead || state.end.is_some() || !state.subs.contains_key(&key) {
                return Err(Ended);
            }
            let bytes: usize = tails.iter().map(FrameTail::bytes).sum();
            let over = state.changes + tails.len() > self.most_changes || state.change_bytes + bytes > self.most_bytes;
            let statement = tails.last().map_or(0, |tail| tail.seq);
            if over && state.waits_since_before(statement) {
                drop(state);
                self.cut_off();
                return Err(Ended);
            }
            // Before they can be read: whoever has read one finds it counted.
            self.delivered.changes.fetch_add(tails.len() as u64, Ordering::Relaxed);
            for tail in tails {
                let bookmark = tail.is_bookmark.then_some(tail.seq);
                let payload = Payload::Shared(head.clone(), tail.clone());
                state.push(Item { sub: Some(key), payload, kind: Kind::Change(statement), bookmark });
            }
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Ends the connection of a client that does not read as fast as it has to.
    pub(crate) fn cut_off(&self) {
        {
            let mut state = self.state.lock();
            if state.dead || state.end.is_some() {
                return;
            }
            self.delivered.slow_consumers.fetch_add(1, Ordering::Relaxed);
            state.end(LiveEnd::SlowConsumer, CloseReason::SlowConsumer);
        }
        self.wake_all();
    }

    /// Puts in how far subscriptions have got, where the client was not told that much; not while it has something to read
    /// first.
    pub(crate) fn progress(&self, all: Vec<(SubKey, FrameHead, Seq)>) {
        {
            let mut state = self.state.lock();
            if !state.queue.is_empty() || state.end.is_some() {
                return;
            }
            for (key, head, seq) in all {
                let knows = |sub: &Sub| sub.queued.is_none_or(|queued| queued >= seq.0);
                if state.subs.get(&key).is_none_or(knows) {
                    continue;
                }
                let payload = Payload::Shared(head, FrameTail::progress(seq.0));
                state.push(Item { sub: Some(key), payload, kind: Kind::Paced, bookmark: Some(seq.0) });
            }
        }
        self.filled.notify_one();
    }

    /// Ends a subscription with a reason; false if it had ended. `error` is told before.
    pub(crate) fn close(&self, key: SubKey, reason: CloseReason, error: Option<&kalamdb_commons::Error>) -> bool {
        let ended = {
            let mut state = self.state.lock();
            if let (Some(error), Some(sub)) = (error, state.subs.get(&key)) {
                let frame = ServerFrame::error(Some(&sub.query_id), error).to_json();
                state.push(Item { sub: None, payload: Payload::Whole(frame), kind: Kind::Last, bookmark: None });
            }
            state.say_closed(key, reason, |sub| sub.queued)
        };
        self.wake_all();
        ended
    }

    /// Ends a subscription without a word; false if it had ended. What waits for it is not told any more.
    pub(crate) fn forget(&self, key: SubKey) -> bool {
        let ended = {
            let mut state = self.state.lock();
            state.drop_items(|item| item.sub == Some(key));
            state.subs.remove(&key).is_some()
        };
        self.wake_all();
        ended
    }

    /// Ends the connection.
    pub(crate) fn shut(&self) {
        self.state.lock().end(LiveEnd::Shutdown, CloseReason::Shutdown);
        self.wake_all();
    }

    /// Nobody reads any more.
    pub(crate) fn die(&self) {
        let mut state = self.state.lock();
        state.dead = true;
        state.queue.clear();
        drop(state);
        self.wake_all();
    }

    /// The actor of a subscription is gone while the subscription is not.
    pub(crate) fn lose(&self, key: SubKey) {
        if let Some(sub) = self.state.lock().subs.get_mut(&key) {
            sub.lost = true;
        }
        self.lost.notify_one();
    }

    /// Subscriptions whose actor was lost, as soon as there are any.
    ///
    /// # Cancel safety
    /// Safe: they stay lost until they are taken.
    pub(crate) async fn lost(&self) -> Vec<SubKey> {
        loop {
            let notified = self.lost.notified();
            let mut lost = Vec::new();
            for (key, sub) in &mut self.state.lock().subs {
                if std::mem::take(&mut sub.lost) {
                    lost.push(*key);
                }
            }
            if !lost.is_empty() {
                return lost;
            }
            notified.await;
        }
    }

    fn wake_all(&self) {
        self.filled.notify_one();
        self.drained.notify_waiters();
    }
}

/// The reading end of a connection's outbox.
#[derive(Debug)]
pub struct LiveOutbox(pub(crate) Arc<Outbox>);

impl LiveOutbox {
    /// The next thing to write. After [`Outgoing::Close`] there is only that.
    ///
    /// # Cancel safety
    /// Safe: what was not returned stays.
    pub async fn next(&mut self) -> Outgoing {
        loop {
            let filled = self.0.filled.notified();
            {
                let mut state = self.0.state.lock();
                if let Some(item) = state.pop() {
                    drop(state);
                    if item.kind == Kind::Paced {
                        self.0.drained.notify_waiters();
                    }
                    return Outgoing::Frame(match item.payload {
                        Payload::Whole(frame) => frame,
                        Payload::Shared(head, tail) => tail.with_head(&head),
                    });
                }
                if let Some(end) = state.end {
                    return Outgoing::Close(end);
                }
            }
            filled.await;
        }
    }
}

impl Drop for LiveOutbox {
    fn drop(&mut self) {
        self.0.die();
    }
}
