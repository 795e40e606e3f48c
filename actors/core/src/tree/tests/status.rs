//! What the tree says of itself.

use std::time::Duration;

use super::fixture::{Fixture, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn the_tree_is_shown_to_the_depth_and_width_asked_for() {
    let fixture = Fixture::start().await;
    for name in ["ann", "bob", "cem"] {
        fixture.rows(name, "SELECT 1").await;
    }
    fixture.is_whole().await;
    assert!(fixture.tree.describe(Some(0), 10).children.is_empty());
    let node = fixture.tree.describe(None, 2);
    let shown: Vec<(&str, &str)> =
        node.children.iter().map(|child| (child.name.as_str(), child.kind.as_str())).collect();
    let expected = [
        ("catalog", "CatalogActor"),
        ("flushes", "FlushCoordinator"),
        ("live", "LiveSupervisor"),
        ("plan-cache", "PlanCacheActor"),
        ("sessions", "SessionSupervisor"),
        ("housekeeper", "Housekeeper"),
    ];
    assert_eq!(shown, expected);
    assert!(node.children.iter().all(|child| child.state == "running" && child.last_error.is_none()));
    let sessions = &node.children[4];
    assert_eq!(sessions.children_total, Some(3));
    let names: Vec<&str> = sessions.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["session/ann", "session/bob"]);
    assert_eq!(sessions.children[0].messages_handled, 1);
    assert_eq!(sessions.children[0].mailbox_depth, 0);
    assert_eq!(sessions.messages_handled, 3);
    let shallow = fixture.tree.describe(Some(1), 10);
    assert_eq!((shallow.children[4].children.len(), shallow.children[4].children_total), (0, Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_actor_says_so_until_it_is_back() {
    let fixture =
        Fixture::start_with(|settings| settings.session.idle_timeout = Duration::from_secs(600), |_| {}).await;
    fixture.tree.root.shared.housekeeper.get().expect("it runs").kill();
    eventually("it is lost", || fixture.node("housekeeper").last_error.is_some()).await;
    eventually("it is back", || fixture.node("housekeeper").restarts == 1 && fixture.tree.is_up()).await;
    let node = fixture.node("housekeeper");
    assert_eq!((node.state.as_str(), node.last_error.as_deref()), ("running", Some("killed")));
    assert_eq!(fixture.node("catalog").restarts, 0);
    assert_eq!(fixture.node("root").messages_handled, 1, "one restart");
}
