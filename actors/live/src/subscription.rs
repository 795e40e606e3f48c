//! One subscription, as its connection, its feeder, its actor and the status tables share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use kalamdb_commons::{Error, Seq, UserId};
use kalamdb_wire::{CloseReason, FrameHead, FrameTail, SubscribeRequest};
use parking_lot::Mutex;

use crate::LiveQuery;
use crate::outbox::{Ended, Outbox, SubKey};
use crate::registry::{Place, Registry};

/// See the module.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Its name for everybody, `{connection}-{query_id}`.
    pub(crate) live_id: Arc<str>,
    pub(crate) connection: Arc<str>,
    /// Who subscribed; the partition may be another's.
    pub(crate) user: UserId,
    pub(crate) request: Arc<SubscribeRequest>,
    pub(crate) query: LiveQuery,
    pub(crate) key: SubKey,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) head: FrameHead,
    pub(crate) created_at: i64,
    pub(crate) changes: AtomicU64,
    /// Microseconds since the epoch; 0 before the first change.
    pub(crate) last_update_at: AtomicI64,
    /// How far the feed that it is attached to has got.
    processed: Mutex<Option<Arc<AtomicU64>>>,
    registry: Arc<Registry>,
    /// Among its user's; none once it has ended.
    place: Mutex<Option<Place>>,
}

/// What a subscription is made of.
#[derive(Debug)]
pub(crate) struct NewSubscription {
    pub(crate) connection: Arc<str>,
    pub(crate) user: UserId,
    pub(crate) request: Arc<SubscribeRequest>,
    pub(crate) query: LiveQuery,
    pub(crate) key: SubKey,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) created_at: i64,
    pub(crate) place: Place,
}

impl Subscription {
    /// Begins it: it counts from now on, until it is [ended](Self::end) or [closed](Self::close).
    pub(crate) fn begin(new: NewSubscription, registry: &Arc<Registry>) -> Arc<Self> {
        let NewSubscription { connection, user, request, query, key, outbox, created_at, place } = new;
        let live_id: Arc<str> = format!("{connection}-{}", request.query_id).into();
        let head = FrameHead::new(&request.query_id, &live_id);
        outbox.begin(key, request.query_id.as_str().into());
        let subscription = Arc::new(Self {
            live_id,
            connection,
            user,
            request,
            query,
            key,
            outbox,
            head,
            created_at,
            changes: AtomicU64::new(0),
            last_update_at: AtomicI64::new(0),
            processed: Mutex::default(),
            registry: Arc::clone(registry),
            place: Mutex::new(Some(place)),
        });
        registry.add(&subscription);
        subscription
    }

    /// Puts in the frames of a statement that happened at `at`.
    pub(crate) fn deliver(&self, tails: &[FrameTail], at: i64) -> Result<(), Ended> {
        self.outbox.changes(self.key, &self.head, tails)?;
        self.changes.fetch_add(tails.len() as u64, Ordering::Relaxed);
        self.last_update_at.store(at, Ordering::Relaxed);
        Ok(())
    }

    /// Puts in the frames of a statement of the past, as fast as the client reads.
    pub(crate) async fn replay(&self, tails: Vec<FrameTail>) -> Result<(), Ended> {
        for tail in tails {
            self.outbox.replay(self.key, &self.head, tail).await?;
        }
        Ok(())
    }

    /// It is attached to a feed that counts here how far it has got; it has been told everything up to there.
    pub(crate) fn follows(&self, cursor: &Arc<AtomicU64>) {
        *self.processed.lock() = Some(Arc::clone(cursor));
    }

    /// How far the feed has got that it is attached to, or was attached to last; none before the first.
    fn processed(&self) -> Option<Seq> {
        self.processed.lock().as_ref().map(|cursor| Seq(cursor.load(Ordering::Acquire)))
    }

    /// How far the partition has got, to be told; none before it is followed.
    pub(crate) fn progress(&self) -> Option<(SubKey, FrameHead, Seq)> {
        Some((self.key, self.head.clone(), self.processed()?))
    }

    /// Everything up to here is in the outbox: its last bookmark there, or what its feed has read since without a match, which
    /// the log may not have any more. None before it has a bookmark.
    pub(crate) fn reached(&self) -> Option<Seq> {
        let bookmark = self.outbox.bookmark(self.key)?;
        Some(self.processed().map_or(bookmark, |processed| processed.max(bookmark)))
    }

    /// Whether it goes on.
    pub(crate) fn is_open(&self) -> bool {
        self.outbox.has(self.key)
    }

    /// Ends it, and tells the client why.
    pub(crate) fn close(&self, reason: CloseReason) {
        self.outbox.close(self.key, reason, None);
        self.leave();
    }

    /// Ends it for an error, which the client is told first.
    pub(crate) fn fail(&self, reason: CloseReason, error: &Error) {
        self.outbox.close(self.key, reason, Some(error));
        self.leave();
    }

    /// The client reads so slowly that what it was to be told next is not kept any more: its connection ends.
    pub(crate) fn cut_off(&self) {
        self.outbox.cut_off();
        self.leave();
    }

    fn leave(&self) {
        self.registry.remove(self);
        self.place.lock().take();
    }

    /// Ends it without a word; false if it had ended.
    pub(crate) fn end(&self) -> bool {
        let ended = self.outbox.forget(self.key);
        self.leave();
        ended
    }
}

/// A subscription's place with an actor. Lost with the actor, it tells the connection, which attaches it again.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) subscription: Arc<Subscription>,
    /// It has been told everything up to here.
    pub(crate) after: Seq,
}

impl Drop for Member {
    fn drop(&mut self) {
        // One that has ended is not lost: the outbox knows.
        self.subscription.outbox.lose(self.subscription.key);
    }
}
