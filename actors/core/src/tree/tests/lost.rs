//! Every actor below the root is made to fail in every way at every message, under load.

use std::time::Duration;

use kalamdb_commons::{ErrorCode, Outcome};
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually, user};
use super::journal::Load;
use crate::status::flush_overview;
use crate::tree::failures::FAILURES;
use crate::tree::faults::Fault;
use crate::tree::flush::FlushMsg;
use crate::tree::housekeeper::HousekeeperMsg;

/// How often each fault happens in one run: less than the budget.
const TIMES: usize = 2;

/// Ticks come fast, so that they can be failed at.
async fn fixture() -> Fixture {
    Fixture::start_with(
        |settings| {
            settings.session.idle_timeout = Duration::from_millis(400);
            settings.storage.size_log_interval = Duration::from_millis(50);
        },
        |_| {},
    )
    .await
}

/// Lets a singleton fail at one of its messages in every way; it comes back each time and nothing is lost.
async fn singleton_fails(name: &str, kind: &'static str, moment: &'static str) {
    for fault in Fault::ALL {
        fails_over(&fixture().await, name, (kind, moment), fault, |_| {}).await;
    }
}

/// The same over one fixture with one fault. `nudge` brings about messages that would come too seldom.
async fn fails_over(
    fixture: &Fixture,
    name: &str,
    (kind, moment): (&'static str, &'static str),
    fault: Fault,
    nudge: impl Fn(&Fixture),
) {
    let load = Load::start(fixture).await.with_visitors().with_ddl();
    load.goes_on(5).await;
    fixture.faults.arm(kind, moment, (1, TIMES), fault);
    let happened = || {
        nudge(fixture);
        fixture.faults.fired() == TIMES
    };
    eventually("the faults happen", happened).await;
    eventually("the actor is back", || fixture.tree.is_up() && fixture.node(name).restarts == TIMES as u64).await;
    load.goes_on(20).await;
    load.check().await;
    let flushes = || flush_overview(&fixture.runtime, &fixture.tree.flushes());
    eventually("no flush is left", || flushes().running == 0 && flushes().queue_depth == 0).await;
    fixture.is_whole().await;
    let node = fixture.node(name);
    assert_eq!((node.state.as_str(), node.restarts), ("running", TIMES as u64), "{kind} {moment} {fault:?}");
    let last_error = node.last_error.unwrap_or_else(|| panic!("{kind} {moment} {fault:?}: no last error"));
    assert!(!last_error.contains("of the test"), "no internals: {last_error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_actor_at_a_statement() {
    singleton_fails("catalog", "CatalogActor", "Apply").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_supervisor_at_a_new_session() {
    singleton_fails("sessions", "SessionSupervisor", "Open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_supervisor_at_a_tick() {
    singleton_fails("sessions", "SessionSupervisor", "RetireIdle").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_supervisor_at_news_of_a_session() {
    singleton_fails("sessions", "SessionSupervisor", "event").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_cache_actor_at_each_message() {
    singleton_fails("plan-cache", "PlanCacheActor", "CatalogChanged").await;
    for fault in Fault::ALL {
        let fixture = fixture().await;
        fixture.faults.arm("PlanCacheActor", "Clear", (0, 1), fault);
        fixture.rows("ann", "SELECT 1").await;
        // Asked once more of the next.
        fixture.rows("ann", "CLEAR PLAN CACHE").await;
        eventually("it is back", || fixture.tree.is_up() && fixture.node("plan-cache").restarts == 1).await;
        fixture.is_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_housekeeper_at_each_tick() {
    singleton_fails("housekeeper", "Housekeeper", "RetireIdle").await;
    singleton_fails("housekeeper", "Housekeeper", "LogSize").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_at_a_statement() {
    for fault in Fault::ALL {
        // No session retires: each has its count to the end.
        let fixture = Fixture::start().await;
        let load = Load::start(&fixture).await.with_ddl();
        load.goes_on(5).await;
        fixture.faults.arm("SessionActor", "Run", (1, TIMES), fault);
        eventually("the faults happen", || fixture.faults.fired() == TIMES).await;
        load.goes_on(40).await;
        load.check().await;
        fixture.is_whole().await;
        let restarts = || fixture.node("sessions").children.iter().map(|session| session.restarts).sum::<u64>();
        eventually("each loss is counted", || restarts() >= TIMES as u64).await;
        let sessions = fixture.node("sessions");
        assert_eq!(sessions.restarts, 0, "the supervisor stays");
        assert_eq!(restarts(), TIMES as u64, "{fault:?}: {sessions:?}");
        let told = sessions.children.iter().filter_map(|session| session.last_error.as_ref());
        assert!(told.clone().count() > 0 && told.clone().all(|text| !text.contains("of the test")), "{sessions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_fails_too_often_is_its_users_matter_only() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    for _ in 0..FAILURES {
        assert_eq!(fixture.rows("ann", "SELECT * FROM t").await, 1);
        let session = fixture.tree.root.sessions().session_of(&user("ann")).expect("a session");
        session.actor.kill();
        let gone = || fixture.tree.root.sessions().session_of(&user("ann")).is_none();
        eventually("the session is buried", gone).await;
    }
    let refused = fixture.error("ann", "SELECT 1").await;
    assert_eq!(refused.code, ErrorCode::Overloaded);
    let wait = refused.retry_after.expect("it says how long");
    assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&wait), "{wait:?}");
    assert_eq!(fixture.rows("bob", "SELECT 1").await, 1, "another user does not notice");
    assert!(!fixture.tree.root.shared.has_failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_a_lost_session_keep_their_users_places() {
    let fixture = Fixture::start_with(|settings| settings.query.max_concurrent_per_user = 1, |_| {}).await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT)").await;
    fixture.is_whole().await;
    let sessions = fixture.tree.root.sessions().clone();
    for lose in ["the session", "the supervisor"] {
        let gate = fixture.runtime.store().committer.close_gate(fixture.table("t")).await;
        let first = JoinSet::from_iter([{
            let fixture = fixture.clone();
            async move { fixture.rows("ann", "INSERT INTO t VALUES (1)").await }
        }]);
        eventually("it has its place", || fixture.tree.root.shared.admission.taken() == 1).await;
        let before = sessions.session_of(&user("ann")).expect("a session");
        match lose {
            "the session" => before.actor.kill(),
            _ => fixture.tree.root.shared.sessions.get().expect("it runs").kill(),
        }
        eventually("it is lost", || before.actor.get_status() == ractor::ActorStatus::Stopped).await;
        let second = JoinSet::from_iter([{
            let fixture = fixture.clone();
            async move { fixture.rows("ann", "SELECT 1").await }
        }]);
        eventually("the next one waits for its place", || fixture.tree.root.shared.admission.waiting() == 1).await;
        drop(gate);
        assert_eq!((first.join_all().await, second.join_all().await), (vec![1], vec![1]), "{lose}");
        fixture.is_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flush_coordinator_at_a_tick() {
    singleton_fails("flushes", "FlushCoordinator", "Tick").await;
}

/// It is busy: a table is flushed again and again.
async fn flush_coordinator_fails(moment: &'static str) {
    for fault in Fault::ALL {
        let directory = tempfile::tempdir().expect("a directory");
        let location = directory.path().join("storage");
        let fixture = Fixture::start_with(|settings| settings.storage.default_location = location, |_| {}).await;
        let nudge = |fixture: &Fixture| {
            fixture.tree.root.shared.flushes.cast(FlushMsg::Crossed { table: fixture.table("t") });
        };
        fails_over(&fixture, "flushes", ("FlushCoordinator", moment), fault, nudge).await;
        // It does its work as before.
        fixture.rows("ann", "FLUSH TABLE t").await;
        let totals = fixture.runtime.store().committer.totals(fixture.table("t"));
        assert!(totals.segments > 0 && totals.buffered_rows == 0, "{moment} {fault:?}: {totals:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flush_coordinator_at_a_threshold() {
    flush_coordinator_fails("Crossed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flush_coordinator_at_the_end_of_a_flush() {
    flush_coordinator_fails("Ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_housekeeper_at_a_sweep() {
    singleton_fails("housekeeper", "Housekeeper", "Sweep").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_housekeeper_at_old_rows_of_streams() {
    singleton_fails("housekeeper", "Housekeeper", "Expire").await;
}

/// At a tick that comes once in a second or in a minute: it is sent by hand.
async fn housekeeper_fails(moment: &'static str, tick: fn() -> HousekeeperMsg) {
    for fault in Fault::ALL {
        let nudge = |fixture: &Fixture| fixture.tree.root.shared.housekeeper.cast(tick());
        fails_over(&fixture().await, "housekeeper", ("Housekeeper", moment), fault, nudge).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_housekeeper_at_old_jobs() {
    housekeeper_fails("ForgetJobs", || HousekeeperMsg::ForgetJobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_housekeeper_at_long_change_logs() {
    housekeeper_fails("TrimLogs", || HousekeeperMsg::TrimLogs).await;
}

/// Who asked is told to come again, and finds a session; nobody else notices.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_do_not_start() {
    for fault in [Fault::Panic, Fault::Fail, Fault::Kill] {
        let fixture = Fixture::start().await;
        fixture.rows("bob", "CREATE USER TABLE t (id BIGINT)").await;
        fixture.faults.arm("SessionActor", "start", (0, 1), fault);
        let error = fixture.error("ann", "INSERT INTO t VALUES (1)").await;
        assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NothingChanged), "{fault:?}");
        assert_eq!(fixture.faults.fired(), 1, "{fault:?}");
        assert_eq!(fixture.rows("bob", "SELECT 1").await, 1, "{fault:?}");
        assert_eq!(fixture.rows("ann", "SELECT * FROM t").await, 0, "{fault:?}");
        let session = fixture.node("session/ann");
        assert_eq!((session.restarts, session.last_error.as_deref()), (1, Some("it did not start")), "{fault:?}");
        assert_eq!(fixture.node("sessions").restarts, 0, "{fault:?}");
        fixture.is_whole().await;
    }
    // One that is lost as soon as it is there: its request is sent once more.
    let fixture = Fixture::start().await;
    fixture.faults.arm("SessionActor", "start", (0, 1), Fault::KillMidway);
    assert_eq!(fixture.rows("ann", "SELECT 1").await, 1);
    assert_eq!(fixture.faults.fired(), 1);
    fixture.is_whole().await;
}

/// Nobody can say how such a flush ended: the error tells where to look, no row is lost, and the next flush is served.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_flushes_at_a_lost_actor_is_told_where_to_look() {
    for (kind, moment) in [("FlushCoordinator", "Flush"), ("FlushActor", "Run"), ("FlushActor", "start")] {
        for fault in [Fault::Panic, Fault::Fail, Fault::Kill] {
            let directory = tempfile::tempdir().expect("a directory");
            let location = directory.path().join("storage");
            let fixture = Fixture::start_with(|settings| settings.storage.default_location = location, |_| {}).await;
            fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
            fixture.faults.arm(kind, moment, (0, 1), fault);
            let error = fixture.error("ann", "FLUSH TABLE t").await;
            assert_eq!(error.code, ErrorCode::Internal, "{kind} {fault:?}: {error}");
            assert!(error.message.contains("system.jobs"), "{kind} {fault:?}: {error}");
            assert_eq!(fixture.rows("ann", "SELECT * FROM t").await, 1);
            assert_eq!(fixture.rows("ann", "FLUSH TABLE t").await, 1);
            assert_eq!(fixture.rows("ann", "SELECT * FROM t").await, 1);
            let buffered = fixture.runtime.store().committer.totals(fixture.table("t")).buffered_rows;
            assert_eq!(buffered, 0, "{kind} {fault:?}");
            fixture.is_whole().await;
        }
    }
}
