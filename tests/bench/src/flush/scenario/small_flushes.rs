//! The first rows by key of a partition that was flushed often, ten rows at a time.

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::flush::Bench;
use crate::flush::query::Query;
use crate::flush::table::Table;
use crate::run::report::Figures;
use crate::run::rows;
use crate::run::target::Target;

/// Rows of a flush.
const ROWS: u64 = 10;
/// Rows of an answer.
const LIMIT: u64 = 10;

/// What is left of many flushes for a query.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SmallFlushesReport {
    pub(crate) rows: u64,
    pub(crate) sql: String,
    /// After the flushes.
    pub(crate) flushed: After,
    /// After all rows were deleted and came back, so many times; none without any.
    pub(crate) churns: usize,
    pub(crate) churned: Option<After>,
}

/// Query times at a moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct After {
    /// All that there were so far, those of deletions too.
    pub(crate) flushes: u64,
    /// Of the table now.
    pub(crate) segments: u64,
    pub(crate) query: Figures,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<SmallFlushesReport, Failure> {
    let segments = bench.args.small_flushes.get();
    let (rows, churns) = (segments as u64 * ROWS, bench.args.churns);
    let table = Table::make(bench.stage, Target::OneUser, 1, "flush_small").await?;
    let sql = format!("SELECT id, body, n FROM {} ORDER BY id LIMIT {LIMIT}", table.called);
    let first = (0..LIMIT.min(rows)).map(|id| json!({"id": id, "body": rows::body(id), "n": rows::number(id)}));
    let query = Query::new(&sql, first.collect());
    let query = &query;
    let after = async |flushes: u64| -> Result<After, Failure> {
        table.expect(rows).await?;
        let segments = table.stats().await?.segments;
        let query = query.clone().measure(bench, &table, bench.args.queries.get()).await?;
        Ok(After { flushes, segments, query })
    };

    super::interleave(&table, rows, segments).await?;
    let mut flushes = segments as u64;
    let flushed = after(flushes).await?;
    for _ in 0..churns {
        table.delete_all(rows).await?;
        table.flush().await?;
        super::interleave(&table, rows, segments).await?;
        flushes += 1 + segments as u64;
    }
    let churned = if churns > 0 { Some(after(flushes).await?) } else { None };
    Ok(SmallFlushesReport { rows, sql, flushed, churns, churned })
}
