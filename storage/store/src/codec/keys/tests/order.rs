//! Encoded keys sort as Arrow sorts their values.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, StringViewArray, TimestampMicrosecondArray, make_comparator,
};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, SortField};
use kalamdb_sql::{ColumnType, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::codec::keys::{decode_key, decode_key_prefix, encode_key, encode_primary_key};
use crate::codec::tests::strategies::{assert_same, column_type, schema_of, value};

macro_rules! collect {
    ($values:expr, $variant:ident => $array:ty) => {{
        let take = |value: &Value| match value {
            Value::$variant(value) => value.clone(),
            other => panic!("{other:?} is no {}", stringify!($variant)),
        };
        Arc::new(<$array>::from_iter_values($values.iter().map(take))) as ArrayRef
    }};
}

/// The column of a table as the engine sees it.
fn arrow_column(column_type: ColumnType, values: &[Value]) -> ArrayRef {
    let values: Vec<_> = values.iter().cloned().map(Value::normalized).collect();
    match column_type {
        ColumnType::Boolean => {
            let take = |value: &Value| *value == Value::Boolean(true);
            Arc::new(BooleanArray::from(values.iter().map(take).collect::<Vec<_>>()))
        }
        ColumnType::SmallInt => collect!(values, SmallInt => Int16Array),
        ColumnType::Int => collect!(values, Int => Int32Array),
        ColumnType::BigInt => collect!(values, BigInt => Int64Array),
        ColumnType::Float => collect!(values, Float => Float32Array),
        ColumnType::Double => collect!(values, Double => Float64Array),
        ColumnType::Decimal { precision, scale } => {
            let array = collect!(values, Decimal => Decimal128Array);
            let array: &Decimal128Array = array.as_any().downcast_ref().unwrap();
            Arc::new(array.clone().with_precision_and_scale(precision, i8::try_from(scale).unwrap()).unwrap())
        }
        ColumnType::Text => collect!(values, Text => StringViewArray),
        ColumnType::Json => collect!(values, Json => StringViewArray),
        ColumnType::Bytes => collect!(values, Bytes => BinaryViewArray),
        ColumnType::Date => collect!(values, Date => Date32Array),
        ColumnType::Timestamp => collect!(values, Timestamp => TimestampMicrosecondArray),
        ColumnType::Uuid => Arc::new(StringViewArray::from_iter_values(values.iter().map(uuid_text))),
    }
}

fn uuid_text(value: &Value) -> String {
    let Value::Uuid(bytes) = value else { panic!("{value:?} is no UUID") };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn assert_arrow_order(types: &[ColumnType], rows: &[Vec<Value>]) {
    let columns: Vec<ArrayRef> = (0..types.len())
        .map(|at| arrow_column(types[at], &rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>()))
        .collect();
    for (column, column_type) in columns.iter().zip(types) {
        assert_eq!(*column.data_type(), column_type.to_arrow());
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let arrow_rows = RowConverter::new(fields).unwrap().convert_columns(&columns).unwrap();
    let comparators: Vec<_> =
        columns.iter().map(|column| make_comparator(column, column, SortOptions::default()).unwrap()).collect();
    let keys: Vec<_> = rows.iter().map(|row| encode_key(row)).collect();
    for left in 0..rows.len() {
        for right in 0..rows.len() {
            let by_key = keys[left].cmp(&keys[right]);
            let by_column =
                comparators.iter().fold(Ordering::Equal, |order, next| order.then_with(|| next(left, right)));
            let shown = || format!("{:?} and {:?}", rows[left], rows[right]);
            assert_eq!(by_key, arrow_rows.row(left).cmp(&arrow_rows.row(right)), "rows {}", shown());
            assert_eq!(by_key, by_column, "columns {}", shown());
        }
    }
}

/// Ascending, each less than the next.
fn assert_ascending(values: &[Value]) {
    let keys: Vec<_> = values.iter().map(|value| encode_key(std::slice::from_ref(value))).collect();
    for (pair, values) in keys.windows(2).zip(values.windows(2)) {
        assert!(pair[0] < pair[1], "{values:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_type_sorts_as_arrow_sorts_it(
        (column_type, values) in column_type().prop_flat_map(|one| (Just(one), vec(value(one), 2..12)))
    ) {
        let rows: Vec<_> = values.into_iter().map(|value| vec![value]).collect();
        assert_arrow_order(&[column_type], &rows);
    }

    #[test]
    fn composite_keys_sort_as_arrow_sorts_rows(
        (types, rows) in vec(column_type(), 1..5).prop_flat_map(|types| {
            let row: Vec<_> = types.iter().map(|one| value(*one)).collect();
            (Just(types), vec(row, 2..8))
        })
    ) {
        assert_arrow_order(&types, &rows);
    }

    #[test]
    fn keys_read_back_and_none_begins_another(
        (types, rows) in vec(column_type(), 1..5).prop_flat_map(|types| {
            let row: Vec<_> = types.iter().map(|one| value(*one)).collect();
            (Just(types), vec(row, 2..8))
        })
    ) {
        let keys: Vec<_> = rows.iter().map(|row| encode_key(row)).collect();
        for (key, row) in keys.iter().zip(&rows) {
            let normalized: Vec<_> = row.iter().cloned().map(Value::normalized).collect();
            assert_same(&decode_key(key, &types).unwrap(), &normalized);
            for length in 0..types.len() {
                let (values, rest) = decode_key_prefix(key, &types[..length]).unwrap();
                assert_same(&values, &normalized[..length]);
                prop_assert_eq!([encode_key(&row[..length]).as_slice(), rest].concat(), key.as_slice());
            }
            for other in &keys {
                prop_assert!(key == other || !other.starts_with(key), "{:02x?} begins {:02x?}", key, other);
            }
        }
    }
}

#[test]
fn embedded_zeros_sort_between_the_text_and_what_is_greater() {
    let texts = [
        "", "\0", "\0\0", "\0\u{1}", "\0a", "\u{1}", "a", "a\0", "a\0\0", "a\0\u{1}", "a\0b", "a\u{1}", "aa", "b", "é",
        "日",
    ];
    assert_ascending(&texts.map(|text| Value::Text(text.to_owned())));
    let bytes: [&[u8]; 8] = [&[], &[0], &[0, 0], &[0, 0xff], &[0, 0xff, 1], &[1], &[0xff], &[0xff, 0xff]];
    assert_ascending(&bytes.map(|bytes| Value::Bytes(bytes.to_vec())));
}

#[test]
fn floats_are_normalised_and_nan_is_last() {
    let key = |number: f64| encode_key(&[Value::Double(number)]);
    assert_eq!(key(-0.0), key(0.0));
    assert_eq!(key(-f64::NAN), key(f64::NAN));
    assert_eq!(key(f64::from_bits(0x7ff0_0000_0000_0001)), key(f64::NAN));
    let ascending = [
        f64::NEG_INFINITY,
        f64::MIN,
        -1.0,
        -f64::MIN_POSITIVE,
        0.0,
        f64::MIN_POSITIVE,
        1.0,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
    ];
    assert_ascending(&ascending.map(Value::Double));
    let ascending = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.0,
        -f32::MIN_POSITIVE,
        0.0,
        f32::MIN_POSITIVE,
        1.0,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ];
    assert_ascending(&ascending.map(Value::Float));
}

#[test]
fn numbers_sort_across_zero() {
    assert_ascending(&[i16::MIN, -256, -1, 0, 1, 255, 256, i16::MAX].map(Value::SmallInt));
    assert_ascending(&[i32::MIN, -256, -1, 0, 1, 255, 256, i32::MAX].map(Value::Int));
    assert_ascending(&[i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX].map(Value::BigInt));
    let largest = 10_i128.pow(38) - 1;
    assert_ascending(&[-largest, -(1 << 64), -1, 0, 1, 1 << 64, largest].map(Value::Decimal));
    assert_ascending(&[false, true].map(Value::Boolean));
}

#[test]
fn a_primary_key_is_in_key_order_whatever_the_columns_order() {
    let mut schema = schema_of(1, &[ColumnType::Text, ColumnType::BigInt, ColumnType::Boolean]);
    let (first, second) = (schema.columns[2].id, schema.columns[0].id);
    schema.primary_key = vec![first, second];
    let row = vec![Value::Text("a".into()), Value::Null, Value::Boolean(true)];
    let key = encode_primary_key(&schema, &row).unwrap();
    assert_eq!(key, encode_key(&[Value::Boolean(true), Value::Text("a".into())]));
    assert_eq!(decode_key(&key, &schema.key_types()).unwrap(), [Value::Boolean(true), Value::Text("a".into())]);
    assert_eq!(encode_primary_key(&schema_of(1, &[ColumnType::Int]), &vec![Value::Int(1)]).unwrap(), [0; 0]);

    let error = encode_primary_key(&schema, &vec![Value::Null, Value::Null, Value::Boolean(true)]).unwrap_err();
    assert_eq!(error.to_string(), "stored key is corrupted: key column 1 is NULL");
    let error = encode_primary_key(&schema, &vec![Value::Text("a".into())]).unwrap_err();
    assert_eq!(error.to_string(), "stored key is corrupted: the row lacks key column 3");
}
