//! What a point lookup, a scan and a write of segments cost: `cargo bench -p kalamdb-segments`.
//!
//! One million rows in 20 segments on a local disk, footers and pages in memory. `groups` writes many files.

#[path = "segments/groups.rs"]
mod groups;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use divan::Bencher;
use futures::TryStreamExt as _;
use kalamdb_commons::{ColumnId, ColumnName, NamespaceId, SchemaVersion, TableName, UserId};
use kalamdb_segments::{
    KeyLayout, LocalStorage, OpenSegment, PartitionName, Segment, SegmentCache, SegmentColumn, SegmentPath,
    SegmentProjection, SegmentScan, SegmentSchema, SegmentStorage, SegmentWriter, SegmentWriterArgs, WrittenSegment,
};
use kalamdb_sql::{ColumnDefinition, ColumnType, TableSchema, Value};
use kalamdb_store::codec::keys::encode_key;
use kalamdb_store::codec::manifest::ManifestEntry;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SEGMENTS: i64 = 20;
const ROWS: i64 = 50_000;

fn main() {
    divan::main();
}

fn table() -> TableSchema {
    let types = [
        ("id", ColumnType::BigInt),
        ("conversation", ColumnType::Text),
        ("text", ColumnType::Text),
        ("stars", ColumnType::Int),
    ];
    let columns = types.iter().zip(1..).map(|((name, column_type), id)| ColumnDefinition {
        id: ColumnId(id),
        name: ColumnName::new(name).expect("a name"),
        column_type: *column_type,
        nullable: id > 1,
        default: None,
        default_text: None,
        initial: Value::Null,
    });
    TableSchema {
        version: SchemaVersion::FIRST,
        columns: columns.collect(),
        primary_key: vec![ColumnId(1)],
        next_column_id: ColumnId(5),
    }
}

/// Rows of one segment; its ids lie between those of all the others.
fn batch(schema: &SegmentSchema, segment: i64, rows: i64) -> RecordBatch {
    let ids = || (0..rows).map(move |row| row * SEGMENTS + segment);
    let texts =
        ids().map(|id| format!("message {id} says something about {} and {}", id.wrapping_mul(0x9e37_79b9), id % 977));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids())),
        Arc::new(StringViewArray::from_iter_values(ids().map(|id| format!("conversation-{}", id / 1000)))),
        Arc::new(StringViewArray::from_iter_values(texts)),
        Arc::new(Int32Array::from_iter_values(ids().map(|id| i32::try_from(id % 5).expect("small")))),
        Arc::new(Int64Array::from_iter_values(ids())),
        Arc::new(TimestampMicrosecondArray::from_iter_values(ids().map(|id| 1_760_000_000_000_000 + id / 50))),
        Arc::new(BooleanArray::from_iter(ids().map(|_| Some(false)))),
    ];
    RecordBatch::try_new(Arc::clone(schema.arrow()), columns).expect("a batch")
}

fn partition() -> PartitionName {
    PartitionName {
        namespace: NamespaceId::new("chat").expect("a name"),
        table: TableName::new("messages").expect("a name"),
        user: Some(UserId::new("ann").expect("a user")),
    }
}

fn encode(schema: &SegmentSchema, batch: &RecordBatch) -> (WrittenSegment, Vec<u8>) {
    let args =
        SegmentWriterArgs { schema: schema.clone(), partition: partition(), expected_rows: batch.num_rows() as u64 };
    let mut writer = SegmentWriter::new(Vec::new(), args).expect("a writer");
    for at in (0..batch.num_rows()).step_by(8192) {
        writer.write(&batch.slice(at, 8192.min(batch.num_rows() - at))).expect("written");
    }
    writer.finish().expect("finished")
}

struct Database {
    _directory: TempDir,
    runtime: Runtime,
    table: TableSchema,
    segments: Vec<Segment>,
    bytes: u64,
}

impl Database {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let table = table();
        let schema = SegmentSchema::new(Arc::new(table.clone())).expect("a schema");
        let storage: Arc<dyn SegmentStorage> = Arc::new(LocalStorage::new(directory.path()));
        let cache = SegmentCache::new(64 << 20);
        let key = KeyLayout::new(&table).expect("a key");
        let mut segments = Vec::new();
        let mut bytes = 0;
        for number in 0..SEGMENTS {
            let (written, file) = encode(&schema, &batch(&schema, number, ROWS));
            bytes += written.bytes;
            let manifest = ManifestEntry {
                segment_id: u128::try_from(number).expect("a number"),
                storage: "local".to_owned(),
                path: format!("chat/ann/{number}.parquet"),
                shard: String::new(),
                rows: written.rows,
                bytes: written.bytes,
                schema_version: written.schema_version,
                min_seq: written.min_seq,
                max_seq: written.max_seq,
                min_key: written.min_key,
                max_key: written.max_key,
                deleted_rows: 0,
                created_at: 0,
                level: 0,
            };
            let group = storage.begin_group();
            let mut sink = group.create(&SegmentPath::parse(&manifest.path).expect("a path")).expect("created");
            sink.write_all(&file).expect("written");
            sink.finish().expect("finished");
            runtime.block_on(group.commit()).expect("durable");
            let open = OpenSegment { storage: &storage, manifest: &manifest, partition: &partition(), key: &key };
            segments.push(runtime.block_on(cache.open(open)).expect("opened"));
        }
        Self { _directory: directory, runtime, table, segments, bytes }
    }

    fn everything(&self) -> Arc<SegmentProjection> {
        let columns: Vec<_> = (0..self.table.columns.len()).map(SegmentColumn::Declared).collect();
        Arc::new(SegmentProjection::new(&self.table, &columns).expect("a projection"))
    }
}

/// A key in one of 20 segments, and its row.
#[divan::bench(sample_count = 200, sample_size = 10)]
fn point_read(bencher: Bencher<'_, '_>) {
    let database = Database::new();
    let projection = database.everything();
    let mut id = 0_i64;
    bencher.bench_local(|| {
        id = (id + 48_271 * 7) % (ROWS * SEGMENTS);
        let key = encode_key(&[Value::BigInt(id)]);
        database.runtime.block_on(async {
            let mut rows = 0;
            for segment in &database.segments {
                let found = segment.find(&[&key]).await.expect("looked up");
                if let [Some(position)] = found.positions.as_slice() {
                    rows += segment.fetch(&[*position], &projection).await.expect("fetched").num_rows();
                }
            }
            assert_eq!(rows, 1);
        });
    });
}

/// A key in none of 20 segments whose bounds it is within.
#[divan::bench(sample_count = 200, sample_size = 10)]
fn absent_key(bencher: Bencher<'_, '_>) {
    let database = Database::new();
    let others: Vec<_> = database.segments.iter().skip(1).cloned().collect();
    let mut row = 0_i64;
    bencher.bench_local(|| {
        row = (row + 48_271) % ROWS;
        let key = encode_key(&[Value::BigInt(row * SEGMENTS)]);
        database.runtime.block_on(async {
            for segment in &others {
                assert_eq!(segment.find(&[&key]).await.expect("looked up").positions, [None]);
            }
        });
    });
}

/// All columns of one million rows.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn scan_everything(bencher: Bencher<'_, '_>) {
    let database = Database::new();
    let scan = SegmentScan::new(database.everything());
    bencher.counter(divan::counter::BytesCount::new(database.bytes)).bench_local(|| {
        database.runtime.block_on(async {
            let mut rows = 0;
            for segment in &database.segments {
                let (mut stream, _) = segment.scan(&scan).expect("a stream");
                while let Some(batch) = stream.try_next().await.expect("read") {
                    rows += batch.num_rows();
                }
            }
            assert_eq!(rows as i64, ROWS * SEGMENTS);
        });
    });
}

/// 1000 files of 100 rows, in memory.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn encode_many_small(bencher: Bencher<'_, '_>) {
    let schema = SegmentSchema::new(Arc::new(table())).expect("a schema");
    let batch = batch(&schema, 0, 100);
    bencher.bench_local(|| (0..1000).map(|_| encode(&schema, &batch).0.bytes).sum::<u64>());
}

/// One file of 200 000 rows, in memory.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn encode_large(bencher: Bencher<'_, '_>) {
    let schema = SegmentSchema::new(Arc::new(table())).expect("a schema");
    let batch = batch(&schema, 0, 200_000);
    bencher.counter(divan::counter::ItemsCount::new(200_000_u64)).bench_local(|| encode(&schema, &batch).0.bytes);
}
