//! An aggregate over every row of one user, all of them flushed.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::flush::Bench;
use crate::flush::query::Query;
use crate::flush::table::Table;
use crate::run::report::Figures;
use crate::run::rows;
use crate::run::target::Target;

/// What an aggregate takes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct AggregateReport {
    pub(crate) rows: u64,
    pub(crate) segments: u64,
    pub(crate) sql: String,
    pub(crate) query: Figures,
    pub(crate) mean_seconds: Option<f64>,
}

pub(crate) async fn measure(bench: &mut Bench<'_>) -> Result<AggregateReport, Failure> {
    let rows = bench.args.aggregate_rows.get() as u64;
    let table = Table::make(bench.stage, Target::OneUser, 1, "flush_aggregate").await?;
    super::interleave(&table, rows, bench.args.segments.get()).await?;
    let segments = table.stats().await?.segments;

    let sql = statement(&table.called);
    let query = Query::new(&sql, vec![expected(rows)]);
    let query = query.measure(bench, &table, bench.args.runs.get()).await?;
    let mean_seconds = query.latency_ms.map(|latency| latency.mean / 1000.0);
    Ok(AggregateReport { rows, segments, sql, query, mean_seconds })
}

/// Looks at every value of every row.
pub(crate) fn statement(table: &str) -> String {
    format!(
        "SELECT count(*) AS how_many, sum(n) AS sum_n, min(n) AS min_n, max(n) AS max_n, count(DISTINCT n) AS numbers, \
         min(id) AS min_id, max(id) AS max_id, min(body) AS min_body, max(body) AS max_body FROM {table}"
    )
}

/// Its only row.
pub(crate) fn expected(rows: u64) -> Value {
    let numbers = || (0..rows).map(rows::number);
    let bodies = || (0..rows).map(rows::body);
    json!({
        "how_many": rows,
        "sum_n": numbers().sum::<u64>(),
        "min_n": numbers().min(),
        "max_n": numbers().max(),
        "numbers": numbers().collect::<HashSet<_>>().len(),
        "min_id": 0,
        "max_id": rows.checked_sub(1),
        "min_body": bodies().min(),
        "max_body": bodies().max(),
    })
}
