//! Reads by key: of hot rows, and of flushed ones in segments among all of which a key might be.

use std::sync::Arc;

use serde::Serialize;

use crate::failure::Failure;
use crate::flush::Bench;
use crate::flush::table::{Table, same};
use crate::run::meter::Series;
use crate::run::pace::Pace;
use crate::run::ratio::ratio;
use crate::run::report::Figures;
use crate::run::scenario::PointRead;
use crate::run::target::Target;

/// What a read takes, here and there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PointReadReport {
    pub(crate) rows: u64,
    /// Of the flushed rows.
    pub(crate) segments: u64,
    pub(crate) hot: Figures,
    pub(crate) flushed: Figures,
    /// p50 of flushed rows, divided by that of hot ones.
    pub(crate) p50_ratio: Option<f64>,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<PointReadReport, Failure> {
    let rows = bench.args.point_rows.get() as u64;
    let flushed = Table::make(bench.stage, Target::OneUser, 1, "flush_points_flushed").await?;
    super::interleave(&flushed, rows, bench.args.segments.get()).await?;
    let segments = flushed.stats().await?.segments;
    let hot = Table::make(bench.stage, Target::OneUser, 1, "flush_points_hot").await?;
    hot.insert(0..rows).await?;
    hot.expect(rows).await?;
    same("hot rows", rows, hot.stats().await?.buffered_rows)?;

    let hot = read(bench, &hot, rows).await?;
    let flushed = read(bench, &flushed, rows).await?;
    let p50 = |figures: &Figures| figures.latency_ms.map(|latency| latency.p50);
    let p50_ratio = p50(&flushed).zip(p50(&hot)).map(|(flushed, hot)| ratio(flushed, hot));
    Ok(PointReadReport { rows, segments, hot, flushed, p50_ratio })
}

async fn read(bench: &Bench<'_>, table: &Table, rows: u64) -> Result<Figures, Failure> {
    let series = Series {
        operation: Arc::new(PointRead::new(&table.called, rows, table.callers())),
        heads: table.heads(),
        in_flight: 1,
        first: 0,
        count: bench.args.reads.get() as u64,
        cap: None,
        pace: Pace::Closed,
    };
    Ok(bench.meter.measure(series).await?.figures)
}
