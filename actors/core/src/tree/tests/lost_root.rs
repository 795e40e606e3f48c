//! The root is lost: that is the end of the tree, and the process is told so.

use std::time::Duration;

use tokio::time::timeout;

use super::fixture::{Fixture, eventually};
use crate::tree::faults::Fault;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the process is told; the tree is down then.
async fn told(fixture: &Fixture) -> String {
    let reason = timeout(PATIENCE, fixture.tree.failed()).await.expect("the process is told");
    assert!(fixture.tree.down().contains(&"root"), "{:?}", fixture.tree.down());
    assert_eq!(reason.lines().count(), 1, "{reason}");
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_fails_at_its_work_is_told() {
    for moment in ["event", "Respawn"] {
        for fault in Fault::ALL {
            let fixture = Fixture::start().await;
            fixture.rows("ann", "CREATE USER TABLE t (id BIGINT); INSERT INTO t VALUES (1)").await;
            fixture.faults.arm("RootSupervisor", moment, (0, 1), fault);
            fixture.tree.root.shared.housekeeper.get().expect("it runs").kill();
            let reason = told(&fixture).await;
            assert!(reason.contains("root"), "{moment} {fault:?}: {reason}");
            assert!(!reason.contains("of the test"), "{reason}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_killed_takes_its_children_along() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "SELECT 1").await;
    let shared = &fixture.tree.root.shared;
    let children = (shared.catalog.get(), shared.sessions.get(), shared.housekeeper.get());
    fixture.tree.root.actor().kill();
    assert!(told(&fixture).await.contains("root"));
    eventually("no actor is left", || {
        let stopped = ractor::ActorStatus::Stopped;
        children.0.as_ref().is_some_and(|actor| actor.get_status() == stopped)
            && children.1.as_ref().is_some_and(|actor| actor.get_status() == stopped)
            && children.2.as_ref().is_some_and(|actor| actor.get_status() == stopped)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_was_stopped_is_no_failure() {
    let fixture = Fixture::start().await;
    let mut report = crate::StopReport::default();
    fixture.tree.stop(std::time::Instant::now() + PATIENCE, &mut report).await;
    assert_eq!(report.warnings, Vec::<String>::new());
    let all = ["root", "catalog", "flushes", "live", "plan-cache", "sessions", "housekeeper"];
    eventually("all of it is gone", || fixture.tree.down() == all).await;
    assert!(!fixture.tree.root.shared.has_failed());
}
