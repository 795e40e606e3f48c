//! One partition's hot rows into one file: read here, encoded on a thread of its own.

use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::RecordBatch;
use kalamdb_commons::{Error, Result, SchemaVersion};
use kalamdb_segments::{SegmentGroup, SegmentPath, SegmentSchema, SegmentWriter, SegmentWriterArgs};
use kalamdb_store::{HotRows, Lease};
use tokio::sync::mpsc;

use crate::catalog::TableEntry;
use crate::engine::{RowDecoder, ScanColumn, Tombstones};
use crate::segments::{Writing, partition_name};

/// Rows read at a time, and about how many bytes of them: two such batches are in memory for each file.
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 2 << 20;

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded {
    pub(super) bytes: u64,
    pub(super) schema_version: SchemaVersion,
}

/// The files of a group while they are written.
pub(super) struct OpenFiles {
    group: Box<dyn SegmentGroup>,
    /// Why the group has failed.
    failure: OnceLock<Error>,
    /// The storage stays what it is until its files are written.
    _writing: Option<Arc<Writing>>,
    /// Dropped last: as long as it is held the files are their writers', and nobody deletes them under their hands.
    lease: Lease,
}

impl OpenFiles {
    pub(super) fn new(group: Box<dyn SegmentGroup>, lease: &Lease, writing: Option<Arc<Writing>>) -> Self {
        Self { group, failure: OnceLock::new(), _writing: writing, lease: lease.clone() }
    }

    /// One file is enough: what the others would be is of no use.
    pub(super) fn fail(&self, error: &Error) {
        // The first one is the reason.
        let _ = self.failure.set(error.clone());
    }

    /// When all have their bytes, makes them durable; otherwise gives them up.
    pub(super) async fn end(self) -> Result<()> {
        let Self { group, failure, _writing, lease } = self;
        let ended = match failure.into_inner() {
            None => group.commit().await.map_err(Error::from),
            Some(error) => {
                group.abort().await;
                Err(error)
            }
        };
        drop(lease);
        ended
    }
}

/// The file that a partition's rows are to go to.
pub(super) struct Target {
    pub(super) files: Arc<OpenFiles>,
    pub(super) path: SegmentPath,
    /// About how many rows there are.
    pub(super) expected_rows: u64,
    /// What the keys of the file's rows may take in memory; with more of them it ends, and the rest is for another.
    pub(super) key_bytes: usize,
}

/// Writes a partition's rows to a file of the group, all of them or as many as it may have; none, and no file, where there is no row. Ends early, with an error,
/// when another file of the group has failed; its writer has ended whatever is returned.
pub(super) async fn encode(entry: &Arc<TableEntry>, rows: &mut HotRows, to: Target) -> Result<Option<Encoded>> {
    let schema = SegmentSchema::new(Arc::clone(&entry.schema))?;
    let mut decoder = decoder(entry, &schema);
    let (group, key_bytes) = (Arc::clone(&to.files), to.key_bytes);
    if let Some(error) = group.failure.get() {
        return Err(error.clone());
    }
    let Some(first) = next_batch(rows, &mut decoder).await? else { return Ok(None) };
    let args = SegmentWriterArgs {
        schema,
        partition: partition_name(entry, rows.partition().user.clone()),
        expected_rows: to.expected_rows.max(first.num_rows() as u64),
    };
    let (batches, mut incoming) = mpsc::channel::<RecordBatch>(1);
    let write = tokio::task::spawn_blocking(move || {
        // With the group, and its lease, to its end: whoever still waits for it.
        let Target { files, path, .. } = to;
        let mut writer = SegmentWriter::new(files.group.create(&path)?, args)?;
        writer.write(&first)?;
        while let Some(batch) = incoming.blocking_recv() {
            writer.write(&batch)?;
        }
        let (written, sink) = writer.finish()?;
        sink.finish()?;
        Ok::<_, Error>(Encoded { bytes: written.bytes, schema_version: written.schema_version })
    });
    let mut failed = None;
    loop {
        if let Some(error) = group.failure.get() {
            failed = Some(error.clone());
            break;
        }
        if rows.memory() > key_bytes {
            break;
        }
        match next_batch(rows, &mut decoder).await {
            Ok(Some(batch)) => {
                // The writer has ended with an error, which comes below.
                if batches.send(batch).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    drop(batches);
    let encoded = write.await.map_err(Error::internal)?;
    match failed {
        Some(error) => Err(error),
        None => encoded.map(Some),
    }
}

fn decoder(entry: &Arc<TableEntry>, schema: &SegmentSchema) -> RowDecoder {
    let mut columns: Vec<ScanColumn> = (0..entry.schema.columns.len()).map(ScanColumn::Declared).collect();
    columns.extend([ScanColumn::Seq, ScanColumn::Updated, ScanColumn::Deleted]);
    if entry.schema.primary_key.is_empty() {
        columns.push(ScanColumn::RowNumber);
    }
    RowDecoder::new(Arc::clone(entry), columns, Arc::clone(schema.arrow()), Tombstones::All)
}

async fn next_batch(rows: &mut HotRows, decoder: &mut RowDecoder) -> Result<Option<RecordBatch>> {
    let read = rows.next(CHUNK_ROWS, CHUNK_BYTES).await?;
    if read.is_empty() {
        return Ok(None);
    }
    let stored = read.iter().map(|row| (row.key.as_ref(), row.stored.as_ref()));
    decoder.decode(stored, usize::MAX).map(Some)
}
