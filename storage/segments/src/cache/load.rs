//! Reading a segment's footer, page indexes and bloom filters, and checking that it is the segment meant.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::{RowNumber, parquet_to_arrow_schema};
use parquet::bloom_filter::Sbbf;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};
use parquet::schema::types::SchemaDescriptor;

use super::{LoadedSegment, OpenSegment};
use crate::bloom::RowGroupBlooms;
use crate::checksum::{Checksums, verify_tail};
use crate::error::{Result, SegmentError};
use crate::guard::decoding;
use crate::metadata;
use crate::path::SegmentPath;
use crate::schema::in_memory;
use crate::zones::KeyZones;

/// Bytes read from the end at once: footer, indexes and filters of most segments, and small segments as a whole.
const TAIL_BYTES: u64 = 64 << 10;
/// Most bytes of footer, indexes and filters; a damaged length must not ask for all memory.
const MOST_METADATA_BYTES: u64 = 256 << 20;
/// Name of the virtual column of positions, while it is being read.
const POSITION: &str = "kalamdb.position";

/// The end of a file in memory, and where it begins.
struct Tail {
    start: u64,
    bytes: Bytes,
}

impl Tail {
    fn slice(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.start)?).ok()?;
        (start <= end && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

pub(super) async fn load(open: &OpenSegment<'_>, path: &SegmentPath) -> Result<LoadedSegment> {
    let damaged = |message: String| SegmentError::Damaged { path: path.to_string(), message };
    let expected = open.manifest.bytes;
    let tail = open.storage.read_tail(path, expected, TAIL_BYTES).await?;
    if tail.size != expected {
        return Err(damaged(format!("it has {} bytes where the manifest has {expected}", tail.size)));
    }
    let tail = Tail { start: expected.saturating_sub(tail.bytes.len() as u64), bytes: tail.bytes };
    let source = Source { open, path, tail };
    let metadata = Arc::new(source.footer(expected).await?);
    // Before anything else of the footer counts.
    let checksums = Arc::new(metadata::read_checksums(metadata.file_metadata()).map_err(damaged)?);
    let tail = source.read(std::slice::from_ref(&(checksums.end()..expected))).await?;
    verify_tail(tail.first().map(Bytes::as_ref).unwrap_or_default()).map_err(damaged)?;
    metadata::check(metadata.file_metadata(), open.partition, open.manifest).map_err(damaged)?;

    let (columns, columns_and_position) = decoding(path, || reader_metadata(&metadata))?;
    let leaves = decoding(path, || field_ids(metadata.file_metadata().schema_descr()))?;
    let mut key_leaves = Vec::new();
    for part in open.key.parts() {
        let leaf = leaves.get(&part.field_id).copied();
        key_leaves.push(leaf.ok_or_else(|| damaged(format!("it lacks key column {}", part.field_id)))?);
    }
    let zones = decoding(path, || {
        KeyZones::new(&metadata, open.key, &key_leaves).map_err(parquet::errors::ParquetError::General)
    })?;
    let blooms = source.blooms(&metadata, &key_leaves, &checksums).await?;
    let mut row_group_starts = vec![0];
    let mut rows = 0;
    for group in metadata.row_groups() {
        rows += u64::try_from(group.num_rows()).map_err(|_| damaged("a row group has a negative size".to_owned()))?;
        row_group_starts.push(rows);
    }
    if rows != open.manifest.rows {
        return Err(damaged(format!("its row groups have {rows} rows where the manifest has {}", open.manifest.rows)));
    }
    Ok(LoadedSegment {
        metadata,
        columns,
        columns_and_position,
        leaves,
        layout: open.key.clone(),
        key_leaves,
        zones,
        blooms,
        checksums,
        row_group_starts,
    })
}

/// The file, with its end in memory.
struct Source<'a> {
    open: &'a OpenSegment<'a>,
    path: &'a SegmentPath,
    tail: Tail,
}

impl Source<'_> {
    fn damaged(&self, message: String) -> SegmentError {
        SegmentError::Damaged { path: self.path.to_string(), message }
    }

    async fn footer(&self, size: u64) -> Result<ParquetMetaData> {
        let mut decoder = decoding(self.path, || ParquetMetaDataPushDecoder::try_new(size))?
            .with_page_index_policy(PageIndexPolicy::Required);
        loop {
            match decoding(self.path, || decoder.try_decode())? {
                DecodeResult::Data(metadata) => return Ok(metadata),
                DecodeResult::NeedsData(ranges) => {
                    let data = self.read(&ranges).await?;
                    decoding(self.path, || decoder.push_ranges(ranges, data))?;
                }
                DecodeResult::Finished => {
                    return Err(self.damaged("its footer ends early".to_owned()));
                }
            }
        }
    }

    /// The filters of the key columns, row group by row group.
    async fn blooms(
        &self,
        metadata: &ParquetMetaData,
        key_leaves: &[usize],
        checksums: &Checksums,
    ) -> Result<Vec<RowGroupBlooms>> {
        let mut ranges = Vec::new();
        let mut places = Vec::new();
        for (number, group) in metadata.row_groups().iter().enumerate() {
            for (part, leaf) in key_leaves.iter().enumerate() {
                let column = group.columns().get(*leaf);
                let range = column.and_then(|column| {
                    let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
                    let length = u64::try_from(column.bloom_filter_length()?).ok()?;
                    Some(start..start.checked_add(length)?)
                });
                if let Some(range) = range {
                    ranges.push(range);
                    places.push((number, part));
                }
            }
        }
        let mut blooms: Vec<RowGroupBlooms> = vec![vec![None; key_leaves.len()]; metadata.num_row_groups()];
        let blocks = checksums.blocks_of(&ranges).map_err(|message| self.damaged(message))?;
        let read = self.read(&blocks).await?;
        let filters = checksums.verified(&ranges, &blocks, &read).map_err(|message| self.damaged(message))?;
        for ((number, part), bytes) in places.into_iter().zip(filters) {
            let filter = decoding(self.path, || Sbbf::from_bytes(&bytes))?;
            if let Some(place) = blooms.get_mut(number).and_then(|group| group.get_mut(part)) {
                *place = Some(filter);
            }
        }
        Ok(blooms)
    }

    /// Takes ranges from the end in memory, and reads the others.
    async fn read(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let size = self.open.manifest.bytes;
        if let Some(Range { start, end }) = ranges.iter().find(|range| range.start > range.end || range.end > size) {
            return Err(self.damaged(format!("its footer names bytes {start} to {end} of {size}")));
        }
        let bytes = ranges.iter().map(|range| range.end.saturating_sub(range.start)).fold(0, u64::saturating_add);
        if bytes > MOST_METADATA_BYTES {
            return Err(self.damaged(format!("its footer claims {bytes} bytes of metadata")));
        }
        let missing: Vec<_> = ranges.iter().filter(|range| self.tail.slice(range).is_none()).cloned().collect();
        let read = if missing.is_empty() { Vec::new() } else { self.open.storage.read(self.path, &missing).await? };
        let mut read = read.into_iter();
        let mut out = Vec::with_capacity(ranges.len());
        for range in ranges {
            out.extend(self.tail.slice(range).or_else(|| read.next()));
        }
        Ok(out)
    }
}

/// The columns as readers want them, without and with the row's position.
fn reader_metadata(
    metadata: &Arc<ParquetMetaData>,
) -> parquet::errors::Result<(ArrowReaderMetadata, ArrowReaderMetadata)> {
    let inferred = parquet_to_arrow_schema(metadata.file_metadata().schema_descr(), None)?;
    let fields: Fields = inferred
        .fields()
        .iter()
        .map(|field| Field::clone(field).with_data_type(in_memory(field.data_type())))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let position = Field::new(POSITION, DataType::Int64, false).with_extension_type(RowNumber);
    let with_position = options.clone().with_virtual_columns(vec![Arc::new(position)])?;
    Ok((
        ArrowReaderMetadata::try_new(Arc::clone(metadata), options)?,
        ArrowReaderMetadata::try_new(Arc::clone(metadata), with_position)?,
    ))
}

/// The places of columns by their ids; all columns of ours are flat.
fn field_ids(schema: &SchemaDescriptor) -> parquet::errors::Result<HashMap<i32, usize>> {
    let mut leaves = HashMap::with_capacity(schema.num_columns());
    for (leaf, column) in schema.columns().iter().enumerate() {
        let info = column.self_type().get_basic_info();
        let flat = column.path().parts().len() == 1 && column.max_rep_level() == 0;
        if !flat || !info.has_id() || leaves.insert(info.id(), leaf).is_some() {
            let message = format!("column {:?} is nested, or has no id of its own", column.name());
            return Err(parquet::errors::ParquetError::General(message));
        }
    }
    Ok(leaves)
}
