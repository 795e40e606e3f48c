//! The rows that a subscription begins with: those that match and were changed last.

use std::sync::Arc;

use datafusion::arrow::array::cast::AsArray as _;
use datafusion::arrow::array::{Array as _, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{Field, Schema};
use futures::TryStreamExt as _;
use kalamdb_commons::{Error, ErrorCode, Result, SystemColumn};
use kalamdb_live::{LiveQuery, LiveSnapshot};
use kalamdb_sql::ast;
use kalamdb_store::codec::keys::decode_row_number;
use kalamdb_store::manifest;
use kalamdb_store::reader::log_coverage;
use kalamdb_wire::JsonRows;

use super::compile::{Asked, changed_meanwhile, query_in};
use super::shape;
use crate::engine::context::StatementContext;
use crate::engine::template::{column, item, order_by_descending};
use crate::engine::{
    KEY_COLUMN, Params, RowJson, Runtime, expose_system_columns, from_datafusion, name_outputs, plan, run,
};

/// What the rows are ordered by, among the columns of the result.
const ORDER: &str = "\u{1f}order";

/// Reads at most `count` rows.
pub(super) async fn last_rows(
    runtime: &Arc<Runtime>,
    asked: &Asked,
    of: &LiveQuery,
    count: u64,
) -> Result<LiveSnapshot> {
    let partition = &of.partition;
    let (parsed, params) = asked.parse(runtime)?;
    let scope = asked.scope(runtime);
    let gone = || Error::new(ErrorCode::TableNotFound, "the table is gone");
    let kind = runtime.catalog().table_of(partition.table).ok_or_else(gone)?.table_type();
    loop {
        let store = runtime.store();
        // Before the rows are looked at: whatever is published by now is among them.
        let published = store.committer_of(kind).published();
        let context = scope.begin(None).await?;
        if !Arc::ptr_eq(&context.store, &store) {
            continue;
        }
        let key_columns = match context.catalog.table_of(partition.table) {
            // The client was told other columns.
            Some(entry) if !of.uses.are_in(&entry.schema) => return Err(changed_meanwhile()),
            Some(entry) => {
                let places = entry.schema.key_positions();
                let columns = places.into_iter().filter_map(|place| entry.schema.columns.get(place));
                columns.map(|column| column.name.to_string()).collect::<Vec<_>>()
            }
            None => return Err(gone()),
        };
        let query = ordered(query_in(&parsed)?, parsed.column_names.as_deref(), &key_columns, count)?;
        return scope
            .bound(async {
                let read = read(&context, query, &params, key_columns.len()).await;
                // An error, too, may say what the rows are.
                context.wait_visible().await?;
                let (rows, keys) = read?;
                let rows_snapshot = context.rows_of(kind)?;
                let shown = manifest::record(rows_snapshot, partition).await?.last_seq;
                let bounds = (store.log_floor(kind), published);
                let born = log_coverage(context.snapshot()?, rows_snapshot, partition, bounds).await?.end;
                Ok(LiveSnapshot { rows, keys, seq: shown.max(born), memory: Arc::clone(&context.results) as _ })
            })
            .await;
    }
}

/// The query with the rows' keys and order behind its columns; the rows changed last come first.
fn ordered(query: &ast::Query, names: Option<&[String]>, key_columns: &[String], count: u64) -> Result<ast::Query> {
    shape::check(query)?;
    let mut query = query.clone();
    name_outputs(&mut query, names);
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        return Err(Error::internal("a live query that is no SELECT"));
    };
    for (at, name) in key_columns.iter().enumerate() {
        select.projection.push(item(column(name), format!("\u{1f}key {at}")));
    }
    if key_columns.is_empty() {
        select.projection.push(item(column(KEY_COLUMN), "\u{1f}key 0"));
    }
    select.projection.push(item(column(SystemColumn::Seq.as_str()), ORDER));
    // More than a snapshot takes in any case; larger numbers are none to the planner.
    let ordering = order_by_descending(ORDER, count.min(u64::from(u32::MAX)))?;
    query.order_by = ordering.order_by;
    query.limit_clause = ordering.limit_clause;
    expose_system_columns(&mut query);
    Ok(query)
}

async fn read(
    context: &Arc<StatementContext>,
    query: ast::Query,
    params: &Params,
    key_columns: usize,
) -> Result<(JsonRows, JsonRows)> {
    let plan = plan(context, query, params, &[], None).await?;
    let mut stream = run(context, plan)?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = stream.try_next().await.map_err(from_datafusion)? {
        // The rows, the frames made of them, and what waits to be written.
        context.results.try_grow(3 * batch.get_array_memory_size()).map_err(from_datafusion)?;
        batches.push(batch);
    }
    let all = concat_batches(&stream.schema(), &batches).map_err(Error::internal)?;
    let rows = u32::try_from(all.num_rows()).map_err(Error::internal)?;
    // Oldest first.
    let all = take_record_batch(&all, &UInt32Array::from_iter_values((0..rows).rev())).map_err(Error::internal)?;
    let shown = all.num_columns().saturating_sub(key_columns.max(1) + 1);
    let all = if key_columns == 0 { with_row_numbers(&all, shown)? } else { all };
    let (mut json, mut keys) = (JsonRows::default(), JsonRows::default());
    let schema = all.schema();
    let shown_fields: Vec<_> = schema.fields().iter().take(shown).cloned().collect();
    RowJson::new(&Schema::new(shown_fields)).write(&all, &mut json)?;
    let places: Vec<usize> = (shown..shown + key_columns.max(1)).collect();
    RowJson::write_keys(&all, &places, &mut keys)?;
    Ok((json, keys))
}

/// The encoded row numbers at a place as numbers.
fn with_row_numbers(batch: &RecordBatch, place: usize) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    let (Some(array), Some(field)) = (columns.get_mut(place), fields.get_mut(place)) else {
        return Err(Error::internal("a live query without keys"));
    };
    let encoded = array.as_binary::<i32>();
    let numbers = (0..encoded.len())
        .map(|at| i64::try_from(decode_row_number(encoded.value(at))?).map_err(Error::internal))
        .collect::<Result<Int64Array>>()?;
    *field = Arc::new(Field::new(field.name(), numbers.data_type().clone(), false));
    *array = Arc::new(numbers);
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options).map_err(Error::internal)
}
