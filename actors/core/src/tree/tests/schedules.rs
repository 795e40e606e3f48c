//! What is known and written down of flushes, whatever happens while one runs.

use std::time::{Duration, Instant};

use kalamdb_store::codec::meta::FlushSchedule;
use kalamdb_store::{failpoint, schedule};
use kalamdb_wire::FlushOverview;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fixture::{Fixture, eventually};
use crate::engine::now_micros;
use crate::status::flush_overview;
use crate::tree::faults::Fault;

/// A table with a row, and a flush of it that is held in the middle.
struct Held {
    fixture: Fixture,
    go_on: watch::Sender<bool>,
    flush: JoinSet<()>,
    _directory: TempDir,
}

async fn fixture() -> (Fixture, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let location = directory.path().join("storage");
    let fixture = Fixture::start_with(|settings| settings.storage.default_location = location, |_| {}).await;
    let sql = "CREATE USER TABLE t (id BIGINT PRIMARY KEY) WITH (flush_interval = '1h'); INSERT INTO t VALUES (1)";
    fixture.rows("ann", sql).await;
    (fixture, directory)
}

impl Held {
    async fn start() -> Self {
        let (fixture, directory) = fixture().await;
        let (go_on, held) = watch::channel(false);
        let (arrive, arrived) = watch::channel(false);
        fixture.runtime.store().committer.set_failpoints(move |place| {
            let (mut held, arrive) = (held.clone(), arrive.clone());
            Box::pin(async move {
                if place == failpoint::BEFORE_PENDING {
                    arrive.send_replace(true);
                    // A test that is over lets everything go on.
                    let _ = held.wait_for(|go_on| *go_on).await;
                }
            })
        });
        let mut flush = JoinSet::new();
        let asking = fixture.clone();
        flush.spawn(async move { drop(asking.run("ann", "FLUSH TABLE t").await) });
        let held = Self { fixture, go_on, flush, _directory: directory };
        eventually("it is in the middle", || *arrived.borrow() && held.state() == "running").await;
        held
    }

    fn overview(&self) -> FlushOverview {
        flush_overview(&self.fixture.runtime, &self.fixture.tree.flushes())
    }

    fn state(&self) -> String {
        self.overview().tables.first().expect("the table").state.clone()
    }

    async fn ends(&mut self) {
        self.go_on.send_replace(true);
        while self.flush.join_next().await.is_some() {}
        let store = self.fixture.runtime.store();
        let table = self.fixture.table("t");
        eventually("its rows are flushed", || store.committer.totals(table).buffered_rows == 0).await;
    }
}

async fn stored(fixture: &Fixture) -> Option<FlushSchedule> {
    let snapshot = fixture.runtime.store().backend.snapshot().await.expect("a snapshot");
    schedule::of_table(snapshot.as_ref(), fixture.table("t")).await.expect("read")
}

/// The end of a flush wrote down when the next one was due before the table's options were changed.
#[tokio::test(flavor = "multi_thread")]
async fn options_that_change_during_a_flush_stay_changed() {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    for (interval, is_right) in [
        ("'48h'", (|due| due > now_micros() + DAY && due < now_micros() + 3 * DAY) as fn(i64) -> bool),
        ("'off'", |due| due == i64::MAX),
    ] {
        let mut held = Held::start().await;
        held.fixture.rows("ann", &format!("ALTER TABLE t SET (flush_interval = {interval})")).await;
        // The coordinator follows with its next tick.
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !stored(&held.fixture).await.is_some_and(|schedule| is_right(schedule.due_at)) {
            ticks.tick().await;
            assert!(Instant::now() < deadline, "{interval} is not followed");
        }
        held.ends().await;
        let schedule = stored(&held.fixture).await.expect("a schedule");
        assert!(is_right(schedule.due_at), "{interval}: {schedule:?}");
        assert!(schedule.last_flush_at.is_some(), "{interval}: {schedule:?}");
    }
}

/// It said "running" until the table's next flush.
#[tokio::test(flavor = "multi_thread")]
async fn a_flush_whose_coordinator_is_lost_runs_until_it_has_ended() {
    let mut held = Held::start().await;
    let restarts = held.fixture.node("flushes").restarts;
    held.fixture.tree.root.shared.flushes.get().expect("it runs").kill();
    let fixture = held.fixture.clone();
    eventually("it is back", || fixture.node("flushes").restarts > restarts && fixture.tree.is_up()).await;
    assert_eq!((held.state().as_str(), held.overview().running), ("running", 1), "the flush goes on");
    held.ends().await;
    eventually("it has ended", || held.state() == "idle" && held.overview().running == 0).await;
}

/// What stood in its line was not heard of again.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_lost_with_its_coordinator_is_none() {
    let (fixture, _directory) = fixture().await;
    fixture.faults.arm("FlushCoordinator", "Flush", (0, 1), Fault::KillMidway);
    drop(fixture.run("ann", "FLUSH TABLE t").await);
    eventually("it is lost", || fixture.faults.fired() == 1).await;
    let overview = || flush_overview(&fixture.runtime, &fixture.tree.flushes());
    eventually("nobody waits", || {
        let overview = overview();
        overview.queue_depth == 0 && overview.tables.iter().all(|table| table.state == "idle")
    })
    .await;
    fixture.is_whole().await;
}
