use bytes::Bytes;
use kalamdb_sql::TableSchema;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
use proptest::prelude::*;

use super::*;
use crate::testing::strategies::value;
use crate::testing::{TestRow, encode, partition, sorted, table};

fn zones_of(table: &TableSchema, rows: &[TestRow]) -> KeyZones {
    let (_, bytes) = encode(table, &partition(Some("ann")), rows);
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&Bytes::from(bytes))
        .expect("a footer");
    let layout = KeyLayout::new(table).expect("a key");
    let leaves: Vec<usize> = match table.primary_key.len() {
        0 => vec![table.columns.len() + 3],
        columns => (0..columns).collect(),
    };
    KeyZones::new(&metadata, &layout, &leaves).expect("zones")
}

/// Few distinct values in the first columns, so that pages begin and end in the middle of them.
fn composite() -> impl Strategy<Value = (TableSchema, Vec<TestRow>)> {
    let types = vec![
        ColumnType::Text,
        ColumnType::Double,
        ColumnType::Float,
        ColumnType::Int,
        ColumnType::Uuid,
        ColumnType::Bytes,
        ColumnType::Boolean,
        ColumnType::Decimal { precision: 20, scale: 2 },
    ];
    (prop::collection::vec(prop::sample::select(types), 1..3), 3000_usize..6000).prop_flat_map(|(types, count)| {
        let columns: Vec<(&str, ColumnType)> =
            ["a", "b"].into_iter().zip(types.iter().copied()).chain([("n", ColumnType::Int)]).collect();
        let schema = table(&columns, columns.len());
        let pools: Vec<_> = types.iter().map(|column_type| prop::collection::vec(value(*column_type), 1..6)).collect();
        pools.prop_map(move |pools| {
            let rows = (0..count)
                .map(|number| {
                    let mut values: Vec<Value> = pools
                        .iter()
                        .enumerate()
                        .map(|(at, pool)| pool[(number / (at * 7 + 1)) % pool.len()].clone().normalized())
                        .collect();
                    values.push(Value::Int(i32::try_from(number * 2).expect("small")));
                    TestRow::new(1, values)
                })
                .collect();
            (schema.clone(), sorted(&schema, rows))
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn zones_never_miss_a_key((table, rows) in composite()) {
        let zones = zones_of(&table, &rows);
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.key(&table)).collect();
        for (at, key) in keys.iter().enumerate() {
            let found = zones.rows_of(key);
            prop_assert!(found.contains(&(at as u64)), "row {at} of {} is not in {found:?}", keys.len());
            // Floats bound loosely, for NaN is in no bound; so do long texts, whose bounds are cut.
            let is_tight = !rows[at].values.iter().any(|value| match value {
                Value::Double(_) | Value::Float(_) => true,
                Value::Text(text) => text.len() >= CUT_BOUND_BYTES,
                Value::Bytes(bytes) => bytes.len() >= CUT_BOUND_BYTES / 2,
                _ => false,
            });
            prop_assert!(!is_tight || found.end - found.start <= 4 * 1024, "row {at} of {}: {found:?}", keys.len());
        }
        let layout = KeyLayout::new(&table).expect("a key");
        for at in (0..keys.len()).step_by(301) {
            for length in 1..=layout.parts().len() {
                // The first components of a key: everything that begins so.
                let values = layout.values(&keys[at]).expect("values");
                let mut prefix = Vec::new();
                for (part, value) in layout.parts().iter().zip(&values).take(length) {
                    encode_component(&mut prefix, part.kind, value).expect("a component");
                }
                let bounds = [
                    (Bound::Included(prefix.as_slice()), Bound::Included(prefix.as_slice())),
                    (Bound::Included(&prefix), Bound::Unbounded),
                    (Bound::Excluded(&prefix), Bound::Unbounded),
                    (Bound::Unbounded, Bound::Excluded(&prefix)),
                    (Bound::Unbounded, Bound::Included(&prefix)),
                ];
                for (start, end) in bounds {
                    let found = zones.rows_between(start, end);
                    for (row, key) in keys.iter().enumerate() {
                        let after = match start {
                            Bound::Included(bound) => key.as_slice() >= bound,
                            Bound::Excluded(bound) => key.as_slice() > bound && !key.starts_with(bound),
                            Bound::Unbounded => true,
                        };
                        let before = match end {
                            Bound::Included(bound) => key.as_slice() <= bound || key.starts_with(bound),
                            Bound::Excluded(bound) => key.as_slice() < bound,
                            Bound::Unbounded => true,
                        };
                        prop_assert!(!(after && before) || found.contains(&(row as u64)), "{start:?}..{end:?}: {row} not in {found:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_key_of_its_own_is_in_one_page() {
    let table = table(&[("conversation", ColumnType::Text), ("id", ColumnType::BigInt)], 2);
    let rows: Vec<_> = (0..20_000)
        .map(|number| {
            let conversation = Value::Text(format!("c{}", number / 7000));
            TestRow::new(1, vec![conversation, Value::BigInt(number * 2)])
        })
        .collect();
    let zones = zones_of(&table, &rows);
    let mut read = 0;
    for row in rows.iter().step_by(97) {
        let found = zones.rows_of(&row.key(&table));
        read += found.end - found.start;
    }
    // 1024 rows a page; a key near the border of two conversations may need two.
    let lookups = rows.len().div_ceil(97) as u64;
    assert!(read <= lookups * 1130, "{read} rows for {lookups} lookups");
    let (below, above) = (
        TestRow::new(1, vec![Value::Text("b".into()), Value::BigInt(0)]),
        TestRow::new(1, vec![Value::Text("d".into()), Value::BigInt(0)]),
    );
    for outside in [below, above] {
        assert!(zones.rows_of(&outside.key(&table)).is_empty());
    }
    assert_eq!(zones.rows_between(Bound::Unbounded, Bound::Unbounded), 0..20_000);
}

#[test]
fn numbers_are_read_big_endian() {
    for number in [0, 1, -1, 255, -256, i128::from(i64::MAX) + 1] {
        let bytes = number.to_be_bytes();
        assert_eq!(from_big_endian(&bytes), Some(number));
        assert_eq!(from_big_endian(&bytes[5..]), Some(number));
    }
    assert_eq!(from_big_endian(&[]), None);
    assert_eq!(from_big_endian(&[0; 17]), None);
}
