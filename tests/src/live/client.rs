//! The reference client: it keeps the results of its queries over lost connections.
//!
//! How it is written is how a client should be: it subscribes anew with `from_seq`, the bookmark of what it has applied;
//! with `last_rows` beside it a subscription that cannot go on begins with a snapshot instead.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout_at};

use super::replay::Replay;
use super::socket::{Credentials, LiveSocket, Refused, Said};

/// How long a server may take to be there again.
const RECONNECT_LIMIT: Duration = Duration::from_secs(60);
/// How long it is left alone between two tries.
const RECONNECT_EVERY: Duration = Duration::from_millis(20);

/// What is subscribed to.
#[derive(Debug, Clone, Default)]
pub struct Subscription {
    /// The client's name for it.
    pub query_id: String,
    /// The query.
    pub sql: String,
    /// Its parameters, an array or null.
    pub params: Value,
    /// Whose partition `.user.` means, if not the handshake says so.
    pub user_id: Option<String>,
    /// With so many rows it begins.
    pub last_rows: Option<u64>,
    /// Whether that is all of them: every change is checked against the rows.
    pub is_whole: bool,
    /// Rows of one frame.
    pub batch_size: Option<u64>,
}

impl Subscription {
    /// Of all rows of a query, which has fewer than a billion.
    #[must_use]
    pub fn whole(query_id: &str, sql: &str) -> Self {
        Self { last_rows: Some(1_000_000_000), is_whole: true, ..Self::changes(query_id, sql) }
    }

    /// Of changes from now on.
    #[must_use]
    pub fn changes(query_id: &str, sql: &str) -> Self {
        Self { query_id: query_id.to_owned(), sql: sql.to_owned(), ..Self::default() }
    }

    /// With these parameters.
    #[must_use]
    pub fn with_params(self, params: Value) -> Self {
        Self { params, ..self }
    }

    /// As a subscribe frame has it.
    #[must_use]
    pub fn to_json(&self, from_seq: Option<u64>) -> Value {
        let mut options = json!({});
        for (name, value) in [("last_rows", self.last_rows), ("batch_size", self.batch_size), ("from_seq", from_seq)] {
            if let Some(value) = value {
                options[name] = json!(value);
            }
        }
        let mut subscription = json!({"query_id": self.query_id, "sql": self.sql, "options": options});
        if self.params.is_array() {
            subscription["params"] = self.params.clone();
        }
        if let Some(user) = &self.user_id {
            subscription["user_id"] = json!(user);
        }
        subscription
    }
}

#[derive(Debug)]
struct Kept {
    subscription: Subscription,
    replay: Replay,
}

/// See the module.
#[derive(Debug)]
pub struct LiveClient {
    base: String,
    credentials: Credentials,
    socket: Option<LiveSocket>,
    kept: BTreeMap<String, Kept>,
    reconnects: u64,
    room: Room,
}

/// Bytes that wait for a client on its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// As many as the system gives everybody.
    Usual,
    /// Hardly any.
    Narrow,
}

impl LiveClient {
    /// A client that connects when it first has to.
    #[must_use]
    pub fn new(base: &str, credentials: Credentials) -> Self {
        let (base, kept) = (base.to_owned(), BTreeMap::new());
        Self { base, credentials, socket: None, kept, reconnects: 0, room: Room::Usual }
    }

    /// The same with hardly any room for what is sent to it: when it does not read, the server has to wait.
    #[must_use]
    pub fn narrow(self) -> Self {
        Self { room: Room::Narrow, ..self }
    }

    /// The result of a query so far.
    ///
    /// # Panics
    /// If there was no such subscription.
    #[must_use]
    pub fn replay(&self, query_id: &str) -> &Replay {
        &self.kept.get(query_id).unwrap_or_else(|| panic!("no subscription {query_id}")).replay
    }

    /// How often it connected again.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Subscribes, and stays subscribed.
    pub async fn subscribe(&mut self, subscription: Subscription) {
        let replay = if subscription.is_whole { Replay::whole() } else { Replay::default() };
        let frame = subscription.to_json(None);
        self.kept.insert(subscription.query_id.clone(), Kept { subscription, replay });
        match &mut self.socket {
            Some(socket) => socket.subscribe_with(frame).await,
            // Subscribes to all that there is.
            None => self.connect().await,
        }
    }

    /// Loses its connection without a word.
    pub fn disconnect(&mut self) {
        self.socket = None;
    }

    async fn open(&self) -> Result<LiveSocket, Refused> {
        match self.room {
            Room::Usual => LiveSocket::connect(&self.base, &self.credentials).await,
            Room::Narrow => LiveSocket::connect_narrow(&self.base, &self.credentials).await,
        }
    }

    /// Connects, and goes on with every subscription from its bookmark.
    async fn connect(&mut self) {
        let deadline = Instant::now() + RECONNECT_LIMIT;
        let mut ticks = interval(RECONNECT_EVERY);
        let mut socket = loop {
            ticks.tick().await;
            match self.open().await {
                Ok(socket) => break socket,
                Err(refused) => {
                    assert!(Instant::now() < deadline, "not let in within {RECONNECT_LIMIT:?}: {refused:?}")
                }
            }
        };
        let again = self.kept.values_mut().filter(|kept| !kept.replay.is_over()).map(|kept| {
            kept.replay.cut();
            kept.subscription.to_json(kept.replay.bookmark())
        });
        let again: Vec<Value> = again.collect();
        if !again.is_empty() {
            socket.send(&json!({"type": "subscribe", "subscriptions": again})).await;
        }
        self.socket = Some(socket);
    }

    /// Takes the next frame, connecting again where the connection is gone; none within `limit`.
    ///
    /// # Panics
    /// When a frame breaks a promise of its subscription.
    pub async fn step_within(&mut self, limit: Duration) -> Option<Value> {
        let deadline = Instant::now() + limit;
        loop {
            let Some(socket) = &mut self.socket else {
                timeout_at(deadline, self.connect()).await.ok()?;
                self.reconnects += 1;
                continue;
            };
            match socket.said_within(deadline.saturating_duration_since(Instant::now())).await? {
                Said::Frame(frame) => {
                    if let Some(kept) = frame["query_id"].as_str().and_then(|name| self.kept.get_mut(name)) {
                        let applied = kept.replay.apply(&frame);
                        applied.unwrap_or_else(|error| panic!("{}: {error}", kept.subscription.sql));
                    }
                    return Some(frame);
                }
                Said::Closed(..) | Said::Gone => self.socket = None,
            }
        }
    }

    /// Takes frames until a subscription's result is so.
    ///
    /// # Panics
    /// When it is not within `limit`, showing what it is.
    pub async fn until(&mut self, query_id: &str, limit: Duration, is_so: impl Fn(&Replay) -> bool) {
        let deadline = Instant::now() + limit;
        while !is_so(self.replay(query_id)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.step_within(left).await.is_none() {
                panic!("not within {limit:?}: {query_id} is {:?}", self.replay(query_id));
            }
        }
    }
}
