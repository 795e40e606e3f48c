//! Who runs, who waits, who is refused. A closed gate keeps writes running for as long as a test likes.

use std::time::Duration;

use kalamdb_commons::settings::Settings;
use kalamdb_commons::{ErrorCode, Outcome};
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually};
use crate::SqlOutcome;
use crate::tree::admission::Bounds;

/// A tree with a table whose writes run until the gate is opened.
struct Held {
    fixture: Fixture,
    gate: OwnedRwLockWriteGuard<()>,
    statements: JoinSet<SqlOutcome>,
}

impl Held {
    async fn start(change: impl FnOnce(&mut Settings), narrow: impl FnOnce(&mut Bounds)) -> Self {
        let fixture = Fixture::start_with(change, narrow).await;
        fixture.rows("ann", "CREATE USER TABLE t (id BIGINT, v TEXT)").await;
        fixture.is_whole().await;
        let gate = fixture.runtime.store().committer.close_gate(fixture.table("t")).await;
        Self { fixture, gate, statements: JoinSet::new() }
    }

    /// Sends a statement and waits until it has a place or waits for one: a task that is only counted could
    /// still be overtaken by the next.
    async fn send(&mut self, name: &str, sql: &str) {
        let before = self.standing();
        let (fixture, name, sql) = (self.fixture.clone(), name.to_owned(), sql.to_owned());
        self.statements.spawn(async move { fixture.run(&name, sql).await });
        eventually("it has a place or waits for one", || self.standing() > before).await;
    }

    /// A write that does not end before the gate opens.
    async fn write(&mut self, name: &str) {
        self.send(name, "INSERT INTO t VALUES (1, 'x')").await;
    }

    /// Places that are taken and statements that wait.
    fn standing(&self) -> usize {
        let admission = &self.fixture.tree.root.shared.admission;
        admission.taken() + admission.waiting()
    }

    async fn waiting(&self, count: usize) {
        eventually("they wait", || self.fixture.tree.root.shared.admission.waiting() == count).await;
    }

    /// Opens the gate: everything that was let in succeeds, and leaves nothing behind.
    async fn finish(self) -> Vec<SqlOutcome> {
        let Self { fixture, gate, statements } = self;
        drop(gate);
        let outcomes = statements.join_all().await;
        fixture.is_whole().await;
        outcomes
    }
}

#[track_caller]
fn all_succeeded(outcomes: &[SqlOutcome], count: usize) {
    assert_eq!(outcomes.len(), count);
    for outcome in outcomes {
        assert!(outcome.error.is_none(), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_users_flood_leaves_the_others_their_places() {
    let mut held =
        Held::start(|settings| settings.query.max_concurrent_per_user = 2, |bounds| bounds.running = 4).await;
    for _ in 0..20 {
        held.write("ann").await;
    }
    held.waiting(18).await;
    for _ in 0..5 {
        assert_eq!(held.fixture.rows("bob", "SELECT 1").await, 1, "there is a place for another user");
    }
    held.waiting(18).await;
    all_succeeded(&held.finish().await, 20);
}

/// Each takes nine places of 32: four would leave none.
#[tokio::test(flavor = "multi_thread")]
async fn one_users_long_statements_leave_the_others_their_places() {
    let mut held = Held::start(|_| {}, |bounds| bounds.running = 32).await;
    let long = format!("INSERT INTO t VALUES (1, '{}')", "x".repeat(1 << 20));
    for _ in 0..6 {
        held.send("ann", &long).await;
    }
    held.waiting(5).await;
    for _ in 0..5 {
        assert_eq!(held.fixture.rows("bob", "SELECT 1").await, 1, "there is a place for another user");
    }
    all_succeeded(&held.finish().await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_users_together_are_bounded_and_served_as_they_came() {
    let mut held = Held::start(|_| {}, |bounds| bounds.running = 2).await;
    held.write("ann").await;
    held.write("bob").await;
    for name in ["cem", "dan", "eve"] {
        held.send(name, "SELECT 1").await;
    }
    held.waiting(3).await;
    all_succeeded(&held.finish().await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_wait_are_overloaded() {
    let one_each = |settings: &mut Settings| settings.query.max_concurrent_per_user = 1;
    let mut held = Held::start(one_each, |bounds| (bounds.running, bounds.waiting) = (2, 2)).await;
    held.write("ann").await;
    held.write("ann").await;
    held.write("bob").await;
    held.send("cem", "SELECT 1").await;
    held.waiting(2).await;
    // One for its user's place, one for a place of all, and no more of either; no mailbox takes more.
    for name in ["ann", "bob", "cem", "dan"] {
        let error = held.fixture.error(name, "INSERT INTO t VALUES (2, 'x')").await;
        assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NothingChanged), "{name}");
        assert!(error.message.contains("query.max_waiting"), "{error}");
    }
    let fixture = held.fixture.clone();
    all_succeeded(&held.finish().await, 4);
    assert_eq!(fixture.rows("ann", "SELECT * FROM t WHERE id = 2").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_past_its_time_is_a_timeout_and_changed_nothing() {
    let hasty = |settings: &mut Settings| {
        settings.query.max_concurrent_per_user = 1;
        settings.server.request_timeout = Duration::from_secs(4);
    };
    let mut held = Held::start(hasty, |_| {}).await;
    // DDL runs until it is done, however long it waits; so it keeps its place.
    held.send("ann", "DROP TABLE t").await;
    let waited = held.fixture.error("ann", "CREATE NAMESPACE late").await;
    assert_eq!((waited.code, waited.outcome), (ErrorCode::Timeout, Outcome::NothingChanged));
    assert!(waited.message.contains("turn"), "{waited}");
    let ran = held.fixture.error("bob", "INSERT INTO t VALUES (1, 'x')").await;
    assert_eq!((ran.code, ran.outcome), (ErrorCode::Timeout, Outcome::NothingChanged));
    let fixture = held.fixture.clone();
    all_succeeded(&held.finish().await, 1);
    fixture.fails("ann", "DROP NAMESPACE late", ErrorCode::NamespaceNotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_texts_of_all_requests_are_bounded() {
    let mut held = Held::start(|_| {}, |bounds| bounds.request_bytes = 1 << 20).await;
    let long = |bytes: usize| format!("INSERT INTO t VALUES (1, '{}')", "x".repeat(bytes));
    held.send("ann", &long(400 << 10)).await;
    held.send("bob", &long(400 << 10)).await;
    let error = held.fixture.error("cem", &long(400 << 10)).await;
    assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NothingChanged));
    assert_eq!(held.fixture.rows("cem", "SELECT 1").await, 1, "a short one still fits");
    let fixture = held.fixture.clone();
    all_succeeded(&held.finish().await, 2);
    assert_eq!(fixture.rows("cem", &long(400 << 10)).await, 1);
    assert_eq!(fixture.rows("cem", &long(4 << 20)).await, 1, "one alone always fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_give_back_their_places() {
    let mut held = Held::start(|settings| settings.query.max_concurrent_per_user = 1, |_| {}).await;
    for _ in 0..10 {
        held.write("ann").await;
    }
    held.waiting(9).await;
    held.statements.shutdown().await;
    held.fixture.is_whole().await;
    let fixture = held.fixture.clone();
    all_succeeded(&held.finish().await, 0);
    assert_eq!(fixture.rows("ann", "SELECT * FROM t").await, 0, "what had not begun to commit did not");
}
