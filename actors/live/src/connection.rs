//! What a connection may do with live queries.

use std::collections::HashMap;
use std::sync::Arc;

use kalamdb_commons::{Error, ErrorCode, Identity, Result, Role, UserId};
use kalamdb_wire::{CloseReason, ServerFrame, SubscribeRequest};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::feeder::{Start, feed};
use crate::hub::LiveHub;
use crate::outbox::{Outbox, SubKey};
use crate::subscription::{NewSubscription, Subscription};
use crate::supervision::task::spawn_on;

/// Who a connection is for.
#[derive(Debug, Clone)]
pub struct LiveCaller {
    /// The caller.
    pub identity: Identity,
    /// The user that `X-USER-ID` of the handshake names; why it says nothing matters only to a query that asks.
    pub header_user: Result<Option<UserId>>,
}

/// A subscription of this connection.
#[derive(Debug)]
struct Entry {
    subscription: Arc<Subscription>,
    /// The task that brings it to its actor.
    feeder: AbortHandle,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

/// A connection's subscriptions. Whatever is answered comes out of its outbox, in order with everything else. Dropped, its
/// subscriptions end.
#[derive(Debug)]
pub struct LiveConnection {
    hub: Arc<LiveHub>,
    id: Arc<str>,
    caller: LiveCaller,
    outbox: Arc<Outbox>,
    entries: HashMap<String, Entry>,
    next_key: u64,
}

impl LiveConnection {
    pub(crate) fn new(hub: Arc<LiveHub>, id: Arc<str>, caller: LiveCaller, outbox: Arc<Outbox>) -> Self {
        Self { hub, id, caller, outbox, entries: HashMap::new(), next_key: 0 }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who it is for.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.caller.identity
    }

    /// The caller with what its row in `system.users` says now, or a new token: for what it asks from now on. What a lower
    /// role may not follow ends.
    pub fn renew(&mut self, identity: Identity) {
        let lost_role = identity.role < self.caller.identity.role && identity.role == Role::User;
        self.caller.identity = identity;
        if !lost_role {
            return;
        }
        let error = Error::new(ErrorCode::Forbidden, "the caller's role may not do this any more");
        for entry in self.entries.values() {
            if entry.subscription.query.partition.user.as_ref() != Some(&self.caller.identity.user_id) {
                entry.subscription.fail(CloseReason::Error, &error);
                self.hub.detach(&entry.subscription);
            }
        }
    }

    /// Begins a subscription; what becomes of it is told in frames.
    pub async fn subscribe(&mut self, request: SubscribeRequest) {
        if let Err((query_id, error)) = self.begin(request).await {
            self.outbox.answer(&ServerFrame::error(Some(&query_id), &error)).await;
        }
    }

    async fn begin(&mut self, request: SubscribeRequest) -> Result<(), (String, Error)> {
        self.entries.retain(|_, entry| {
            let is_open = entry.subscription.is_open();
            if !is_open {
                // Ended with its connection, which tells nobody else.
                entry.subscription.end();
            }
            is_open
        });
        let refused = |code, message: &str| Err((request.query_id.clone(), Error::new(code, message.to_owned())));
        if self.entries.contains_key(&request.query_id) {
            return refused(ErrorCode::Conflict, "this connection has a subscription of that query_id");
        }
        let most = self.hub.settings.max_subscriptions_per_user;
        // Given back where it does not begin.
        let Some(place) = self.hub.registry.reserve(&self.caller.identity.user_id, most) else {
            let message = format!("a user may have {most} subscriptions (live.max_subscriptions_per_user)");
            return refused(ErrorCode::SubscriptionLimit, &message);
        };
        let query = match self.hub.source.compile(&self.caller, &request).await {
            Ok(query) => query,
            Err(error) => return Err((request.query_id, error)),
        };
        self.next_key += 1;
        let request = Arc::new(request);
        let new = NewSubscription {
            connection: Arc::clone(&self.id),
            user: self.caller.identity.user_id.clone(),
            request: Arc::clone(&request),
            query,
            key: SubKey(self.next_key),
            outbox: Arc::clone(&self.outbox),
            created_at: self.hub.source.now(),
            place,
        };
        let subscription = Subscription::begin(new, &self.hub.registry);
        let feeder = self.start(&subscription, Start::of(&request.options));
        self.entries.insert(request.query_id.clone(), Entry { subscription, feeder });
        Ok(())
    }

    fn start(&self, subscription: &Arc<Subscription>, start: Start) -> AbortHandle {
        let (hub, caller, subscription) = (Arc::clone(&self.hub), self.caller.clone(), Arc::clone(subscription));
        let work = async move {
            let _watched = Watched(Arc::clone(&subscription));
            feed(&hub, &caller, subscription, start).await;
        };
        spawn_on(&Handle::current(), "live feeder", work).abort_handle()
    }

    /// Ends a subscription.
    pub async fn unsubscribe(&mut self, query_id: &str) {
        let entry = self.entries.remove(query_id);
        let ended = entry.is_some_and(|entry| {
            let ended = entry.subscription.end();
            self.hub.detach(&entry.subscription);
            ended
        });
        let error;
        let frame = if ended {
            ServerFrame::Unsubscribed { query_id }
        } else {
            error = Error::new(ErrorCode::SubscriptionNotFound, "this connection has no subscription of that query_id");
            ServerFrame::error(Some(query_id), &error)
        };
        self.outbox.answer(&frame).await;
    }

    /// Puts one of the door's own frames behind what waits. Waits while the client does not read what it was answered
    /// before: that bounds one that only asks.
    pub async fn send(&mut self, frame: ServerFrame<'_>) {
        self.outbox.answer(&frame).await;
    }

    /// Tells the client how far its subscriptions have got, where it does not know.
    pub fn heartbeat(&mut self) {
        self.outbox.progress(self.entries.values().filter_map(|entry| entry.subscription.progress()).collect());
    }

    /// The connection's own duties, for ever: subscriptions whose actor was lost go on with another, from where they were.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn attend(&mut self) {
        loop {
            let lost = self.outbox.lost().await;
            let again: Vec<(String, Arc<Subscription>)> = self
                .entries
                .iter()
                .filter(|(_, entry)| lost.contains(&entry.subscription.key))
                .map(|(name, entry)| (name.clone(), Arc::clone(&entry.subscription)))
                .collect();
            for (name, subscription) in again {
                let Some(reached) = subscription.reached() else {
                    // Nothing is attached before it has a bookmark.
                    subscription.close(CloseReason::Internal);
                    continue;
                };
                let feeder = self.start(&subscription, Start::Again(reached));
                self.entries.insert(name, Entry { subscription, feeder });
            }
        }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        for (_, entry) in self.entries.drain() {
            entry.subscription.end();
            self.hub.detach(&entry.subscription);
        }
        self.hub.disconnect(&self.id);
    }
}

/// Ends a subscription whose feeder panicked: nobody would ever feed it.
struct Watched(Arc<Subscription>);

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close(CloseReason::Internal);
        }
    }
}
