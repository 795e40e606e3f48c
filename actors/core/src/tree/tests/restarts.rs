//! Restarts that do not succeed at once: budgets, back-off, and the end.

use std::sync::Arc;

use kalamdb_commons::{ErrorCode, Outcome};
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually};
use super::journal::Load;
use crate::catalog::CatalogSnapshot;
use crate::tree::faults::Fault;
use crate::tree::root::RESTARTS;

/// A singleton that is lost and does not come up at once.
async fn is_tried_again(name: &str, kind: &'static str) {
    for fault in [Fault::Panic, Fault::Fail, Fault::Kill] {
        let fixture = Fixture::start().await;
        let load = Load::start(&fixture).await.with_ddl();
        load.goes_on(5).await;
        fixture.faults.arm(kind, "start", (0, 2), fault);
        let shared = &fixture.tree.root.shared;
        match name {
            "catalog" => shared.catalog.get().expect("it runs").kill(),
            "flushes" => shared.flushes.get().expect("it runs").kill(),
            "live" => shared.live.supervisor().get().expect("it runs").kill(),
            "plan-cache" => shared.plans.get().expect("it runs").kill(),
            "sessions" => shared.sessions.get().expect("it runs").kill(),
            "housekeeper" => shared.housekeeper.get().expect("it runs").kill(),
            other => panic!("{other} is no singleton"),
        }
        eventually("it is back", || fixture.node(name).restarts == 1).await;
        assert_eq!(fixture.faults.fired(), 2, "{kind} {fault:?}");
        load.goes_on(10).await;
        load.check().await;
        fixture.is_whole().await;
        let last_error = fixture.node(name).last_error.unwrap_or_default();
        assert!(last_error.contains("did not start"), "{kind} {fault:?}: {last_error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_does_not_come_up_is_tried_again() {
    for (name, kind) in [("catalog", "CatalogActor"), ("sessions", "SessionSupervisor"), ("housekeeper", "Housekeeper")]
    {
        is_tried_again(name, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_that_no_statement_needs() {
    for (name, kind) in [("flushes", "FlushCoordinator"), ("live", "LiveSupervisor"), ("plan-cache", "PlanCacheActor")]
    {
        is_tried_again(name, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_never_comes_up_ends_the_process() {
    let fixture = Fixture::start().await;
    fixture.faults.arm("SessionSupervisor", "start", (0, 100), Fault::Fail);
    fixture.tree.root.shared.sessions.get().expect("it runs").kill();
    let reason = fixture.tree.failed().await;
    assert!(reason.contains("SessionSupervisor") && reason.contains("did not start"), "{reason}");
    assert_eq!(fixture.faults.fired(), RESTARTS, "each try was spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_cannot_be_read_ends_the_process_and_says_why() {
    let fixture = Fixture::start().await;
    fixture.runtime.store().backend.close().await.expect("it closes");
    fixture.tree.root.shared.catalog.get().expect("it runs").kill();
    let reason = fixture.tree.failed().await;
    assert!(reason.contains("CatalogActor") && reason.contains("is closed"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_ends_the_process() {
    let fixture = Fixture::start().await;
    let shared = &fixture.tree.root.shared;
    let killer = async {
        for _ in 0..=RESTARTS {
            eventually("it runs", || shared.housekeeper.is_running() || shared.has_failed()).await;
            if let Some(actor) = shared.housekeeper.get() {
                let _ = actor.kill_and_wait(None).await;
            }
        }
    };
    let (reason, ()) = tokio::join!(fixture.tree.failed(), killer);
    assert!(reason.contains("Housekeeper") && reason.contains("killed"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_actor_that_comes_back_reads_what_is_stored() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE NAMESPACE kept").await;
    // As if the one before had ended between its write and the swap.
    fixture.runtime.swap_catalog(CatalogSnapshot::default());
    fixture.tree.root.shared.catalog.get().expect("it runs").kill();
    eventually("the catalog is read again", || {
        fixture.runtime.catalog().namespaces.keys().any(|name| name.as_str() == "kept")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_between_the_catalogs_write_and_its_answer_loses_nothing() {
    let fixture = Fixture::start().await;
    fixture.faults.arm("CatalogActor", "written", (0, 1), Fault::Panic);
    let error = fixture.error("ann", "CREATE USER TABLE t (id BIGINT)").await;
    assert_eq!((error.code, error.outcome), (ErrorCode::Internal, Outcome::Unknown));
    eventually("it is back", || fixture.node("catalog").restarts == 1).await;
    assert_eq!(fixture.rows("ann", "INSERT INTO t VALUES (1)").await, 1, "what was stored is there");
    fixture.rows("ann", "CREATE USER TABLE u (id BIGINT)").await;
    assert_ne!(fixture.table("t"), fixture.table("u"), "CA-2");
    fixture.is_whole().await;
}

/// A DDL statement that has begun ends by itself; the new actor waits for it, so that nothing is written behind its
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_actor_lost_in_the_middle_leaves_its_statement_whole() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT); CREATE USER TABLE u (id BIGINT)").await;
    let shared = Arc::clone(&fixture.tree.root.shared);
    let gate = fixture.runtime.store().committer.close_gate(fixture.table("t")).await;
    let mut statements = JoinSet::new();
    let mut send = |sql: &'static str| {
        let asking = fixture.clone();
        statements.spawn(async move { asking.rows("ann", sql).await });
    };
    let handled = fixture.node("catalog").messages_handled;
    send("DROP TABLE t");
    eventually("it has begun", || fixture.node("catalog").messages_handled == handled + 1).await;
    send("CREATE NAMESPACE one");
    send("CREATE NAMESPACE two");
    eventually("one runs, two wait", || fixture.node("catalog").mailbox_depth == 2).await;
    shared.catalog.get().expect("it runs").kill();
    eventually("it is lost", || fixture.node("catalog").last_error.is_some()).await;
    eventually("its mail is gone", || fixture.node("catalog").mailbox_depth == 0).await;
    assert!(!shared.catalog.is_running(), "the next one waits for the statement that has begun");
    drop(gate);
    assert_eq!(statements.join_all().await, [0, 0, 0]);
    fixture.fails("ann", "SELECT * FROM t", ErrorCode::TableNotFound).await;
    for namespace in ["one", "two"] {
        fixture.rows("ann", &format!("CREATE USER TABLE {namespace}.v (id BIGINT)")).await;
    }
    fixture.is_whole().await;
}
