//! Somebody who follows a partition through connections that come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kalamdb_commons::{Identity, Role, UserId};
use kalamdb_core::{LiveCaller, LiveConnection, LiveOutbox, Outgoing};
use kalamdb_wire::{ClientFrame, SubscribeRequest};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use super::Life;
use super::writer::{Rows, Writer};
use crate::server::{LONG, Server};

/// Where it stood, and with what: the first of a chain began with a snapshot.
#[derive(Debug, Clone)]
struct Stand {
    seq: u64,
    rows: Rows,
    begins: bool,
}

/// Whether a frame was the last of its connection.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    More,
    End,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) user: &'static str,
    die: StdRng,
    least: i64,
    /// What it has; none before its first snapshot.
    rows: Option<Rows>,
    bookmark: u64,
    /// Frames of a statement that is not told to its end.
    pending: Vec<Json>,
    stands: Vec<Stand>,
    /// Rows of a snapshot that is not told to its end.
    snapshot: Option<Rows>,
    /// It was told on this connection that it has begun.
    begun: bool,
}

impl Follower {
    pub(super) fn new(user: &'static str, seed: u64, least: i64) -> Self {
        Self {
            user,
            die: StdRng::seed_from_u64(seed),
            least,
            rows: None,
            bookmark: 0,
            pending: Vec::new(),
            stands: Vec::new(),
            snapshot: None,
            begun: false,
        }
    }

    fn connect(&self, server: &Server) -> Option<(LiveConnection, LiveOutbox)> {
        let identity = Identity { user_id: UserId::new(self.user).expect("a user id"), role: Role::User };
        server.engine.connect_live(LiveCaller { identity, header_user: Ok(None) }).ok()
    }

    fn request(&mut self, fresh: bool) -> SubscribeRequest {
        let options = if fresh {
            json!({"last_rows": 1_000_000, "batch_size": self.die.random_range(1..9)})
        } else {
            json!({"from_seq": self.bookmark})
        };
        let one = json!({
            "query_id": "q", "sql": "SELECT n, id FROM t WHERE n >= $1", "params": [self.least], "options": options,
        });
        let frame = json!({"type": "subscribe", "subscriptions": [one]}).to_string();
        match ClientFrame::from_json(&frame).expect("a frame") {
            ClientFrame::Subscribe(mut list) => list.pop().expect("one").expect("a subscription"),
            other => panic!("{other:?}"),
        }
    }

    /// Connection after connection until the life is over.
    pub(super) async fn follow(mut self, server: Server, life: Arc<Life>) -> Self {
        while !life.is_over() {
            let Some((mut connection, mut outbox)) = self.connect(&server) else { break };
            let fresh = self.rows.is_none() || self.die.random_ratio(1, 10);
            let request = self.request(fresh);
            (self.pending, self.snapshot, self.begun) = (Vec::new(), None, false);
            connection.subscribe(request).await;
            for _ in 0..self.die.random_range(1..40) {
                if self.die.random_ratio(1, 12) {
                    // Stalls: what is told meanwhile waits, or is too much.
                    life.goes_on(self.die.random_range(1..8)).await;
                }
                if self.die.random_ratio(1, 5) {
                    connection.heartbeat();
                }
                let outgoing = tokio::select! {
                    outgoing = outbox.next() => outgoing,
                    () = connection.attend() => unreachable!("it never ends"),
                    // Nothing may be said for long: what is written need not match.
                    () = life.goes_on(20) => break,
                };
                if life.is_over() || self.take(outgoing) == Told::End {
                    break;
                }
            }
        }
        self
    }

    /// Follows until it has got as far as its partition has.
    pub(super) async fn come_to_the_end(&mut self, server: &Server, newest: u64) {
        let (mut connection, mut outbox) = self.connect(server).expect("a connection");
        let fresh = self.rows.is_none();
        let request = self.request(fresh);
        (self.pending, self.snapshot, self.begun) = (Vec::new(), None, false);
        connection.subscribe(request).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let work = async {
            while self.bookmark < newest {
                connection.heartbeat();
                let outgoing = tokio::select! {
                    outgoing = outbox.next() => outgoing,
                    () = connection.attend() => unreachable!("it never ends"),
                    _ = ticks.tick() => continue,
                };
                assert_eq!(self.take(outgoing), Told::More, "nobody ends it");
            }
        };
        timeout(LONG, work).await.unwrap_or_else(|_| panic!("{} stops short of {newest}", self.user));
    }

    fn take(&mut self, outgoing: Outgoing) -> Told {
        let frame: Json = match outgoing {
            Outgoing::Close(_) => return Told::End,
            Outgoing::Frame(bytes) => serde_json::from_slice(&bytes).expect("JSON"),
        };
        let seq = frame["seq"].as_u64();
        match frame["type"].as_str().expect("a type") {
            "subscribed" => {
                self.begun = true;
                if frame["resumed"] == json!(true) {
                    assert_eq!(seq, Some(self.bookmark), "{frame}");
                } else {
                    self.snapshot = Some(Rows::new());
                }
            }
            "initial_data" => {
                let snapshot = self.snapshot.as_mut().expect("a snapshot has begun");
                for (row, key) in pairs(&frame, "rows", "keys") {
                    let (id, n) = row_of(row);
                    assert_eq!(key, &json!(id));
                    assert_eq!(snapshot.insert(id, n), None, "twice: {frame}");
                }
                if frame["has_more"] == json!(false) {
                    self.rows = self.snapshot.take();
                    self.bookmark = seq.expect("seq");
                    self.stand(true);
                }
            }
            "change" => {
                let (seq, last) = (seq.expect("seq"), self.pending.last().and_then(|frame| frame["seq"].as_u64()));
                assert!(seq > last.unwrap_or(self.bookmark), "{} had {}: {frame}", self.user, self.bookmark);
                let more = frame.get("more") == Some(&json!(true));
                self.pending.push(frame);
                if !more {
                    self.apply();
                    self.bookmark = seq;
                    self.stand(false);
                }
            }
            "progress" => {
                let seq = seq.expect("seq");
                assert!(seq > self.bookmark && self.pending.is_empty(), "{} had {}: {frame}", self.user, self.bookmark);
                self.bookmark = seq;
                self.stand(false);
            }
            "closed" => {
                let reason = frame["reason"].as_str().unwrap_or_default();
                assert!(["slow_consumer", "schema_changed", "shutdown", "internal"].contains(&reason), "{frame}");
                // Who has a bookmark is told where to go on.
                if self.begun && self.snapshot.is_none() {
                    assert_eq!(frame["resume_seq"].as_u64(), Some(self.bookmark), "{frame}");
                }
                return Told::End;
            }
            // The store has failed, or the server stops.
            "error" => {
                let code = frame["code"].as_str().unwrap_or_default();
                assert!(["STORAGE_UNAVAILABLE", "SHUTTING_DOWN", "OVERLOADED"].contains(&code), "{frame}");
                return Told::End;
            }
            _ => panic!("{frame}"),
        }
        Told::More
    }

    /// The frames of a statement, all at once.
    fn apply(&mut self) {
        let rows = self.rows.as_mut().expect("it has begun");
        let frames = std::mem::take(&mut self.pending);
        let of = |kind: &'static str| frames.iter().filter(move |frame| frame["change_type"] == kind);
        for frame in of("DELETE") {
            for (row, key) in pairs(frame, "rows", "keys") {
                let (id, n) = row_of(row);
                assert_eq!((key, rows.remove(&id)), (&json!(id), Some(n)), "{frame}");
            }
        }
        for frame in of("UPDATE") {
            let keys = if frame.get("old_keys").is_some() { "old_keys" } else { "keys" };
            for (old, key) in pairs(frame, "old_values", keys) {
                let (id, n) = row_of(old);
                assert_eq!((key, rows.remove(&id)), (&json!(id), Some(n)), "{frame}");
            }
        }
        for frame in of("UPDATE").chain(of("INSERT")) {
            for (row, key) in pairs(frame, "rows", "keys") {
                let (id, n) = row_of(row);
                assert_eq!((key, rows.insert(id, n)), (&json!(id), None), "{frame}");
            }
        }
    }

    fn stand(&mut self, begins: bool) {
        let rows = self.rows.clone().expect("it has begun");
        self.stands.push(Stand { seq: self.bookmark, rows, begins });
    }

    /// Compares all of it with the truth; how often it stood somewhere.
    pub(super) fn check(&self, writer: &Writer) -> usize {
        let wanted = |rows: &Rows| -> BTreeMap<i64, i64> {
            rows.iter().filter(|(_, n)| **n >= self.least).map(|(id, n)| (*id, *n)).collect()
        };
        let mut before: Option<&Stand> = None;
        for stand in &self.stands {
            let truth = wanted(writer.at(stand.seq));
            assert_eq!(stand.rows, truth, "{} at {}", self.user, stand.seq);
            if let Some(before) = before.filter(|_| !stand.begins) {
                for (seq, rows) in writer.between(before.seq, stand.seq) {
                    assert_eq!(wanted(rows), before.rows, "{} was not told of {seq}", self.user);
                }
            }
            before = Some(stand);
        }
        self.stands.len()
    }
}

fn pairs<'f>(frame: &'f Json, rows: &str, keys: &str) -> impl Iterator<Item = (&'f Json, &'f Json)> {
    let list = |name: &str| frame[name].as_array().unwrap_or_else(|| panic!("no {name}: {frame}"));
    let (rows, keys) = (list(rows), list(keys));
    assert_eq!(rows.len(), keys.len(), "{frame}");
    rows.iter().zip(keys)
}

fn row_of(row: &Json) -> (i64, i64) {
    let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("{row}"));
    (number("id"), number("n"))
}
