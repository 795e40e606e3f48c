//! WR-5: a store that failed is opened again whichever actor is lost over it.

use kalamdb_commons::{ErrorCode, Outcome};
use kalamdb_faults::Machine;

use super::fixture::{Fixture, eventually};
use crate::tree::faults::Fault;

/// Without an interval nothing is written unasked while a test has the store fail.
const TABLE: &str =
    "CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_interval = 'off'); INSERT INTO t VALUES (1)";

/// A tree whose store is going to fail, with one row of ann's that was acknowledged before.
async fn failed(machine: &Machine) -> Fixture {
    let fixture = Fixture::start_on(machine).await;
    fixture.rows("ann", TABLE).await;
    fixture
}

async fn fail_once(machine: &Machine, fixture: &Fixture, id: u64) {
    machine.faults().fail_syncs(true);
    let error = fixture.error("bob", &format!("INSERT INTO t VALUES ({id})")).await;
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::Unknown));
    machine.faults().fail_syncs(false);
}

async fn recovers(fixture: &Fixture, what: &str) {
    eventually(what, || !fixture.runtime.store().has_failed() && fixture.tree.is_up()).await;
    fixture.is_whole().await;
    assert_eq!(fixture.rows("ann", "SELECT * FROM t").await, 1, "{what}: what was acknowledged is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_the_actors_that_open_it() {
    for (actor, message) in [("CatalogActor", "Adopt"), ("Housekeeper", "CheckStore")] {
        for fault in Fault::ALL {
            let machine = Machine::new(1);
            let fixture = failed(&machine).await;
            fixture.faults.arm(actor, message, (0, 1), fault);
            fail_once(&machine, &fixture, 1).await;
            recovers(&fixture, &format!("{actor} at {message}, {fault:?}")).await;
            assert_eq!(fixture.faults.fired(), 1, "{actor} at {message}, {fault:?}");
            let ids = fixture.rows("bob", "INSERT INTO t VALUES (100), (101)").await;
            assert_eq!(ids, 2, "writes go on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_actor_that_is_lost_meanwhile_waits_for_it() {
    let machine = Machine::new(1);
    let fixture = failed(&machine).await;
    machine.faults().fill_disk(true);
    let error = fixture.error("bob", "INSERT INTO t VALUES (1)").await;
    assert_eq!(error.code, ErrorCode::StorageUnavailable);
    fixture.tree.root.shared.catalog.get().expect("it runs").kill();
    eventually("it is back", || fixture.node("catalog").restarts == 1 && fixture.tree.is_up()).await;
    machine.faults().fill_disk(false);
    recovers(&fixture, "room is made").await;
    fixture.rows("ann", "CREATE NAMESPACE later").await;
}

/// Whoever asks may be told nothing of the catalog that the reopening could contradict.
#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_refused_until_then_whether_they_would_write_or_not() {
    let machine = Machine::new(1);
    let fixture = failed(&machine).await;
    machine.faults().fill_disk(true);
    let error = fixture.error("ann", "DROP TABLE t").await;
    assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::Unknown));
    for sql in [
        "CREATE USER TABLE IF NOT EXISTS t (id BIGINT PRIMARY KEY)",
        "DROP TABLE IF EXISTS other",
        "DROP TABLE t",
        "CREATE NAMESPACE IF NOT EXISTS default",
        "DROP USER IF EXISTS 'x'",
    ] {
        let error = fixture.error("ann", sql).await;
        assert_eq!((error.code, error.outcome), (ErrorCode::StorageUnavailable, Outcome::NothingChanged), "{sql}");
    }
    machine.faults().fill_disk(false);
    eventually("it is open again", || !fixture.runtime.store().has_failed()).await;
}
