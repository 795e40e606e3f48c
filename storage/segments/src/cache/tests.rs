use kalamdb_sql::{ColumnType, TableSchema, Value};

use super::*;
use crate::testing::{Stored, TestRow, memory, table};

fn rows(count: i64) -> Vec<TestRow> {
    (0..count).map(|id| TestRow::new(id + 1, vec![Value::BigInt(id)])).collect()
}

#[tokio::test]
async fn a_footer_is_read_once_by_everybody() {
    let table = table(&[("id", ColumnType::BigInt)], 1);
    let stored = Stored::new(&table, &rows(100)).await;
    let cache = SegmentCache::new(1 << 20);
    let opened = futures::future::join_all((0..20).map(|_| cache.open(stored.request()))).await;
    assert!(opened.iter().all(Result::is_ok));
    assert_eq!((cache.loads(), cache.len()), (1, 1));
    cache.forget(1);
    assert!(cache.is_empty());
    assert!(cache.open(stored.request()).await.is_ok());
    assert_eq!(cache.loads(), 2);
}

#[tokio::test]
async fn what_is_found_quickly_is_in_few_pages_of_what_is_in_memory() {
    let cache = SegmentCache::new(8 << 20);
    let key = |id: i64, of: &TableSchema| TestRow::new(1, vec![Value::BigInt(id), Value::Null]).key(of);
    let narrow = table(&[("id", ColumnType::BigInt), ("v", ColumnType::Text)], 1);
    let text = |id: i64, bytes: usize| Value::Text(format!("{id:0bytes$}"));
    let rows =
        |bytes| (0..5000).map(|id| TestRow::new(id + 1, vec![Value::BigInt(id), text(id, bytes)])).collect::<Vec<_>>();
    let stored = Stored::new(&narrow, &rows(10)).await;
    assert!(!cache.finds_quickly(1, &key(7, &narrow), 2), "nothing is known of it");
    cache.open(stored.request()).await.expect("opened");
    assert!(cache.finds_quickly(1, &key(7, &narrow), 16));
    assert!(cache.finds_quickly(1, &key(-7, &narrow), 16), "it is not there, which takes no page");
    assert!(!cache.finds_quickly(1, &key(7, &narrow), 17), "a page for each column");
    assert!(!cache.finds_quickly(1, b"no key", 2));
    let wide = Stored::within(memory(), 2, &narrow, &rows(2000)).await;
    cache.open(wide.request()).await.expect("opened");
    assert!(!cache.finds_quickly(2, &key(7, &narrow), 2), "two megabytes for one row");
    // Wide rows among many narrow ones, all of them alike: it is their pages that count.
    let width = |id: i64| if (30_000..30_100).contains(&id) { 40_000 } else { 10 };
    let skewed: Vec<_> =
        (0..60_000).map(|id| TestRow::new(id + 1, vec![Value::BigInt(id), text(id, width(id))])).collect();
    let skewed = Stored::within(memory(), 3, &narrow, &skewed).await;
    cache.open(skewed.request()).await.expect("opened");
    assert!(cache.finds_quickly(3, &key(7, &narrow), 2));
    assert!(!cache.finds_quickly(3, &key(30_050, &narrow), 2), "four megabytes for one row");
}

#[tokio::test]
async fn the_cache_keeps_within_its_bytes() {
    let table = table(&[("id", ColumnType::BigInt)], 1);
    let storage = memory();
    let capacity = 200_000;
    let cache = SegmentCache::new(capacity);
    for id in 1..=100 {
        let stored = Stored::within(Arc::clone(&storage), id, &table, &rows(2000)).await;
        let segment = cache.open(stored.request()).await.expect("opened");
        assert_eq!((segment.id(), segment.rows()), (id, 2000));
        assert!(cache.bytes() <= capacity, "{}", cache.bytes());
    }
    assert!((2..100).contains(&cache.len()), "{} segments", cache.len());
}
