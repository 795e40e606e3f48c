use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt as _;
use kalamdb_commons::{ColumnId, ColumnName, SchemaVersion};
use kalamdb_sql::ColumnDefinition;

use super::*;
use crate::testing::strategies::{ALL_TYPES, value};
use crate::testing::{Stored, TestRow, everything, scan, table};
use crate::{ReadCounters, SegmentScan};

fn column(id: u32, name: &str, column_type: ColumnType, initial: Value) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(id),
        name: ColumnName::new(name).expect("a name"),
        column_type,
        nullable: true,
        default: None,
        default_text: None,
        initial,
    }
}

#[tokio::test]
async fn older_files_read_as_the_new_schema() {
    let old = table(
        &[("id", ColumnType::BigInt), ("a", ColumnType::Text), ("b", ColumnType::Int), ("c", ColumnType::Text)],
        1,
    );
    let rows: Vec<_> = (0..3)
        .map(|id| {
            let text = |column: &str| Value::Text(format!("{column}{id}"));
            TestRow::new(id + 1, vec![Value::BigInt(id), text("a"), Value::Int(7), text("c")])
        })
        .collect();
    let stored = Stored::new(&old, &rows).await;
    let segment = stored.open().await.expect("opened");

    // Renamed a to c; dropped b and c; added b anew with another type; added d with a default and e without.
    let mut new = old.clone();
    new.version = SchemaVersion(7);
    new.columns = vec![
        column(5, "b", ColumnType::Text, Value::Null),
        old.columns[0].clone(),
        ColumnDefinition { name: ColumnName::new("c").expect("a name"), ..old.columns[1].clone() },
        column(6, "d", ColumnType::Int, Value::Int(42)),
        column(7, "e", ColumnType::Timestamp, Value::Null),
    ];
    let found = scan(&segment, &new, &SegmentScan::new(everything(&new))).await.expect("read");
    for (id, row) in (0..3).zip(found) {
        let expected = [
            Value::Null,
            Value::BigInt(id),
            Value::Text(format!("a{id}")),
            Value::Int(42),
            Value::Null,
            Value::BigInt(id + 1),
        ];
        assert_eq!(row[..6], expected);
    }
}

#[tokio::test]
async fn initial_values_of_every_type_fill_older_files() {
    use proptest::strategy::{Strategy as _, ValueTree as _};
    let old = table(&[("id", ColumnType::BigInt)], 1);
    let rows: Vec<_> = (0..3).map(|id| TestRow::new(id + 1, vec![Value::BigInt(id)])).collect();
    let stored = Stored::new(&old, &rows).await;
    let segment = stored.open().await.expect("opened");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut new = old.clone();
    for (at, column_type) in ALL_TYPES.into_iter().enumerate() {
        for initial in [value(column_type).new_tree(&mut runner).expect("a value").current(), Value::Null] {
            let id = u32::try_from(new.columns.len()).expect("few") + 1;
            new.columns.push(column(id, &format!("c{at}_{id}"), column_type, initial));
        }
    }
    let found = scan(&segment, &new, &SegmentScan::new(everything(&new))).await.expect("read");
    let expected: Vec<String> = new.columns[1..].iter().map(|column| format!("{:?}", column.initial)).collect();
    assert_eq!(found.len(), 3);
    for row in found {
        let filled: Vec<String> = row[1..new.columns.len()].iter().map(|value| format!("{value:?}")).collect();
        assert_eq!(filled, expected);
    }
}

#[tokio::test]
async fn keys_and_positions_come_as_columns() {
    for key_columns in [2, 0] {
        let table = table(&[("a", ColumnType::Text), ("b", ColumnType::BigInt), ("c", ColumnType::Text)], key_columns);
        let rows: Vec<_> = (0..3000)
            .map(|id| TestRow::new(id + 1, vec![Value::Text("x".into()), Value::BigInt(id), Value::Null]))
            .collect();
        let stored = Stored::new(&table, &rows).await;
        let segment = stored.open().await.expect("opened");
        let columns = [SegmentColumn::Position, SegmentColumn::Declared(2), SegmentColumn::Key, SegmentColumn::Seq];
        let projection = Arc::new(SegmentProjection::new(&table, &columns).expect("a projection"));
        let (stream, _) =
            segment.scan(&SegmentScan { batch_rows: 700, ..SegmentScan::new(projection) }).expect("a stream");
        let batches: Vec<RecordBatch> = stream.try_collect().await.expect("read");
        assert!(batches.iter().all(|batch| batch.num_rows() <= 700));
        let mut row = 0;
        for batch in batches {
            for at in 0..batch.num_rows() {
                assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(at), i64::try_from(row).expect("small"));
                assert_eq!(batch.column(2).as_binary::<i32>().value(at), rows[row].key(&table));
                assert_eq!(batch.column(3).as_primitive::<Int64Type>().value(at), rows[row].seq);
                row += 1;
            }
        }
        assert_eq!(row, 3000);
        // Nothing but the position: rows are counted all the same.
        let nothing = Arc::new(SegmentProjection::new(&table, &[SegmentColumn::Position]).expect("a projection"));
        let (stream, counters) = segment.scan(&SegmentScan::new(nothing)).expect("a stream");
        let batches: Vec<RecordBatch> = stream.try_collect().await.expect("read");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3000);
        assert_eq!(ReadCounters::bytes(&counters), 0);
        let none = Arc::new(SegmentProjection::new(&table, &[]).expect("a projection"));
        let (stream, _) = segment.scan(&SegmentScan::new(none)).expect("a stream");
        let batches: Vec<RecordBatch> = stream.try_collect().await.expect("read");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3000);
    }
}

#[tokio::test]
async fn a_column_of_another_type_is_damage() {
    let written = table(&[("id", ColumnType::BigInt), ("a", ColumnType::Int)], 1);
    let stored = Stored::new(&written, &[TestRow::new(1, vec![Value::BigInt(1), Value::Int(1)])]).await;
    let segment = stored.open().await.expect("opened");
    let wanted = table(&[("id", ColumnType::BigInt), ("a", ColumnType::Text)], 1);
    let error = segment.scan(&SegmentScan::new(everything(&wanted))).map(drop).expect_err("another type");
    assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
}

#[test]
fn other_names_are_fine_and_other_types_are_not() {
    let table = table(&[("id", ColumnType::BigInt)], 1);
    let projection = || SegmentProjection::new(&table, &[SegmentColumn::Declared(0)]).expect("a projection");
    let named = |data_type| Arc::new(Schema::new(vec![Field::new("x", data_type, true)]));
    assert_eq!(projection().with_schema(named(DataType::Int64)).expect("renamed").schema().field(0).name(), "x");
    assert!(projection().with_schema(named(DataType::Int32)).is_err());
    assert!(SegmentProjection::new(&table, &[SegmentColumn::Declared(1)]).is_err());
}
