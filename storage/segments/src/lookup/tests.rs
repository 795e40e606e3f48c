use arrow::array::AsArray as _;
use kalamdb_sql::{ColumnType, TableSchema};
use proptest::prelude::*;

use super::*;
use crate::cache::SegmentCache;
use crate::projection::SegmentColumn;
use crate::testing::strategies::table_with_rows;
use crate::testing::{Stored, TestRow, everything, rows_of, table, whole};

fn big_table() -> (TableSchema, Vec<TestRow>) {
    let table = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text)], 1);
    // Even ids alone, in more than one row group.
    let rows = (0..200_000)
        .map(|number| TestRow::new(number + 1, vec![Value::BigInt(number * 2), Value::Text(format!("text {number}"))]))
        .collect();
    (table, rows)
}

#[tokio::test]
async fn present_keys_are_found_and_absent_ones_read_nothing() {
    let (table, rows) = big_table();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    assert!(segment.metadata().num_row_groups() > 1);
    let mut absent = LookupWork::default();
    for number in (0..200_000).step_by(997) {
        let key = rows[number].key(&table);
        let found = segment.find(&[&key]).await.expect("looked up");
        assert_eq!(found.positions, [Some(number as u64)]);
        assert_eq!(found.work.pages_read, 1, "one page of the key's column");
        let row = segment.fetch(&[number as u64], &everything(&table)).await.expect("fetched");
        assert_eq!(rows_of(&table, &row), [whole(&rows[number])]);

        let missing = TestRow::new(1, vec![Value::BigInt(number as i64 * 2 + 1), Value::Null]).key(&table);
        let found = segment.find(&[&missing]).await.expect("looked up");
        assert_eq!(found.positions, [None]);
        absent.keys_rejected_by_bloom += found.work.keys_rejected_by_bloom;
        absent.pages_read += found.work.pages_read;
    }
    assert!(absent.keys_rejected_by_bloom >= 195, "{absent:?}");
    assert!(absent.pages_read <= 6, "{absent:?}");
    for outside in [-1, 400_000] {
        let key = TestRow::new(1, vec![Value::BigInt(outside), Value::Null]).key(&table);
        let found = segment.find(&[&key]).await.expect("looked up");
        assert_eq!((found.positions, found.work.pages_read), (vec![None], 0));
    }
}

#[tokio::test]
async fn a_row_is_found_with_its_columns_at_once() {
    let (table, rows) = big_table();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let all = KeyedProjection::new(everything(&table));
    // The last of a row group, the first of a page, the first and the last of all.
    for number in [0, 1023, 1024, 1025, 131_071, 131_072, 150_000, 199_999] {
        let (position, row) =
            segment.find_row(&rows[number].key(&table), &all).await.expect("looked up").expect("it is there");
        assert_eq!((position, rows_of(&table, &row)), (number as u64, vec![whole(&rows[number])]));
        assert_eq!(row.schema(), *everything(&table).schema());
    }
    for id in (-1..400_001).step_by(4002) {
        let absent = TestRow::new(1, vec![Value::BigInt(id), Value::Null]).key(&table);
        assert!(segment.find_row(&absent, &all).await.expect("looked up").is_none(), "{id}");
    }
    // The key alone, and no column at all.
    for columns in [vec![SegmentColumn::Key], vec![]] {
        let projection = Arc::new(SegmentProjection::new(&table, &columns).expect("columns"));
        let key = rows[5000].key(&table);
        let (position, row) =
            segment.find_row(&key, &KeyedProjection::new(projection)).await.expect("looked up").expect("there");
        assert_eq!((position, row.num_rows(), row.num_columns()), (5000, 1, columns.len()));
        assert!(columns.is_empty() || row.column(0).as_binary::<i32>().value(0) == key);
    }
}

/// They are read one by one: to decode those around one of them is not worth it.
#[tokio::test]
async fn a_wide_row_is_found_alone() {
    let table = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text)], 1);
    // Of a kilobyte each, and none like another.
    let text = |number: i64| (0..60).map(|at| ((number + 1) * (at + 7919) * 104_729).to_string()).collect::<String>();
    let rows: Vec<TestRow> = (0..2500)
        .map(|number| TestRow::new(number + 1, vec![Value::BigInt(number), Value::Text(text(number))]))
        .collect();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let all = KeyedProjection::new(everything(&table));
    let decoded = segment.bind(all.with_key()).expect("bound").decoded;
    let page = segment.loaded.bytes_of(&(0..PAGE_ROWS as u64), decoded.iter().copied());
    assert!(page > MOST_BYTES_AT_ONCE, "{page}");
    let one = segment.loaded.bytes_of(&(7..8), decoded.iter().copied());
    assert!((1024..MOST_BYTES_AT_ONCE).contains(&one), "the page of it: {one}");
    for number in [0, 1023, 1024, 2499] {
        let found = segment.find_row(&rows[number].key(&table), &all).await.expect("looked up");
        let (position, row) = found.expect("it is there");
        assert_eq!((position, rows_of(&table, &row)), (number as u64, vec![whole(&rows[number])]));
    }
}

/// Bounds of pages are cut where keys are long, so all of these are between the bounds of every page.
#[tokio::test]
async fn a_row_is_found_where_no_page_can_be_told_from_another() {
    let table = table(&[("id", ColumnType::Text), ("number", ColumnType::Int)], 1);
    let prefix = "x".repeat(600);
    let rows: Vec<TestRow> = (0..6000)
        .map(|number| {
            TestRow::new(number + 1, vec![Value::Text(format!("{prefix}{number:05}")), Value::Int(number as i32)])
        })
        .collect();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let all = KeyedProjection::new(everything(&table));
    for number in [0, 1, 3000, 5999] {
        let found = segment.find_row(&rows[number].key(&table), &all).await.expect("looked up");
        let (position, row) = found.expect("it is there");
        assert_eq!((position, rows_of(&table, &row)), (number as u64, vec![whole(&rows[number])]));
    }
    let absent = TestRow::new(1, vec![Value::Text(format!("{prefix}03000a")), Value::Null]).key(&table);
    assert!(segment.find_row(&absent, &all).await.expect("looked up").is_none());
}

#[tokio::test]
async fn what_is_in_memory_knows_most_absent_keys_and_no_present_one() {
    let (table, rows) = big_table();
    let stored = Stored::new(&table, &rows).await;
    let cache = SegmentCache::new(64 << 20);
    let key = |id: i64| TestRow::new(1, vec![Value::BigInt(id), Value::Null]).key(&table);
    assert!(!cache.knows_absent(1, &key(-1)), "nothing is in memory of it");
    cache.open(stored.request()).await.expect("opened");
    for outside in [-1, 400_000] {
        assert!(cache.knows_absent(1, &key(outside)));
    }
    let mut known = 0;
    for id in (0..400_000).step_by(998) {
        assert!(!cache.knows_absent(1, &key(id)), "{id} is there");
        known += usize::from(cache.knows_absent(1, &key(id + 1)));
    }
    assert!(known > 390, "{known} of 401");
    assert_eq!(cache.loads(), 1);
    cache.forget(1);
    assert!(!cache.knows_absent(1, &key(-1)));
}

#[tokio::test]
async fn many_keys_are_looked_up_at_once() {
    let (table, rows) = big_table();
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let wanted: Vec<usize> = (0..200_000).step_by(1013).rev().collect();
    let mut keys: Vec<Vec<u8>> = wanted.iter().map(|at| rows[*at].key(&table)).collect();
    keys.push(TestRow::new(1, vec![Value::BigInt(77_777), Value::Null]).key(&table));
    keys.push(keys[3].clone());
    let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let found = segment.find(&borrowed).await.expect("looked up");
    let mut expected: Vec<Option<u64>> = wanted.iter().map(|at| Some(*at as u64)).collect();
    expected.push(None);
    expected.push(expected[3]);
    assert_eq!(found.positions, expected);
    assert!(found.work.pages_read <= 198, "{:?}", found.work);

    let positions: Vec<u64> = wanted.iter().map(|at| *at as u64).collect();
    let fetched = segment.fetch(&positions, &everything(&table)).await.expect("fetched");
    let ascending: Vec<_> = wanted.iter().rev().map(|at| whole(&rows[*at])).collect();
    assert_eq!(rows_of(&table, &fetched), ascending);
    assert!(segment.fetch(&[200_000], &everything(&table)).await.is_err());
    assert_eq!(segment.fetch(&[], &everything(&table)).await.expect("nothing").num_rows(), 0);
    assert_eq!(segment.find(&[]).await.expect("nothing"), Lookup::default());
    assert!(
        segment.find(&[b"no key"]).await.is_err()
            || segment.find(&[b"no key"]).await.expect("out of range").positions == [None]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_there_is_found_and_nothing_else((table, rows) in table_with_rows(60), keep in any::<u64>()) {
        // Some rows are written; the others' keys are absent, whatever their types are.
        let (inside, outside): (Vec<_>, Vec<_>) =
            rows.into_iter().enumerate().partition(|(at, _)| *at == 0 || keep >> (at % 64) & 1 == 1);
        let inside: Vec<TestRow> = inside.into_iter().map(|(_, row)| row).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let stored = Stored::new(&table, &inside).await;
            let segment = stored.open().await.expect("opened");
            let keys: Vec<Vec<u8>> =
                inside.iter().chain(outside.iter().map(|(_, row)| row)).map(|row| row.key(&table)).collect();
            let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let expected: Vec<Option<u64>> =
                (0..keys.len()).map(|at| (at < inside.len()).then_some(at as u64)).collect();
            assert_eq!(segment.find(&borrowed).await.expect("looked up").positions, expected);
            for (key, expected) in borrowed.iter().zip(&expected) {
                assert_eq!(segment.find(&[key]).await.expect("looked up").positions, [*expected]);
                assert!(expected.is_none() || !segment.loaded.is_without(key), "it is there");
                let row = segment.find_row(key, &KeyedProjection::new(everything(&table))).await.expect("looked up");
                let found = row.map(|(position, row)| (position, rows_of(&table, &row)));
                let expected = expected.map(|at| (at, vec![whole(&inside[at as usize])]));
                // As text: NaN is a value like others, and equals none.
                assert_eq!(format!("{found:?}"), format!("{expected:?}"));
            }
        });
    }
}
