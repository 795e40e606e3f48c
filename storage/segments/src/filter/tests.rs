use arrow::array::Int32Array;
use arrow::compute::kernels::cmp::eq;
use arrow::datatypes::Int32Type;
use futures::TryStreamExt as _;
use kalamdb_commons::ErrorCode;
use kalamdb_sql::{ColumnType, Row, TableSchema, Value};

use super::*;
use crate::testing::{Stored, TestRow, everything, rows_of, scan, table, whole};
use crate::{SegmentColumn, SegmentScan};

const ROWS: i64 = 150_000;

/// An INT column equal to a number.
#[derive(Debug)]
struct Equals {
    columns: Arc<SegmentProjection>,
    number: i32,
}

impl RowCondition for Equals {
    fn columns(&self) -> &Arc<SegmentProjection> {
        &self.columns
    }

    fn test(&self, batch: &RecordBatch) -> std::result::Result<BooleanArray, ArrowError> {
        eq(batch.column(0), &Int32Array::new_scalar(self.number))
    }
}

impl Pruning for Equals {
    fn columns(&self) -> &Arc<SegmentProjection> {
        &self.columns
    }

    fn may_hold(&self, statistics: &RowStatistics) -> Vec<bool> {
        let known = &statistics.columns[0];
        let (least, most) = (known.least.as_primitive::<Int32Type>(), known.most.as_primitive::<Int32Type>());
        (0..statistics.rows.len()).map(|at| least.value(at) <= self.number && self.number <= most.value(at)).collect()
    }
}

/// The column `block` counts up every 1000 rows, `stars` goes round; every 100th row is deleted.
fn rows() -> (TableSchema, Vec<TestRow>) {
    let columns = [
        ("id", ColumnType::BigInt),
        ("block", ColumnType::Int),
        ("stars", ColumnType::Int),
        ("text", ColumnType::Text),
    ];
    let row = |id: i64| {
        let small = |number: i64| Value::Int(i32::try_from(number).expect("small"));
        let text = Value::Text(format!("text of row {id}, which is not that of {}", id.wrapping_mul(7919) % 1009));
        let values = vec![Value::BigInt(id), small(id / 1000), small(id % 5), text];
        TestRow { deleted: id % 100 == 0, ..TestRow::new(id + 1, values) }
    };
    (table(&columns, 1), (0..ROWS).map(row).collect())
}

fn equals(table: &TableSchema, column: usize, number: i32) -> Arc<Equals> {
    let columns = SegmentProjection::new(table, &[SegmentColumn::Declared(column)]).expect("a projection");
    Arc::new(Equals { columns: Arc::new(columns), number })
}

fn model(rows: &[TestRow], keep: impl Fn(&TestRow) -> bool) -> Vec<Row> {
    rows.iter().filter(|row| keep(row)).map(whole).collect()
}

#[tokio::test]
async fn what_is_read_is_what_meets_the_conditions() {
    let (table, rows) = rows();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let all = SegmentScan::new(everything(&table));
    let (block, stars) = (equals(&table, 1, 77), equals(&table, 2, 3));
    let is = |row: &TestRow, at: usize, number: i32| row.values[at] == Value::Int(number);
    let counted = async |request: &SegmentScan| {
        let counters = Arc::default();
        let request = SegmentScan { counters: Some(Arc::clone(&counters)), ..request.clone() };
        let found = scan(&segment, &table, &request).await.expect("read");
        (found, counters)
    };

    // Conditions alone look at every row.
    let filter = SegmentFilter { conditions: vec![stars.clone(), block.clone()], pruning: None };
    let request = SegmentScan { filter: filter.clone(), ..all.clone() };
    let expected = model(&rows, |row| is(row, 1, 77) && is(row, 2, 3));
    let (found, unpruned) = counted(&request).await;
    assert_eq!((found, unpruned.rows()), (expected.clone(), ROWS as u64));
    // What is not asked for but tested is not among the columns, and the text is read where a row is left.
    let (_, everything_read) = counted(&all).await;
    assert!(unpruned.bytes() < everything_read.bytes() / 3, "{} of {}", unpruned.bytes(), everything_read.bytes());
    // Statistics leave the pages of the block.
    let filter = SegmentFilter { pruning: Some(block.clone()), ..filter };
    let request = SegmentScan { filter, ..all.clone() };
    let (found, pruned) = counted(&request).await;
    assert_eq!(found, expected);
    assert!(pruned.rows() <= 2048, "{} rows", pruned.rows());
    assert!(pruned.bytes() < unpruned.bytes(), "{} of {}", pruned.bytes(), unpruned.bytes());
    // Nothing is read where nothing can match.
    let filter = SegmentFilter { conditions: vec![block.clone()], pruning: Some(equals(&table, 1, 5000)) };
    let (found, nothing) = counted(&SegmentScan { filter, ..all.clone() }).await;
    assert_eq!((found.len(), nothing.rows(), nothing.bytes()), (0, 0, 0));
}

#[tokio::test]
async fn a_limit_counts_what_the_conditions_leave_and_ends_the_read() {
    let (table, rows) = rows();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let filter = SegmentFilter { conditions: vec![equals(&table, 2, 0)], pruning: None };
    let all = SegmentScan { filter, deleted: DeletedRows::Hidden, ..SegmentScan::new(everything(&table)) };
    let expected = model(&rows, |row| row.values[2] == Value::Int(0) && !row.deleted);
    for (limit, most_bytes) in [(1, 200_000), (500, 400_000), (7000, 2 << 20), (28_500, u64::MAX), (99_999, u64::MAX)] {
        let request = SegmentScan { limit: Some(limit), ..all.clone() };
        let (stream, counters) = segment.scan(&request).expect("a stream");
        let batches: Vec<_> = stream.try_collect().await.expect("read");
        let found: Vec<_> = batches.iter().flat_map(|batch| rows_of(&table, batch)).collect();
        assert_eq!(found, expected[..limit.min(expected.len())]);
        assert!(counters.bytes() < most_bytes, "{limit} rows cost {} bytes", counters.bytes());
    }
}

#[tokio::test]
async fn deleted_rows_are_left_out_and_looked_for_only_where_there_are_any() {
    let (table, mut rows) = rows();
    rows.truncate(5000);
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let all = SegmentScan::new(everything(&table));
    // TestRow::new: a row's time is 1000 times its number.
    let since = 2_001_000;
    for (deleted, expected) in [
        (DeletedRows::Shown, model(&rows, |_| true)),
        (DeletedRows::Hidden, model(&rows, |row| !row.deleted)),
        (DeletedRows::ShownSince(since), model(&rows, |row| !row.deleted || row.updated >= since)),
    ] {
        let found = scan(&segment, &table, &SegmentScan { deleted, ..all.clone() }).await.expect("read");
        assert_eq!(found, expected, "{deleted:?}");
    }

    for row in &mut rows {
        row.deleted = false;
    }
    let live = Stored::new(&table, &rows).await.open().await.expect("opened");
    let count = Arc::new(SegmentProjection::new(&table, &[]).expect("a projection"));
    let request = SegmentScan { deleted: DeletedRows::Hidden, ..SegmentScan::new(count) };
    for (segment, expected, is_read) in [(&live, 5000, false), (&segment, 4950, true)] {
        let (stream, counters) = segment.scan(&request).expect("a stream");
        let batches: Vec<_> = stream.try_collect().await.expect("read");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), expected);
        assert_eq!(counters.bytes() > 0, is_read);
    }
}

/// A condition that cannot be evaluated.
#[derive(Debug)]
struct Fails(Arc<SegmentProjection>);

impl RowCondition for Fails {
    fn columns(&self) -> &Arc<SegmentProjection> {
        &self.0
    }

    fn test(&self, _batch: &RecordBatch) -> std::result::Result<BooleanArray, ArrowError> {
        Err(ArrowError::DivideByZero)
    }
}

#[tokio::test]
async fn a_condition_that_fails_is_no_damage_of_the_file() {
    let (table, mut rows) = rows();
    rows.truncate(10);
    let segment = Stored::new(&table, &rows).await.open().await.expect("opened");
    let condition = Arc::new(Fails(Arc::clone(&equals(&table, 1, 0).columns)));
    let filter = SegmentFilter { conditions: vec![condition], pruning: None };
    let error = scan(&segment, &table, &SegmentScan { filter, ..SegmentScan::new(everything(&table)) }).await;
    assert_eq!(error.map_err(|error| error.code()), Err(ErrorCode::Internal));
}
