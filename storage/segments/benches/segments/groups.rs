//! What writing the files of a flush costs, against the Parquet writer alone.
//!
//! Both write the same rows into 1000 files, each in a directory of its own as those of 1000 users are, and sync files and
//! directories in groups of 256, as a flush does. Without bloom filters, checksums, checks of the order, temporary names
//! and pages made for point reads, `plain_arrow_writer` is the floor.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use divan::Bencher;
use kalamdb_segments::{
    LocalStorage, SegmentPath, SegmentSchema, SegmentStorage as _, SegmentWriter, SegmentWriterArgs,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::{batch, partition, table};

const FILES: usize = 1000;
/// Files that are made durable together.
const GROUP: usize = 256;
/// Rows of a file.
const ROWS: [i64; 2] = [100, 1000];

/// With the build and not where temporary files are: those may be in memory, where a sync costs nothing.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

fn paths() -> Vec<String> {
    (0..FILES).map(|user| format!("chat/users/user-{user}/messages/segment.parquet")).collect()
}

fn rows(rows: i64) -> (SegmentSchema, RecordBatch) {
    let schema = SegmentSchema::new(Arc::new(table())).expect("a schema");
    let batch = batch(&schema, 0, rows);
    (schema, batch)
}

/// Files by `ArrowWriter` with the compression of segments and else its own settings, synced by one thread.
#[divan::bench(args = ROWS, sample_count = 5, sample_size = 1)]
fn plain_arrow_writer(bencher: Bencher<'_, '_>, rows_each: i64) {
    let (schema, batch) = rows(rows_each);
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    bencher.with_inputs(directory).bench_local_refs(|directory| {
        let root = directory.path();
        let mut known = BTreeSet::from([root.to_owned()]);
        for group in paths().chunks(GROUP) {
            let mut to_sync = BTreeSet::new();
            let files: Vec<File> = group
                .iter()
                .map(|path| {
                    let path = root.join(path);
                    make_directories(&path, &mut known, &mut to_sync);
                    let file = File::create(&path).expect("created");
                    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema.arrow()), Some(properties.clone()))
                        .expect("a writer");
                    writer.write(&batch).expect("written");
                    writer.into_inner().expect("finished")
                })
                .collect();
            for file in files {
                file.sync_all().expect("synced");
            }
            for directory in to_sync {
                File::open(directory).and_then(|directory| directory.sync_all()).expect("synced");
            }
        }
    });
}

/// Makes what is missing above a file. The file's own directory has a new name in it, and so has each one above a new one.
fn make_directories(path: &Path, known: &mut BTreeSet<PathBuf>, to_sync: &mut BTreeSet<PathBuf>) {
    let parent = path.parent().expect("files are below the root");
    fs::create_dir_all(parent).expect("created");
    to_sync.insert(parent.to_owned());
    for directory in parent.ancestors() {
        if !known.insert(directory.to_owned()) {
            break;
        }
        to_sync.extend(directory.parent().map(Path::to_owned));
    }
}

/// The same by what a flush uses.
#[divan::bench(args = ROWS, sample_count = 5, sample_size = 1)]
fn segment_group(bencher: Bencher<'_, '_>, rows_each: i64) {
    let (schema, batch) = rows(rows_each);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let args =
        SegmentWriterArgs { schema, partition: partition(), expected_rows: u64::try_from(rows_each).expect("rows") };
    bencher.with_inputs(directory).bench_local_refs(|directory| {
        let storage = LocalStorage::new(directory.path());
        for group in paths().chunks(GROUP) {
            let files = storage.begin_group();
            for path in group {
                let sink = files.create(&SegmentPath::parse(path).expect("a path")).expect("created");
                let mut writer = SegmentWriter::new(sink, args.clone()).expect("a writer");
                writer.write(&batch).expect("written");
                let (_, sink) = writer.finish().expect("finished");
                sink.finish().expect("finished");
            }
            runtime.block_on(files.commit()).expect("durable");
        }
    });
}
