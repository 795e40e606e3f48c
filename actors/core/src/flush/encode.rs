//! One partition's hot rows into one file: read here, encoded on a thread of its own.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use kalamdb_commons::{Error, Result, SchemaVersion};
use kalamdb_segments::{SegmentGroup, SegmentPath, SegmentSchema, SegmentWriter, SegmentWriterArgs};
use kalamdb_store::{HotRows, Lease};
use tokio::sync::mpsc;

use crate::catalog::TableEntry;
use crate::engine::{RowDecoder, ScanColumn, Tombstones};
use crate::segments::partition_name;

/// Rows read at a time, and about how many bytes of them: two such batches are in memory for each file.
const CHUNK_ROWS: usize = 8192;
const CHUNK_BYTES: usize = 2 << 20;

/// What was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoded {
    pub(super) bytes: u64,
    pub(super) schema_version: SchemaVersion,
}

/// The file that a partition's rows are to go to.
pub(super) struct Target {
    pub(super) files: Arc<Box<dyn SegmentGroup>>,
    pub(super) path: SegmentPath,
    /// About how many rows there are.
    pub(super) expected_rows: u64,
    pub(super) lease: Lease,
}

/// Writes a partition's rows to a file of the group; none, and no file, where there is no row.
pub(super) async fn encode(entry: &Arc<TableEntry>, rows: &mut HotRows, to: Target) -> Result<Option<Encoded>> {
    let schema = SegmentSchema::new(Arc::clone(&entry.schema))?;
    let mut decoder = decoder(entry, &schema);
    let Some(first) = next_batch(rows, &mut decoder).await? else { return Ok(None) };
    let args = SegmentWriterArgs {
        schema,
        partition: partition_name(entry, rows.partition().user.clone()),
        expected_rows: to.expected_rows.max(first.num_rows() as u64),
    };
    let (batches, mut incoming) = mpsc::channel::<RecordBatch>(1);
    let write = tokio::task::spawn_blocking(move || {
        // With the lease to its end, whoever still waits for it: as long as it is held, the file is its writer's.
        let Target { files, path, lease: _lease, .. } = to;
        let mut writer = SegmentWriter::new(files.create(&path)?, args)?;
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
