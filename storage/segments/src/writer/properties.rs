//! How the file is laid out, and why.
//!
//! The two readers want opposite things: a scan wants few large pages, a point read decompresses and decodes one page of
//! each column it needs and wants them small.

use kalamdb_sql::ColumnType;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::schema::SegmentSchema;

/// Rows of a row group: two containers of delete marks. A scan decodes a row group's columns from one read each, so
/// it is large enough for buckets; its bloom filters and the memory of a reader and a writer grow with it.
pub(super) const ROW_GROUP_ROWS: usize = 131_072;
/// Encoded bytes of a row group, for wide rows: what a writer holds at most.
pub(super) const ROW_GROUP_BYTES: usize = 32 << 20;
/// Rows of a page. A point read of a row costs a page per column.
pub(crate) const PAGE_ROWS: usize = 1024;
/// Bytes of a page before compression, for wide values.
const PAGE_BYTES: usize = 64 << 10;
/// Bytes of a column's dictionary, which a point read has to read too; beyond it a column goes on without one.
const DICTIONARY_BYTES: usize = 16 << 10;
/// Share of absent keys that a bloom filter takes for present.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

pub(super) fn writer_properties(
    schema: &SegmentSchema,
    key_positions: &[usize],
    metadata: Vec<KeyValue>,
    expected_rows: u64,
) -> WriterProperties {
    let sorting = key_positions
        .iter()
        .filter_map(|at| i32::try_from(*at).ok())
        .map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: false })
        .collect();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        // Not at the end: there they would be behind the checksums.
        .set_bloom_filter_position(BloomFilterPosition::AfterRowGroup)
        .set_sorting_columns(Some(sorting))
        .set_key_value_metadata(Some(metadata));
    let declared = &schema.table().columns;
    for (at, field) in schema.arrow().fields().iter().enumerate() {
        let path = || ColumnPath::new(vec![field.name().clone()]);
        let is_text = declared.get(at).is_some_and(|column| {
            matches!(column.column_type, ColumnType::Text | ColumnType::Bytes | ColumnType::Json | ColumnType::Uuid)
        });
        if key_positions.contains(&at) {
            // Keys are looked at in every lookup: no dictionary to read beside the page.
            properties = properties.set_column_dictionary_enabled(path(), false);
            let is_boolean = declared.get(at).is_some_and(|column| column.column_type == ColumnType::Boolean);
            if !is_boolean {
                let most = expected_rows.clamp(1, ROW_GROUP_ROWS as u64);
                properties = properties
                    .set_column_bloom_filter_enabled(path(), true)
                    .set_column_bloom_filter_fpp(path(), BLOOM_FALSE_POSITIVES)
                    .set_column_bloom_filter_max_ndv(path(), most);
            }
        } else if is_text {
            // Bounds of unsorted text tell a page from another rarely, and take the most room in a cached footer.
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::Chunk);
        } else if at >= declared.len() && at != declared.len() + 2 {
            // Neighbours in key order were often written together: their numbers and times differ by little.
            properties = properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}
