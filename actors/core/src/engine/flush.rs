//! FLUSH TABLE, FLUSH ALL TABLES, SHOW TABLE STATS.

use kalamdb_commons::{Error, ErrorCode, Result, Role, TableType};
use kalamdb_sql::{ColumnType, Row, TableRef, Value};
use kalamdb_store::codec::catalog::JobTrigger;
use kalamdb_wire::StatementResult;

use super::context::{StatementContext, forbidden};
use super::rows::{RowColumn, result_of};
use super::scope::Scope;
use super::show::refuse_virtual;
use crate::catalog::TableEntry;
use crate::tree::{FlushClient, FlushOutcome, FlushReport};

/// `service` and up.
fn check_role(role: Role) -> Result<()> {
    match role {
        Role::Service | Role::Dba | Role::System => Ok(()),
        Role::User => Err(forbidden()),
    }
}

fn columns() -> [RowColumn; 9] {
    [
        RowColumn::new("namespace", ColumnType::Text, false),
        RowColumn::new("table", ColumnType::Text, false),
        RowColumn::new("status", ColumnType::Text, false),
        RowColumn::new("rows_flushed", ColumnType::BigInt, false),
        RowColumn::new("segments", ColumnType::BigInt, false),
        RowColumn::new("storage_location", ColumnType::Text, true),
        RowColumn::new("job_id", ColumnType::Text, true),
        RowColumn::new("took_ms", ColumnType::Double, false),
        RowColumn::new("error", ColumnType::Text, true),
    ]
}

/// `FLUSH TABLE t`: waits until the rows that are hot now are in segments.
pub(crate) async fn flush_table(scope: &Scope, flushes: &FlushClient, table: &TableRef) -> Result<StatementResult> {
    check_role(scope.identity.role)?;
    let name = table.resolve(&scope.namespace);
    refuse_virtual(&name)?;
    let catalog = scope.runtime.catalog();
    let entry = catalog.table(&name)?;
    if entry.table_type() == TableType::Stream {
        let message = format!("'{name}' is a stream table: its rows are in memory alone, and are not flushed");
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    let report = one(scope, flushes, entry).await?;
    if let Some(error) = report.failed() {
        return Err(error.clone());
    }
    result_of(&columns(), &[row(entry, &report)])
}

/// `FLUSH ALL TABLES`: one after the other, on past one that fails.
pub(crate) async fn flush_all_tables(scope: &Scope, flushes: &FlushClient) -> Result<StatementResult> {
    check_role(scope.identity.role)?;
    let mut rows = Vec::new();
    for entry in scope.runtime.catalog().tables.values() {
        if entry.table_type() == TableType::Stream {
            continue;
        }
        let report = one(scope, flushes, entry).await?;
        // One that was dropped meanwhile is none of all tables any more.
        if report.failed().is_none_or(|error| error.code != ErrorCode::TableNotFound) {
            rows.push(row(entry, &report));
        }
    }
    result_of(&columns(), &rows)
}

/// Without a deadline; one that is called off goes on, and is not waited for.
async fn one(scope: &Scope, flushes: &FlushClient, entry: &TableEntry) -> Result<FlushReport> {
    tokio::select! {
        report = flushes.flush(entry.id(), JobTrigger::Manual) => Ok(report.unwrap_or_else(FlushReport::lost)),
        error = scope.limits().called_off() => Err(error),
    }
}

fn row(entry: &TableEntry, report: &FlushReport) -> Row {
    let (status, rows, segments, error) = match &report.outcome {
        FlushOutcome::Empty => ("empty", 0, 0, None),
        FlushOutcome::Flushed { rows, segments } => ("flushed", *rows, *segments, None),
        FlushOutcome::Failed { rows, segments, error } => ("failed", *rows, *segments, Some(&error.message)),
    };
    let maybe = |text: Option<&String>| text.map_or(Value::Null, |text| Value::Text(text.clone()));
    let name = &entry.definition.name;
    vec![
        Value::Text(name.namespace.as_str().to_owned()),
        Value::Text(name.table.as_str().to_owned()),
        Value::Text(status.to_owned()),
        count(rows),
        count(segments),
        Value::Text(report.location.clone()),
        maybe(report.job_id.as_ref()),
        Value::Double(report.took_ms),
        maybe(error),
    ]
}

/// `SHOW TABLE STATS t`
pub(crate) fn table_stats(
    context: &StatementContext,
    flushes: &FlushClient,
    table: &TableRef,
) -> Result<StatementResult> {
    check_role(context.identity.role)?;
    let name = context.qualify(table);
    refuse_virtual(&name)?;
    let entry = context.catalog.table(&name)?;
    let totals = context.store.committer_of(entry.table_type()).totals(entry.id());
    let columns = [
        RowColumn::new("buffered_rows", ColumnType::BigInt, false),
        RowColumn::new("flushed_rows", ColumnType::BigInt, false),
        RowColumn::new("segments", ColumnType::BigInt, false),
        RowColumn::new("segment_bytes", ColumnType::BigInt, false),
        RowColumn::new("last_flush_at", ColumnType::Timestamp, true),
        RowColumn::new("schema_version", ColumnType::Int, false),
    ];
    let row = vec![
        count(totals.buffered_rows),
        count(totals.flushed_rows),
        count(totals.segments),
        count(totals.segment_bytes),
        flushes.status().of(entry.id()).last_flush_at.map_or(Value::Null, Value::Timestamp),
        Value::Int(i32::try_from(entry.schema.version.0).unwrap_or(i32::MAX)),
    ];
    result_of(&columns, &[row])
}

fn count(number: u64) -> Value {
    Value::BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}
