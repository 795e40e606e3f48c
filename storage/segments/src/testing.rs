//! What tests of this crate share: tables, rows, files in memory.

mod arrays;
pub(crate) mod strategies;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use futures::TryStreamExt as _;
use kalamdb_commons::{ColumnId, ColumnName, NamespaceId, SchemaVersion, TableName, UserId};
use kalamdb_sql::{ColumnDefinition, ColumnType, Row, TableSchema, Value};
use kalamdb_store::codec::keys::{encode_primary_key, encode_row_number};
use kalamdb_store::codec::manifest::ManifestEntry;
use object_store::memory::InMemory;

pub(crate) use self::arrays::{array_of, values_of};
use crate::{
    KeyLayout, ObjectStorage, ObjectStorageArgs, OpenSegment, PartitionName, Segment, SegmentCache, SegmentColumn,
    SegmentPath, SegmentProjection, SegmentScan, SegmentSchema, SegmentStorage, SegmentWriter, SegmentWriterArgs,
    WrittenSegment,
};

/// A row with what is beside its declared columns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TestRow {
    pub(crate) values: Row,
    pub(crate) seq: i64,
    pub(crate) updated: i64,
    pub(crate) deleted: bool,
    pub(crate) number: u64,
}

impl TestRow {
    pub(crate) fn new(seq: i64, values: Row) -> Self {
        Self { values, seq, updated: seq * 1000, deleted: false, number: seq.unsigned_abs() }
    }

    pub(crate) fn key(&self, table: &TableSchema) -> Vec<u8> {
        if table.primary_key.is_empty() {
            encode_row_number(self.number).to_vec()
        } else {
            encode_primary_key(table, &self.values).expect("a key")
        }
    }
}

/// A table with these columns, ids counted from 1, and the first ones (or none) as key.
pub(crate) fn table(columns: &[(&str, ColumnType)], key_columns: usize) -> TableSchema {
    let columns: Vec<ColumnDefinition> = columns
        .iter()
        .zip(1..)
        .map(|((name, column_type), id)| ColumnDefinition {
            id: ColumnId(id),
            name: ColumnName::new(name).expect("a name"),
            column_type: *column_type,
            nullable: usize::try_from(id).expect("small") > key_columns,
            default: None,
            default_text: None,
            initial: Value::Null,
        })
        .collect();
    TableSchema {
        version: SchemaVersion::FIRST,
        primary_key: columns.iter().take(key_columns).map(|column| column.id).collect(),
        next_column_id: ColumnId(u32::try_from(columns.len()).expect("few") + 1),
        columns,
    }
}

pub(crate) fn partition(user: Option<&str>) -> PartitionName {
    PartitionName {
        namespace: NamespaceId::new("chat").expect("a name"),
        table: TableName::new("messages").expect("a name"),
        user: user.map(|user| UserId::new(user).expect("a user")),
    }
}

/// A batch as a flush makes it.
pub(crate) fn batch(schema: &SegmentSchema, rows: &[TestRow]) -> RecordBatch {
    let table = schema.table();
    let mut columns: Vec<ArrayRef> = table
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| array_of(column.column_type, rows.iter().map(|row| &row.values[at])))
        .collect();
    columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.seq))));
    columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.updated))));
    columns.push(Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.deleted)))));
    if table.primary_key.is_empty() {
        columns.push(Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|row| i64::try_from(row.number).expect("a number")),
        )));
    }
    RecordBatch::try_new(Arc::clone(schema.arrow()), columns).expect("a batch")
}

/// Sorts rows by key and drops those whose key is there already.
pub(crate) fn sorted(table: &TableSchema, mut rows: Vec<TestRow>) -> Vec<TestRow> {
    rows.sort_by_cached_key(|row| row.key(table));
    rows.dedup_by_key(|row| row.key(table));
    rows
}

/// Rows as a file, written in batches of some rows.
pub(crate) fn encode(table: &TableSchema, partition: &PartitionName, rows: &[TestRow]) -> (WrittenSegment, Vec<u8>) {
    let schema = SegmentSchema::new(Arc::new(table.clone())).expect("a schema");
    let args =
        SegmentWriterArgs { schema: schema.clone(), partition: partition.clone(), expected_rows: rows.len() as u64 };
    let mut writer = SegmentWriter::new(Vec::new(), args).expect("a writer");
    for some in rows.chunks(5000) {
        writer.write(&batch(&schema, some)).expect("written");
    }
    writer.finish().expect("finished")
}

/// A storage in memory.
pub(crate) fn memory() -> Arc<dyn SegmentStorage> {
    let args = ObjectStorageArgs {
        store: Arc::new(InMemory::new()),
        prefix: String::new(),
        timeout: Duration::from_secs(10),
        secrets: Vec::new(),
    };
    Arc::new(ObjectStorage::new(args).expect("a storage"))
}

/// Puts bytes under a path, as one durable file.
pub(crate) async fn put(storage: &Arc<dyn SegmentStorage>, path: &SegmentPath, bytes: Vec<u8>) {
    let group = storage.begin_group();
    let path = path.clone();
    let group = tokio::task::spawn_blocking(move || {
        let mut sink = group.create(&path).expect("created");
        sink.write_all(&bytes).expect("written");
        sink.finish().expect("finished");
        group
    })
    .await
    .expect("no panic");
    group.commit().await.expect("durable");
}

/// A segment in a storage, and what its manifest says of it.
pub(crate) struct Stored {
    pub(crate) storage: Arc<dyn SegmentStorage>,
    pub(crate) manifest: ManifestEntry,
    pub(crate) partition: PartitionName,
    pub(crate) key: KeyLayout,
    pub(crate) bytes: Vec<u8>,
}

impl Stored {
    pub(crate) async fn new(table: &TableSchema, rows: &[TestRow]) -> Self {
        Self::within(memory(), 1, table, rows).await
    }

    pub(crate) async fn within(
        storage: Arc<dyn SegmentStorage>,
        segment_id: u128,
        table: &TableSchema,
        rows: &[TestRow],
    ) -> Self {
        let partition = partition(Some("ann"));
        let (written, bytes) = encode(table, &partition, rows);
        let manifest = manifest(segment_id, &written);
        put(&storage, &SegmentPath::parse(&manifest.path).expect("a path"), bytes.clone()).await;
        Self { storage, manifest, partition, key: KeyLayout::new(table).expect("a key"), bytes }
    }

    pub(crate) fn request(&self) -> OpenSegment<'_> {
        OpenSegment { storage: &self.storage, manifest: &self.manifest, partition: &self.partition, key: &self.key }
    }

    pub(crate) async fn open(&self) -> crate::Result<Segment> {
        SegmentCache::new(64 << 20).open(self.request()).await
    }

    /// The same under other bytes, of the size the manifest says or not.
    pub(crate) async fn replaced(&self, bytes: Vec<u8>) -> Self {
        let storage = memory();
        put(&storage, &SegmentPath::parse(&self.manifest.path).expect("a path"), bytes.clone()).await;
        Self {
            storage,
            manifest: self.manifest.clone(),
            partition: self.partition.clone(),
            key: self.key.clone(),
            bytes,
        }
    }
}

pub(crate) fn manifest(segment_id: u128, written: &WrittenSegment) -> ManifestEntry {
    ManifestEntry {
        segment_id,
        storage: "local".to_owned(),
        path: format!("chat/users/ann/messages/{}.parquet", ulid::Ulid(segment_id)),
        shard: String::new(),
        rows: written.rows,
        bytes: written.bytes,
        schema_version: written.schema_version,
        min_seq: written.min_seq,
        max_seq: written.max_seq,
        min_key: written.min_key.clone(),
        max_key: written.max_key.clone(),
        deleted_rows: 0,
        created_at: 0,
        level: 0,
    }
}

/// Every declared column, then `_seq`, `_updated`, `_deleted`.
pub(crate) fn everything(table: &TableSchema) -> Arc<SegmentProjection> {
    let mut columns: Vec<SegmentColumn> = (0..table.columns.len()).map(SegmentColumn::Declared).collect();
    columns.extend([SegmentColumn::Seq, SegmentColumn::Updated, SegmentColumn::Deleted]);
    Arc::new(SegmentProjection::new(table, &columns).expect("a projection"))
}

/// All rows that a scan gives, as values of a schema.
pub(crate) async fn scan(segment: &Segment, table: &TableSchema, scan: &SegmentScan) -> crate::Result<Vec<Row>> {
    let (stream, _) = segment.scan(scan)?;
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    Ok(batches.iter().flat_map(|batch| rows_of(table, batch)).collect())
}

/// The rows of a batch: declared columns by the table's types, the others by Arrow's.
pub(crate) fn rows_of(table: &TableSchema, batch: &RecordBatch) -> Vec<Row> {
    let columns: Vec<Vec<Value>> = batch
        .columns()
        .iter()
        .enumerate()
        .map(|(at, array)| values_of(table.columns.get(at).map(|column| column.column_type), array))
        .collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// What [`everything`] reads of a row.
pub(crate) fn whole(row: &TestRow) -> Row {
    let mut values = row.values.clone();
    values.extend([Value::BigInt(row.seq), Value::Timestamp(row.updated), Value::Boolean(row.deleted)]);
    values
}
