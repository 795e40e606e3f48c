//! From an insert to its subscriber, at a steady rate: from right before the request is sent to right after the frame is
//! read.

use std::sync::Arc;

use serde::Serialize;

use super::{follow_all, measure_told};
use crate::failure::Failure;
use crate::live::Bench;
use crate::live::inserts::Inserts;
use crate::live::readers::Readers;
use crate::run::latency::Summary;
use crate::run::meter::Series;
use crate::run::pace::Pace;
use crate::run::ratio::ratio;
use crate::run::report::Figures;
use crate::run::target::Target;

/// What a change takes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LatencyReport {
    pub(crate) users: usize,
    pub(crate) in_flight: usize,
    pub(crate) insert: Figures,
    /// From an insert's request to the frame that tells its subscriber; none where an insert failed.
    pub(crate) notification_ms: Option<Summary>,
    /// p50 of the notification divided by that of the insert, both from sending the request.
    pub(crate) p50_ratio: Option<f64>,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<LatencyReport, Failure> {
    let (users, in_flight) = (bench.args.users.get(), bench.args.in_flight.get());
    let place = bench.stage.place(Target::Users, users)?;
    let table = bench.stage.make(&place, "live").await?;
    let sockets = follow_all(&bench.meter.address, &place.callers, &format!("SELECT id FROM {table}")).await?;
    let mut readers = Readers::start(sockets);
    let inserts = Arc::new(Inserts::new(&table, users));
    let series = Series {
        operation: Arc::<Inserts>::clone(&inserts),
        heads: Arc::clone(&place.heads),
        in_flight,
        first: 0,
        count: u64::MAX,
        cap: Some(bench.args.duration),
        pace: Pace::Open { rate: bench.args.rate },
    };
    let sample = measure_told(bench.meter, series, &mut readers, 1).await?;
    let mut report = LatencyReport { users, in_flight, insert: sample.figures, notification_ms: None, p50_ratio: None };
    if report.insert.is_bad() {
        // What has to be told is not known, and the run is a failure anyway.
        return Ok(report);
    }
    let told = readers.finish(sample.in_all).await?;
    inserts.check(&told, |subscriber, id| inserts.owner(id) == subscriber)?;
    report.notification_ms = inserts.until_told(&told, &(sample.first..sample.next)).summary();
    let both = report.notification_ms.zip(report.insert.response_ms);
    report.p50_ratio = both.map(|(told, answered)| ratio(told.p50, answered.p50));
    Ok(report)
}
