//! A client that keeps the results of two queries, and writes down what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use kalamdb_tests::{Client, Credentials, LiveClient, Replay, Role, SECRET, Subscription, token};

use super::history::{Count, Event, History, How, Rows, Truth};
use super::{PATIENCE, Progress};

/// The names of a follower's queries, and the least `n` that each of them is for.
pub(super) const QUERIES: [(&str, i64); 2] = [("all", 0), ("some", 3)];
const SQL: &str = "SELECT n, id, v FROM kills.t WHERE n >= $1";
/// Until somebody who waits for a frame looks around.
const GLANCE: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) user: &'static str,
    base: String,
    /// It has hardly any room for what it does not read.
    narrow: bool,
    die: StdRng,
    client: LiveClient,
    /// On which of its connections each query has begun.
    begun: BTreeMap<&'static str, u64>,
    histories: BTreeMap<&'static str, History>,
    /// Those of clients that it was before.
    past: Vec<BTreeMap<&'static str, History>>,
}

impl Follower {
    /// Subscribes to nothing yet.
    pub(super) fn new(base: &str, user: &'static str, narrow: bool, seed: u64) -> Self {
        let (client, histories) = fresh(base, user, narrow);
        let (base, die) = (base.to_owned(), StdRng::seed_from_u64(seed));
        Self { user, base, narrow, die, client, begun: BTreeMap::new(), histories, past: Vec::new() }
    }

    async fn begin(&mut self) {
        for (name, least) in QUERIES {
            let batch_size = Some(self.die.random_range(1..20));
            let whole = Subscription::whole(name, SQL).with_params(json!([least]));
            self.client.subscribe(Subscription { batch_size, ..whole }).await;
        }
    }

    /// Follows, with pauses and over lost connections, until nothing is written any more.
    pub(super) async fn follow(mut self, progress: Arc<Progress>) -> Self {
        self.begin().await;
        while !progress.is_over() {
            match self.die.random_range(0..200) {
                // Somewhere, also in the middle of a statement or of a snapshot.
                0..4 => self.client.disconnect(),
                4..8 => progress.goes_on(self.die.random_range(1..15)).await,
                8 => {
                    let (client, histories) = fresh(&self.base, self.user, self.narrow);
                    (self.client, self.begun) = (client, BTreeMap::new());
                    self.past.push(std::mem::replace(&mut self.histories, histories));
                    self.begin().await;
                }
                _ => {}
            }
            self.step().await;
        }
        self
    }

    /// Takes a frame, if one comes, and writes down what it does.
    async fn step(&mut self) {
        let bookmarks = QUERIES.map(|(name, _)| (name, self.client.replay(name).bookmark()));
        let Some(frame) = self.client.step_within(GLANCE).await else { return };
        let Some(at) = bookmarks.iter().position(|(name, _)| frame["query_id"] == **name) else {
            panic!("{}: a frame of no subscription: {frame}", self.user);
        };
        let (name, before) = bookmarks[at];
        let replay = self.client.replay(name);
        let history = self.histories.get_mut(name).expect("each query has one");
        let seq = || frame["seq"].as_u64().unwrap_or_else(|| panic!("no seq: {frame}"));
        let how = match frame["type"].as_str().unwrap_or_default() {
            "subscribed" => {
                let resumed = frame["resumed"] == true;
                self.begun.insert(name, self.client.reconnects());
                return history.note(Event::Begun { asked: before, seq: seq(), resumed });
            }
            "change" => {
                let more = frame["more"] == true;
                history.note(Event::Change { seq: seq(), more });
                How::Statement
            }
            "initial_data" => How::Snapshot,
            "progress" => How::Progress,
            "closed" => {
                // Nothing else ends it while the server lives.
                assert_eq!(frame["reason"], "slow_consumer", "{}: {frame}", self.user);
                let resume_seq = frame["resume_seq"].as_u64();
                // Cut off before it was told of its beginning, there is nothing that it could be told.
                let has_begun = self.begun.get(name) == Some(&self.client.reconnects());
                history.note(Event::Closed { resume_seq, bookmark: before.filter(|_| has_begun) });
                // A client goes on with a new connection.
                return self.client.disconnect();
            }
            _ => panic!("{}: {frame}", self.user),
        };
        let Some(seq) = replay.bookmark().filter(|bookmark| Some(*bookmark) != before) else { return };
        history.note(Event::Stands { seq, how, rows: rows_of(replay) });
    }

    /// Follows until it has got so far.
    pub(super) async fn come_to(&mut self, newest: u64) {
        let deadline = Instant::now() + PATIENCE;
        let is_behind = |client: &LiveClient| {
            QUERIES.iter().any(|(name, _)| client.replay(name).bookmark().is_none_or(|bookmark| bookmark < newest))
        };
        while is_behind(&self.client) {
            assert!(Instant::now() < deadline, "{} stops short of {newest}: {:?}", self.user, self.client);
            self.step().await;
        }
    }

    /// In the end it has the rows that the queries have.
    pub(super) async fn agrees(&self, caller: &Client) {
        for (name, least) in QUERIES {
            let answer = caller.sql_params(SQL, json!([least])).await.success();
            let rows: BTreeMap<String, Value> =
                answer.rows().iter().map(|row| (row["id"].to_string(), row.clone())).collect();
            assert_eq!(*self.client.replay(name).rows(), rows, "{name} of {}", self.user);
        }
    }

    /// Compares all that it was told with the truth.
    pub(super) fn check(&self, truth: &Truth) -> Count {
        let mut count = Count::default();
        for (name, history) in self.past.iter().flatten().chain(&self.histories) {
            let broken = history.broken(truth);
            assert!(broken.is_empty(), "{name} of {}: {broken:#?}\n{history:?}", self.user);
            count += history.count();
        }
        count
    }
}

fn fresh(base: &str, user: &str, narrow: bool) -> (LiveClient, BTreeMap<&'static str, History>) {
    let client = LiveClient::new(base, Credentials::token(token(user, Role::User, SECRET)));
    let histories = QUERIES.iter().map(|(name, least)| (*name, History::new(*least))).collect();
    (if narrow { client.narrow() } else { client }, histories)
}

fn rows_of(replay: &Replay) -> Rows {
    let row = |(key, row): (&String, &Value)| {
        let number = |name: &str| row[name].as_i64().unwrap_or_else(|| panic!("no {name}: {row}"));
        let text = row["v"].as_str().unwrap_or_else(|| panic!("no v: {row}"));
        assert!(*key == number("id").to_string() && text.bytes().all(|byte| byte == b'x'), "{key}: {row}");
        (number("id"), (number("n"), text.len()))
    };
    replay.rows().iter().map(row).collect()
}
