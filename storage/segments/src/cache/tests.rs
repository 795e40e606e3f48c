use kalamdb_sql::{ColumnType, Value};

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
