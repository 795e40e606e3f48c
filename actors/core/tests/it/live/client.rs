//! A connection with the frames that come out of it.

use kalamdb_commons::{Identity, Role, UserId};
use kalamdb_core::{LiveCaller, LiveConnection, LiveEnd, LiveOutbox, Outgoing};
use kalamdb_wire::{ClientFrame, SubscribeRequest};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::super::server::{LONG, Server};

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) connection: LiveConnection,
    pub(super) outbox: LiveOutbox,
}

impl Client {
    pub(super) fn new(server: &Server, user: &str) -> Self {
        Self::with_role(server, user, Role::User)
    }

    pub(super) fn with_role(server: &Server, user: &str, role: Role) -> Self {
        let identity = Identity { user_id: UserId::new(user).expect("a user id"), role };
        let caller = LiveCaller { identity, header_user: Ok(None) };
        let (connection, outbox) = server.engine.connect_live(caller).expect("a connection");
        Self { connection, outbox }
    }

    /// Subscribes; nothing is read.
    pub(super) async fn subscribe(&mut self, subscription: Json) {
        self.connection.subscribe(request(&subscription)).await;
    }

    /// Subscribes, and expects it to be accepted; the frame that says so.
    pub(super) async fn subscribed(&mut self, subscription: Json) -> Json {
        self.subscribe(subscription).await;
        let frame = self.next().await;
        assert_eq!(frame["type"], "subscribed", "{frame}");
        frame
    }

    /// Subscribes, and expects it to be refused; the error's code and message.
    pub(super) async fn refused(&mut self, subscription: Json) -> (String, String) {
        let name = subscription["query_id"].clone();
        self.subscribe(subscription).await;
        let frame = self.next().await;
        assert_eq!((&frame["type"], &frame["query_id"]), (&json!("error"), &name), "{frame}");
        let text = |member: &str| frame[member].as_str().unwrap_or_default().to_owned();
        (text("code"), text("message"))
    }

    async fn outgoing(&mut self) -> Outgoing {
        let work = async {
            tokio::select! {
                outgoing = self.outbox.next() => outgoing,
                () = self.connection.attend() => unreachable!("it never ends"),
            }
        };
        timeout(LONG, work).await.expect("a frame in time")
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Json {
        match self.outgoing().await {
            Outgoing::Frame(bytes) => serde_json::from_slice(&bytes).expect("a frame is JSON"),
            Outgoing::Close(end) => panic!("the connection was closed: {end:?}"),
        }
    }

    /// The next frame, which is of this type.
    pub(super) async fn expect(&mut self, kind: &str) -> Json {
        let frame = self.next().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The end of the connection, with the frames before it.
    pub(super) async fn end(&mut self) -> (Vec<Json>, LiveEnd) {
        let mut frames = Vec::new();
        loop {
            match self.outgoing().await {
                Outgoing::Frame(bytes) => frames.push(serde_json::from_slice(&bytes).expect("a frame is JSON")),
                Outgoing::Close(end) => return (frames, end),
            }
        }
    }

    /// Asks for a pong and expects it to be the next frame: nothing else was to be told.
    pub(super) async fn expect_silence(&mut self) {
        self.connection.send(kalamdb_wire::ServerFrame::Pong).await;
        self.expect("pong").await;
    }
}

fn request(subscription: &Json) -> SubscribeRequest {
    let frame = json!({"type": "subscribe", "subscriptions": [subscription]}).to_string();
    match ClientFrame::from_json(&frame).expect("a frame") {
        ClientFrame::Subscribe(mut list) => list.pop().expect("one").expect("a subscription"),
        other => panic!("{other:?}"),
    }
}
