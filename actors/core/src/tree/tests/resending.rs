//! A statement that was dropped unstarted is sent once more; one that may have begun never is.

use kalamdb_commons::{ErrorCode, Outcome};

use super::fixture::Fixture;
use crate::tree::faults::Fault;

async fn fixture() -> Fixture {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT)").await;
    fixture
}

async fn count(fixture: &Fixture) -> u64 {
    fixture.rows("ann", "SELECT * FROM t").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_in_the_mailbox_or_before_its_turn_runs_once() {
    for (moment, fault) in [
        ("Run", Fault::Panic),
        ("Run", Fault::Fail),
        ("Run", Fault::Kill),
        ("Run", Fault::KillMidway),
        ("turn", Fault::Panic),
    ] {
        let fixture = fixture().await;
        fixture.faults.arm("SessionActor", moment, (0, 1), fault);
        assert_eq!(fixture.rows("ann", "INSERT INTO t VALUES (1)").await, 1, "{moment} {fault:?}");
        assert_eq!(fixture.faults.fired(), 1);
        assert_eq!(count(&fixture).await, 1, "{moment} {fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_twice_is_refused_and_did_nothing() {
    for (moment, fault) in [("Run", Fault::Kill), ("turn", Fault::Panic)] {
        let fixture = fixture().await;
        fixture.faults.arm("SessionActor", moment, (0, 2), fault);
        let error = fixture.error("ann", "INSERT INTO t VALUES (1)").await;
        assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NothingChanged), "{moment}");
        assert_eq!((fixture.faults.fired(), count(&fixture).await), (2, 0), "{moment}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_begun_is_never_sent_again() {
    for (moment, rows) in [("begun", 0), ("done", 1)] {
        let fixture = fixture().await;
        fixture.faults.arm("SessionActor", moment, (0, 1), Fault::Panic);
        let error = fixture.error("ann", "INSERT INTO t VALUES (1)").await;
        assert_eq!((error.code, error.outcome), (ErrorCode::Internal, Outcome::Unknown), "{moment}");
        assert_eq!((fixture.faults.fired(), count(&fixture).await), (1, rows), "{moment}");
        fixture.is_whole().await;
        assert_eq!(fixture.node("session/ann").restarts, 0, "the session itself lives on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_question_for_a_session_is_asked_again() {
    for fault in Fault::ALL {
        let fixture = fixture().await;
        fixture.faults.arm("SessionSupervisor", "Open", (0, 1), fault);
        assert_eq!(fixture.rows("bob", "SELECT 1").await, 1, "{fault:?}");
        assert_eq!(fixture.faults.fired(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ddl_that_is_lost_before_it_began_runs_once() {
    for fault in Fault::ALL {
        let fixture = fixture().await;
        fixture.faults.arm("CatalogActor", "Apply", (0, 1), fault);
        // A second run would be NAMESPACE_EXISTS.
        fixture.rows("ann", "CREATE NAMESPACE once").await;
        assert_eq!(fixture.faults.fired(), 1, "{fault:?}");
        fixture.fails("ann", "CREATE NAMESPACE once", ErrorCode::NamespaceExists).await;
    }
}
