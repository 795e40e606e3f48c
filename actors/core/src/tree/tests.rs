//! Actors are lost; committed rows and other users are not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_commons::settings::Settings;
use kalamdb_commons::{ErrorCode, Identity, NamespaceId, Role, UserId};
use kalamdb_store::BackendRegistry;
use kalamdb_wire::ActorNode;

use super::session::SessionMsg;
use super::{Tree, TreeArgs};
use crate::engine::Runtime;
use crate::{SqlOutcome, SqlRequest, StopReport};

async fn start_with(change: impl FnOnce(&mut Settings)) -> (Arc<Runtime>, Tree) {
    let mut settings = Settings::default();
    settings.storage.backend = "memory".to_owned();
    change(&mut settings);
    let runtime = Arc::new(
        Runtime::open(Arc::new(settings), BackendRegistry::standard()).await.expect("the memory backend opens"),
    );
    let tree = Tree::start(TreeArgs { runtime: Arc::clone(&runtime) }).await.expect("the tree starts");
    (runtime, tree)
}

fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

async fn run(tree: &Tree, name: &str, sql: &str) -> SqlOutcome {
    tree.execute(SqlRequest {
        identity: Identity { user_id: user(name), role: Role::Dba },
        header_user: Ok(None),
        sql: sql.to_owned(),
        params: Vec::new(),
        namespace: NamespaceId::default_namespace(),
        request_id: "test".to_owned(),
    })
    .await
}

async fn rows(tree: &Tree, name: &str, sql: &str) -> u64 {
    let outcome = run(tree, name, sql).await;
    assert!(outcome.error.is_none(), "{sql}: {:?}", outcome.error);
    outcome.results.last().map_or(0, |result| result.row_count)
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while !condition() {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

fn child<'n>(node: &'n ActorNode, name: &str) -> &'n ActorNode {
    node.children.iter().find(|child| child.name == name).expect("a child of that name")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_singleton_is_restarted_and_nothing_is_lost() {
    let (_runtime, tree) = start_with(|_| {}).await;
    assert_eq!(
        rows(&tree, "ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await,
        2
    );

    let shared = Arc::clone(&tree.root.shared);
    shared.catalog.get().expect("it runs").kill();
    shared.sessions.get().expect("it runs").kill();
    shared.housekeeper.get().expect("it runs").kill();
    eventually("all three run again", || {
        let node = tree.describe(None, 10);
        tree.is_up() && ["catalog", "sessions", "housekeeper"].iter().all(|name| child(&node, name).restarts == 1)
    })
    .await;

    assert_eq!(rows(&tree, "ann", "SELECT * FROM t").await, 2);
    assert_eq!(rows(&tree, "ann", "CREATE USER TABLE u (id BIGINT PRIMARY KEY); INSERT INTO u VALUES (1)").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_actor_that_comes_back_reads_what_is_stored() {
    let (runtime, tree) = start_with(|_| {}).await;
    rows(&tree, "ann", "CREATE NAMESPACE kept").await;
    // As if the one before had ended between its write and the swap.
    runtime.swap_catalog(crate::catalog::CatalogSnapshot::default());
    tree.root.shared.catalog.get().expect("it runs").kill();
    eventually("the catalog is read again", || runtime.catalog().namespaces.keys().any(|name| name.as_str() == "kept"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_session_is_its_users_matter_only() {
    let (_runtime, tree) = start_with(|_| {}).await;
    rows(&tree, "ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)").await;
    let sessions = tree.root.sessions();
    for _ in 0..5 {
        assert_eq!(rows(&tree, "ann", "SELECT * FROM t").await, 1);
        let actor = sessions.session_of(&user("ann")).expect("a session");
        let _ = actor.send_message(SessionMsg::Panic);
        eventually("the session is buried", || sessions.session_of(&user("ann")).is_none()).await;
    }
    let refused = run(&tree, "ann", "SELECT 1").await.error.expect("the budget is spent");
    assert_eq!(refused.error.code, ErrorCode::Overloaded);
    assert_eq!(rows(&tree, "bob", "SELECT 1").await, 1, "another user does not notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_retires_and_comes_back() {
    let (_runtime, tree) = start_with(|settings| settings.session.idle_timeout = Duration::from_millis(200)).await;
    rows(&tree, "ann", "SELECT 1").await;
    assert!(tree.root.sessions().session_of(&user("ann")).is_some());
    eventually("the session retires", || tree.root.sessions().session_of(&user("ann")).is_none()).await;
    assert_eq!(rows(&tree, "ann", "SELECT 1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_is_shown_to_the_depth_and_width_asked_for() {
    let (_runtime, tree) = start_with(|_| {}).await;
    for name in ["ann", "bob", "cem"] {
        rows(&tree, name, "SELECT 1").await;
    }
    assert!(tree.describe(Some(0), 10).children.is_empty());
    let node = tree.describe(None, 2);
    let sessions = child(&node, "sessions");
    assert_eq!(sessions.children_total, Some(3));
    let names: Vec<&str> = sessions.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["session/ann", "session/bob"]);
    assert_eq!(sessions.children[0].messages_handled, 1);
    assert_eq!(sessions.children[0].mailbox_depth, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_calls_off_what_does_not_end_and_leaves_no_actor() {
    let (_runtime, tree) = start_with(|_| {}).await;
    rows(&tree, "ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    let values: Vec<String> = (0..2000).map(|id| format!("({id})")).collect();
    rows(&tree, "ann", &format!("INSERT INTO t VALUES {}", values.join(","))).await;
    let shared = Arc::clone(&tree.root.shared);
    eventually("the statements before are gone", || shared.statements() == 0).await;
    let endless = {
        let tree = tree.clone();
        async move { run(&tree, "ann", "SELECT count(*) FROM t a, t b, t c WHERE a.id + b.id + c.id = -1").await }
    };
    let stop = async {
        let running = &tree.root.shared;
        eventually("the statement runs", || running.statements() > 0).await;
        let mut report = StopReport::default();
        tree.stop(Instant::now() + Duration::from_secs(2), &mut report).await;
        report
    };
    let (outcome, report) = tokio::join!(endless, stop);
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::ShuttingDown));
    assert_eq!(report.warnings, ["1 statements were called off"]);
    assert!(!tree.is_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_is_told_to_the_process() {
    let (_runtime, tree) = start_with(|_| {}).await;
    let shared = Arc::clone(&tree.root.shared);
    let killer = async {
        for _ in 0..6 {
            eventually("it runs", || shared.housekeeper.is_running() || shared.has_failed()).await;
            if let Some(actor) = shared.housekeeper.get() {
                let _ = actor.kill_and_wait(None).await;
            }
        }
    };
    let (reason, ()) = tokio::join!(tree.failed(), killer);
    assert!(reason.contains("Housekeeper"), "{reason}");
}
