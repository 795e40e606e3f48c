use std::cmp::Ordering;

use arrow::array::make_comparator;
use arrow::compute::SortOptions;
use kalamdb_sql::TableSchema;
use proptest::prelude::*;

use super::*;
use crate::testing::strategies::{ALL_TYPES, value};
use crate::testing::{Stored, TestRow, array_of, table};
use crate::{SegmentColumn, SegmentProjection};

/// A column of each type, with runs of few values, so that pages and row groups differ in bounds and NULLs.
fn runs() -> impl Strategy<Value = (TableSchema, Vec<TestRow>)> {
    let pools: Vec<_> = ALL_TYPES
        .iter()
        .map(|column_type| {
            let cell = prop_oneof![1 => Just(Value::Null), 3 => value(*column_type)];
            (prop::collection::vec(cell, 1..8), 1_usize..1500)
        })
        .collect();
    (pools, 2000_usize..4000).prop_map(|(pools, count)| {
        let names: Vec<String> = (0..ALL_TYPES.len()).map(|number| format!("c{number}")).collect();
        let columns: Vec<(&str, ColumnType)> =
            [("id", ColumnType::Int)].into_iter().chain(names.iter().map(String::as_str).zip(ALL_TYPES)).collect();
        let rows = (0..count).map(|number| {
            let mut values = vec![Value::Int(i32::try_from(number).expect("small"))];
            values.extend(pools.iter().map(|(pool, run)| pool[(number / run) % pool.len()].clone()));
            TestRow::new(1, values)
        });
        (table(&columns, 1), rows.collect())
    })
}

/// The table with one more column, which segments written before do not have.
fn grown(table: &TableSchema, initial: Value) -> TableSchema {
    let mut grown = table.clone();
    let mut added = grown.columns.last().expect("a column").clone();
    added.id = grown.next_column_id;
    added.column_type = ColumnType::Int;
    added.initial = initial;
    grown.columns.push(added);
    grown
}

fn check(stretches: &Stretches, table: &TableSchema, rows: &[TestRow]) {
    let covered: u64 = stretches.rows.iter().map(|range| range.end - range.start).sum();
    assert_eq!(covered, rows.len() as u64);
    for (at, range) in stretches.rows.iter().enumerate() {
        let within = &rows[usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small")];
        assert_eq!(stretches.statistics.rows.value(at), within.len() as u64);
        for ((place, column), known) in table.columns.iter().enumerate().zip(&stretches.statistics.columns) {
            let cell = |row: &TestRow| row.values.get(place).cloned().unwrap_or_else(|| column.initial.clone());
            let cells: Vec<Value> = within.iter().map(cell).collect();
            let nulls = cells.iter().filter(|value| value.is_null()).count() as u64;
            if known.nulls.is_valid(at) {
                assert_eq!(known.nulls.value(at), nulls, "NULLs of {} in {range:?}", column.column_type);
            }
            let array = array_of(column.column_type, cells.iter());
            for (bound, wrong) in [(&known.least, Ordering::Less), (&known.most, Ordering::Greater)] {
                let compare = make_comparator(&array, bound, SortOptions::default()).expect("of one type");
                let inside = |row: usize| array.is_null(row) || bound.is_null(at) || compare(row, at) != wrong;
                let outside = (0..array.len()).find(|row| !inside(*row)).map(|row| &cells[row]);
                assert_eq!(outside, None, "{} beyond {bound:?} in {range:?}", column.column_type);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_known_of_rows_is_true((table, rows) in runs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let segment = runtime.block_on(async { Stored::new(&table, &rows).await.open().await.expect("opened") });
        for (table, added) in [(grown(&table, Value::Null), false), (grown(&table, Value::Int(7)), true)] {
            let all: Vec<_> = (0..table.columns.len()).map(SegmentColumn::Declared).collect();
            let projection = Arc::new(SegmentProjection::new(&table, &all).expect("a projection"));
            let columns = segment.bind(&projection).expect("bound");
            let groups = Stretches::of_row_groups(&segment.loaded, &columns, &[0]).expect("statistics");
            check(&groups, &table, &rows);
            let pages = Stretches::of_pages(&segment.loaded, &columns, 0).expect("statistics");
            check(&pages, &table, &rows);
            // Not everything is unknown: ids and the column that is not there are told apart.
            prop_assert!(pages.rows.len() > 1);
            let id = pages.statistics.columns.first().expect("the id");
            prop_assert_eq!((id.least.null_count(), id.most.null_count(), id.nulls.null_count()), (0, 0, 0));
            let last = pages.statistics.columns.last().expect("the added column");
            prop_assert_eq!(last.least.is_valid(0), added);
            prop_assert_eq!(last.nulls.value(0) == 0, added);
        }
    }
}
