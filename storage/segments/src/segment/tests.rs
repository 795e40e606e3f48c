use futures::TryStreamExt as _;
use kalamdb_commons::ErrorCode;
use kalamdb_sql::{ColumnType, TableSchema, Value};
use parquet::arrow::arrow_reader::RowSelector;
use proptest::prelude::*;

use super::*;
use crate::SegmentCache;
use crate::testing::{Stored, TestRow, everything, rows_of, scan, table, whole};

fn marks(rows: impl IntoIterator<Item = u64>) -> SegmentMarks {
    rows.into_iter().collect()
}

fn messages(rows: i64) -> (TableSchema, Vec<TestRow>) {
    let table = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text), ("stars", ColumnType::Int)], 1);
    let rows = (0..rows)
        .map(|id| {
            let text = if id % 5 == 0 { Value::Null } else { Value::Text(format!("text of row {id}")) };
            let stars = i32::try_from(id % 3).expect("small");
            TestRow::new(id + 1, vec![Value::BigInt(id * 2), text, Value::Int(stars)])
        })
        .collect();
    (table, rows)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[tokio::test]
async fn marks_ranges_and_limits_choose_rows() {
    let (table, rows) = messages(150_000);
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let all = SegmentScan::new(everything(&table));
    let model = |keep: &dyn Fn(usize) -> bool| -> Vec<_> {
        rows.iter().enumerate().filter(|(at, _)| keep(*at)).map(|(_, row)| whole(row)).collect()
    };
    assert_eq!(scan(&segment, &table, &all).await.expect("read"), model(&|_| true));

    for (what, marked) in [
        ("none", vec![]),
        ("both ends", vec![0, 149_999]),
        ("a whole row group", (0..131_072).collect()),
        ("every other row", (0..150_000).step_by(2).collect()),
        ("all", (0..150_000).collect::<Vec<u64>>()),
    ] {
        let set: std::collections::HashSet<u64> = marked.iter().copied().collect();
        let request = SegmentScan { marks: Some(Arc::new(marks(marked))), ..all.clone() };
        let found = scan(&segment, &table, &request).await.expect("read");
        assert_eq!(found, model(&|at| !set.contains(&(at as u64))), "{what}");
        let few = SegmentScan { limit: Some(10), ..request };
        assert_eq!(scan(&segment, &table, &few).await.expect("read"), found[..found.len().min(10)], "{what}");
    }

    // A range reads its pages and no more, and nothing of it is missing.
    let key = |id: i64| TestRow::new(1, vec![Value::BigInt(id)]).key(&table);
    let keys = (Bound::Included(key(200_000)), Bound::Excluded(key(200_200)));
    let (stream, counters) = segment.scan(&SegmentScan { keys, ..all.clone() }).expect("a stream");
    let batches: Vec<RecordBatch> = stream.try_collect().await.expect("read");
    let found: Vec<_> = batches.iter().flat_map(|batch| rows_of(&table, batch)).collect();
    assert!(found.len() <= 2048, "{} rows", found.len());
    let inside = model(&|at| (100_000..100_100).contains(&at));
    assert!(inside.iter().all(|row| found.contains(row)));
    assert!(counters.bytes() < stored.bytes.len() as u64 / 4, "{} bytes", counters.bytes());
    for outside in [(Bound::Unbounded, Bound::Excluded(key(0))), (Bound::Excluded(key(299_998)), Bound::Unbounded)] {
        let found = scan(&segment, &table, &SegmentScan { keys: outside, ..all.clone() }).await.expect("read");
        assert!(found.len() <= 1024);
    }
    let past = (Bound::Included(key(300_000)), Bound::Unbounded);
    assert!(scan(&segment, &table, &SegmentScan { keys: past, ..all }).await.expect("read").is_empty());
}

#[tokio::test]
async fn other_readers_get_bytes_selection_and_columns() {
    let (table, rows) = messages(3000);
    let stored = Stored::new(&table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let selection = segment.selection((Bound::Unbounded, Bound::Unbounded), Some(&marks([0, 2999]))).expect("rows");
    assert_eq!(selection.row_groups, [0]);
    let expected = vec![RowSelector::skip(1), RowSelector::select(2998), RowSelector::skip(1)];
    assert_eq!(selection.selection.clone().map(Vec::<RowSelector>::from), Some(expected));
    let reader = ParquetRecordBatchStreamBuilder::new_with_metadata(
        segment.source(),
        segment.reader_metadata_with_position().clone(),
    );
    let stream = reader.with_row_selection(selection.selection.expect("some")).build().expect("a reader");
    let batches: Vec<RecordBatch> = stream.try_collect().await.expect("read");
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2998);
    assert_eq!(batches[0].num_columns(), 7);
    let whole = segment.selection((Bound::Unbounded, Bound::Unbounded), None).expect("rows");
    assert_eq!(whole.selection, None);
}

#[test]
fn a_truncated_file_is_damage_wherever_it_ends() {
    let (table, rows) = messages(2500);
    block_on(async {
        let stored = Stored::new(&table, &rows).await;
        let size = stored.bytes.len();
        let mut ends: Vec<usize> = (0..size).step_by(size / 60).collect();
        ends.extend([1, 3, 4, 5, 7, 8, 9, size - 1, size - 4, size - 8, size - 9]);
        for end in ends {
            let cut = stored.replaced(stored.bytes[..end].to_vec()).await;
            let error = cut.open().await.expect_err("cut");
            assert_eq!(error.code(), ErrorCode::DataCorrupted, "{end} of {size}: {error}");
            assert!(error.to_string().contains(&stored.manifest.path), "{error}");
            // Cut, and filled up again: the size says nothing then.
            let mut filled = stored.bytes[..end].to_vec();
            filled.resize(size, 0);
            let filled = stored.replaced(filled).await;
            let error = filled.open().await.expect_err("filled up");
            assert!(matches!(error, SegmentError::Damaged { .. }), "{end} of {size}: {error}");
        }
        let foreign: [Vec<u8>; 4] = [b"PAR1".repeat(size), vec![0; size], b"hello".to_vec(), Vec::new()];
        for foreign in foreign {
            let error = stored.replaced(foreign).await.open().await.expect_err("foreign");
            assert!(matches!(error, SegmentError::Damaged { .. }), "{error}");
        }
    });
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (table, rows) = messages(10);
    let mut stored = Stored::new(&table, &rows).await;
    stored.manifest.path = "chat/users/ann/messages/none.parquet".to_owned();
    let error = stored.open().await.expect_err("missing");
    assert!(matches!(&error, SegmentError::Missing { path } if *path == stored.manifest.path), "{error}");
    stored.manifest.path = "../elsewhere".to_owned();
    assert_eq!(stored.open().await.expect_err("a bad path").code(), ErrorCode::DataCorrupted);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_give_other_rows(at in 0.0..1.0_f64, flip in 1_u8.., from_end in any::<bool>()) {
        let (table, rows) = messages(40);
        block_on(async {
            let stored = Stored::new(&table, &rows).await;
            let size = stored.bytes.len();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a small file")]
            let at = ((size as f64 * at) as usize).min(size - 1);
            let at = if from_end { size - 1 - at / 4 } else { at };
            let mut bytes = stored.bytes.clone();
            bytes[at] ^= flip;
            let damaged = stored.replaced(bytes).await;
            let read = async {
                let segment = damaged.open().await?;
                let found = scan(&segment, &table, &SegmentScan::new(everything(&table))).await?;
                let keys: Vec<_> = rows.iter().map(|row| row.key(&table)).collect();
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let positions = segment.find(&keys).await?.positions;
                Ok::<_, SegmentError>((found, positions, segment))
            };
            match read.await {
                Ok((found, positions, _)) => {
                    assert!(found == rows.iter().map(whole).collect::<Vec<_>>(), "other rows: byte {at} of {size}");
                    assert!(positions.iter().all(Option::is_some), "a hidden key: byte {at} of {size}");
                }
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::DataCorrupted, "{error}");
                    assert!(error.to_string().contains(&stored.manifest.path), "{error}");
                }
            }
        });
    }
}

#[tokio::test]
async fn a_file_that_goes_away_while_it_is_read_is_named() {
    let (table, rows) = messages(3000);
    let stored = Stored::new(&table, &rows).await;
    let cache = SegmentCache::new(1 << 20);
    let segment = cache.open(stored.request()).await.expect("opened");
    stored.storage.delete(&[segment.path().clone()]).await.expect("deleted");
    let again = cache.open(stored.request()).await.expect("its footer is in memory");
    let error = scan(&again, &table, &SegmentScan::new(everything(&table))).await.expect_err("gone");
    assert!(matches!(error, SegmentError::Missing { .. }), "{error}");
    let (stream, _) = again.scan(&SegmentScan::new(everything(&table))).expect("a stream");
    assert_eq!(stream.collect::<Vec<_>>().await.len(), 1, "nothing follows an error");
}
