//! The tree stops in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kalamdb_commons::ErrorCode;

use super::fixture::{Fixture, eventually};
use crate::StopReport;

#[tokio::test(flavor = "multi_thread")]
async fn stopping_calls_off_what_does_not_end_and_leaves_no_actor() {
    let fixture = Fixture::start().await;
    fixture.rows("ann", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)").await;
    let values: Vec<String> = (0..2000).map(|id| format!("({id})")).collect();
    fixture.rows("ann", &format!("INSERT INTO t VALUES {}", values.join(","))).await;
    let shared = Arc::clone(&fixture.tree.root.shared);
    let running = || shared.admission.running.len();
    eventually("the statements before are gone", || running() == 0).await;
    let endless = fixture.run("ann", "SELECT count(*) FROM t a, t b, t c WHERE a.id + b.id + c.id = -1");
    let stop = async {
        eventually("the statement runs", || running() > 0).await;
        let mut report = StopReport::default();
        let now = Instant::now();
        let (call_off, deadline) = (now + Duration::from_millis(300), now + Duration::from_secs(60));
        fixture.tree.root.stop_in(call_off, deadline, &mut report).await;
        report
    };
    let (outcome, report) = tokio::join!(endless, stop);
    assert_eq!(outcome.error.map(|failed| failed.error.code), Some(ErrorCode::ShuttingDown));
    assert_eq!(report.warnings, ["1 statements were called off"]);
    assert!(!fixture.tree.is_up());
}
