use kalamdb_commons::{NamespaceId, Seq};
use kalamdb_sql::{ColumnType, Value};

use super::*;
use crate::testing::{Stored, TestRow, table};
use crate::{SegmentCache, SegmentError};

#[tokio::test]
async fn a_file_that_is_not_the_segment_meant_is_damage_and_named() {
    let table = table(&[("id", ColumnType::BigInt)], 1);
    let rows: Vec<_> = (1..=10).map(|id| TestRow::new(id, vec![Value::BigInt(id)])).collect();
    let stored = Stored::new(&table, &rows).await;
    assert!(stored.open().await.is_ok());
    type Change = fn(&mut Stored);
    let changes: [(&str, Change); 9] = [
        ("namespace", |stored| stored.partition.namespace = NamespaceId::new("other").expect("a name")),
        ("table", |stored| stored.partition.table = TableName::new("other").expect("a name")),
        ("user", |stored| stored.partition.user = Some(UserId::new("bob").expect("a user"))),
        ("no user", |stored| stored.partition.user = None),
        ("version", |stored| stored.manifest.schema_version = SchemaVersion(2)),
        ("rows", |stored| stored.manifest.rows = 11),
        ("min_seq", |stored| stored.manifest.min_seq = Seq(2)),
        ("max_seq", |stored| stored.manifest.max_seq = Seq(11)),
        ("size", |stored| stored.manifest.bytes += 1),
    ];
    for (what, change) in changes {
        let mut other = Stored::new(&table, &rows).await;
        change(&mut other);
        let cache = SegmentCache::new(1 << 20);
        let error = cache.open(other.request()).await.expect_err(what);
        assert!(
            matches!(&error, SegmentError::Damaged { path, .. } if *path == other.manifest.path),
            "{what}: {error}"
        );
        assert!(!error.to_string().contains("bob"), "{error}");
        assert!(cache.is_empty(), "{what}: nothing is kept of a failure");
    }
}
