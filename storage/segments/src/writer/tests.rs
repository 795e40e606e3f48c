use arrow::array::Int64Array;
use kalamdb_commons::ErrorCode;
use kalamdb_sql::{ColumnType, Value};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use proptest::prelude::*;

use super::*;
use crate::testing::strategies::table_with_rows;
use crate::testing::{Stored, TestRow, batch, encode, everything, partition, scan, sorted, table, whole};
use crate::{SegmentScan, SegmentSchema};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Equal to the bit, so that NaN is NaN and -0.0 is not 0.0.
fn assert_same(found: &[Vec<Value>], expected: &[Vec<Value>]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_comes_back_as_it_was((table, rows) in table_with_rows(60)) {
        block_on(async {
            let stored = Stored::new(&table, &rows).await;
            let segment = stored.open().await.expect("opened");
            let found = scan(&segment, &table, &SegmentScan::new(everything(&table))).await.expect("read");
            let expected: Vec<_> = rows.iter().map(whole).collect();
            assert_same(&found, &expected);
            let keys: Vec<_> = rows.iter().map(|row| row.key(&table)).collect();
            assert_eq!(Some(&stored.manifest.min_key), keys.first());
            assert_eq!(Some(&stored.manifest.max_key), keys.last());
            assert_eq!(stored.manifest.rows, rows.len() as u64);
            assert_eq!(stored.manifest.bytes, stored.bytes.len() as u64);
            let seqs = || rows.iter().map(|row| row.seq.unsigned_abs());
            assert_eq!(Some(stored.manifest.min_seq.0), seqs().min());
            assert_eq!(Some(stored.manifest.max_seq.0), seqs().max());
        });
    }
}

#[test]
fn the_footer_says_what_the_contract_says() {
    let table = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text)], 1);
    let rows: Vec<_> = (1..=10).map(|id| TestRow::new(id * 7, vec![Value::BigInt(id), Value::Null])).collect();
    for (user, expected) in [(Some("日本 ../x"), "日本 ../x"), (None, "")] {
        let (_, bytes) = encode(&table, &partition(user), &rows);
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a file");
        let file = reader.metadata().file_metadata();
        let mut pairs: Vec<_> = file
            .key_value_metadata()
            .expect("metadata")
            .iter()
            .map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap_or_default()))
            .collect();
        pairs.sort_unstable();
        let checksums = pairs.remove(0);
        assert_eq!(checksums.0, "kalamdb.checksums");
        assert!(checksums.1.starts_with("crc32 16384 "), "{}", checksums.1);
        let (key, checksum) = pairs.remove(pairs.len() - 2);
        assert_eq!(key, "kalamdb.tail_checksum");
        assert!(checksum.starts_with("crc32-of-tail ") && !checksum.ends_with("00000000"), "{checksum}");
        let expected = [
            ("kalamdb.max_seq", "70"),
            ("kalamdb.min_seq", "7"),
            ("kalamdb.namespace", "chat"),
            ("kalamdb.rows", "10"),
            ("kalamdb.schema_version", "1"),
            ("kalamdb.table", "messages"),
            ("kalamdb.user_id", expected),
        ];
        assert_eq!(pairs, expected);
        let group = reader.metadata().row_group(0);
        assert_eq!(group.sorting_columns().map(Vec::len), Some(1));
        assert!(
            group
                .columns()
                .iter()
                .all(|column| column.compression() == parquet::basic::Compression::ZSTD(Default::default()))
        );
        assert!(group.column(0).bloom_filter_offset().is_some() && group.column(1).bloom_filter_offset().is_none());
        assert!(group.columns().iter().all(|column| column.offset_index_offset().is_some()));
    }
}

#[test]
fn rows_out_of_order_are_refused() {
    let table = table(&[("id", ColumnType::BigInt)], 1);
    let schema = SegmentSchema::new(Arc::new(table)).expect("a schema");
    let args = || SegmentWriterArgs { schema: schema.clone(), partition: partition(None), expected_rows: 3 };
    let rows = |ids: &[i64]| {
        let rows: Vec<_> = ids.iter().map(|id| TestRow::new(1, vec![Value::BigInt(*id)])).collect();
        batch(&schema, &rows)
    };
    for batches in
        [vec![rows(&[2, 1])], vec![rows(&[1, 1])], vec![rows(&[1, 2]), rows(&[2])], vec![rows(&[5]), rows(&[1])]]
    {
        let mut writer = SegmentWriter::new(Vec::new(), args()).expect("a writer");
        let outcome: Result<Vec<()>> = batches.iter().map(|batch| writer.write(batch)).collect();
        assert_eq!(outcome.expect_err("out of order").code(), ErrorCode::Internal);
    }
    let empty = SegmentWriter::new(Vec::new(), args()).expect("a writer").finish();
    assert!(empty.is_err(), "a segment has rows");
    let mut writer = SegmentWriter::new(Vec::new(), args()).expect("a writer");
    let foreign =
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).expect("a batch");
    assert!(writer.write(&foreign).is_err(), "columns are missing");
}

#[test]
fn floats_of_keys_are_normalised() {
    let table = table(&[("x", ColumnType::Double)], 1);
    let schema = SegmentSchema::new(Arc::new(table.clone())).expect("a schema");
    let values = [-1.0, -0.0, f64::from_bits(0xfff8_0000_0000_0001)];
    let rows: Vec<_> = values.iter().map(|x| TestRow::new(1, vec![Value::Double(*x)])).collect();
    let args = SegmentWriterArgs { schema: schema.clone(), partition: partition(None), expected_rows: 3 };
    let mut writer = SegmentWriter::new(Vec::new(), args).expect("a writer");
    writer.write(&batch(&schema, &rows)).expect("in order: NaN is the greatest");
    let (written, _) = writer.finish().expect("finished");
    assert_eq!(written.max_key, TestRow::new(1, vec![Value::Double(f64::NAN)]).key(&table));
}

#[test]
fn a_writer_holds_one_row_group_at_most() {
    let table = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text)], 1);
    let schema = SegmentSchema::new(Arc::new(table.clone())).expect("a schema");
    let args = SegmentWriterArgs { schema: schema.clone(), partition: partition(None), expected_rows: 100 };
    let mut writer = SegmentWriter::new(std::io::sink(), args).expect("a writer");
    let mut random = 1_u64;
    let mut most = 0;
    for number in 0..60 {
        let rows: Vec<_> = (0..50)
            .map(|row| {
                let text: String = (0..5000)
                    .map(|_| {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        char::from_u32(0x4e00 + u32::try_from(random >> 52).expect("12 bits")).expect("a letter")
                    })
                    .collect();
                TestRow::new(1, vec![Value::BigInt(number * 50 + row), Value::Text(text)])
            })
            .collect();
        writer.write(&batch(&schema, &sorted(&table, rows))).expect("written");
        most = most.max(writer.buffered_bytes());
    }
    let (written, _) = writer.finish().expect("finished");
    assert!(written.bytes > properties::ROW_GROUP_BYTES as u64 / 2, "{}", written.bytes);
    assert!(most < 2 * properties::ROW_GROUP_BYTES, "{most} bytes were held");
}
