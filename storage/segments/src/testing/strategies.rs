//! Random values, with the odd ones among them often.

use kalamdb_sql::{ColumnType, TableSchema, Value};
use proptest::prelude::*;

use super::{TestRow, sorted, table};

pub(crate) const ALL_TYPES: [ColumnType; 15] = [
    ColumnType::Boolean,
    ColumnType::SmallInt,
    ColumnType::Int,
    ColumnType::BigInt,
    ColumnType::Float,
    ColumnType::Double,
    ColumnType::Decimal { precision: 4, scale: 2 },
    ColumnType::Decimal { precision: 18, scale: 0 },
    ColumnType::Decimal { precision: 38, scale: 10 },
    ColumnType::Text,
    ColumnType::Bytes,
    ColumnType::Date,
    ColumnType::Timestamp,
    ColumnType::Uuid,
    ColumnType::Json,
];

/// Years 1 and 9999 in microseconds and days.
const LEAST_MICROS: i64 = -62_135_596_800_000_000;
const MOST_MICROS: i64 = 253_402_300_799_999_999;
const LEAST_DAY: i32 = -719_162;
const MOST_DAY: i32 = 2_932_896;

pub(crate) fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    match column_type {
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::SmallInt => {
            prop_oneof![Just(i16::MIN), Just(i16::MAX), -3_i16..3, any::<i16>()].prop_map(Value::SmallInt).boxed()
        }
        ColumnType::Int => {
            prop_oneof![Just(i32::MIN), Just(i32::MAX), -3..3, any::<i32>()].prop_map(Value::Int).boxed()
        }
        ColumnType::BigInt => {
            prop_oneof![Just(i64::MIN), Just(i64::MAX), -3_i64..3, any::<i64>()].prop_map(Value::BigInt).boxed()
        }
        ColumnType::Float => prop_oneof![
            prop::sample::select(vec![
                0.0,
                -0.0,
                f32::NAN,
                -f32::NAN,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::MIN_POSITIVE
            ]),
            any::<f32>(),
            any::<u32>().prop_map(f32::from_bits),
        ]
        .prop_map(Value::Float)
        .boxed(),
        ColumnType::Double => prop_oneof![
            prop::sample::select(vec![0.0, -0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX]),
            any::<f64>(),
            any::<u64>().prop_map(f64::from_bits),
        ]
        .prop_map(Value::Double)
        .boxed(),
        ColumnType::Decimal { precision, .. } => {
            let most = 10_i128.pow(precision.into()) - 1;
            prop_oneof![Just(most), Just(-most), -3_i128..3, -most..=most].prop_map(Value::Decimal).boxed()
        }
        ColumnType::Text => text().prop_map(Value::Text).boxed(),
        ColumnType::Json => text().prop_map(|text| Value::Json(serde_json_text(&text))).boxed(),
        ColumnType::Bytes => {
            prop_oneof![Just(Vec::new()), Just(vec![0; 100]), prop::collection::vec(any::<u8>(), 0..90)]
                .prop_map(Value::Bytes)
                .boxed()
        }
        ColumnType::Date => {
            prop_oneof![Just(LEAST_DAY), Just(MOST_DAY), -3..3, LEAST_DAY..=MOST_DAY].prop_map(Value::Date).boxed()
        }
        ColumnType::Timestamp => {
            prop_oneof![Just(LEAST_MICROS), Just(MOST_MICROS), -3_i64..3, LEAST_MICROS..=MOST_MICROS]
                .prop_map(Value::Timestamp)
                .boxed()
        }
        ColumnType::Uuid => {
            prop_oneof![Just([0; 16]), Just([0xff; 16]), any::<[u8; 16]>()].prop_map(Value::Uuid).boxed()
        }
    }
}

/// Texts that begin alike for longer than any bound of a page, among others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-c]{0,3}",
        "\\PC{0,12}",
        "[a\u{0}]{0,3}",
        "[xy]{0,2}".prop_map(|end| format!("{}{end}", "long ".repeat(20))),
        "[xy]{0,2}".prop_map(|end| format!("{}{end}", "\u{10ffff}".repeat(20))),
    ]
}

fn serde_json_text(text: &str) -> String {
    format!("{{\"text\":{text:?}}}")
}

/// A table with a key of some columns of any types (or none) and one nullable column of each type, and rows of it,
/// sorted.
pub(crate) fn table_with_rows(most_rows: usize) -> impl Strategy<Value = (TableSchema, Vec<TestRow>)> {
    prop::collection::vec(prop::sample::select(ALL_TYPES.to_vec()), 0..4).prop_flat_map(move |key| {
        let types: Vec<ColumnType> = key.iter().copied().chain(ALL_TYPES).collect();
        let names: Vec<String> = (0..types.len()).map(|number| format!("c{number}")).collect();
        let columns: Vec<(&str, ColumnType)> = names.iter().map(String::as_str).zip(types.iter().copied()).collect();
        let schema = table(&columns, key.len());
        let cells: Vec<BoxedStrategy<Value>> = types
            .iter()
            .enumerate()
            .map(|(at, column_type)| match at < key.len() {
                true => value(*column_type).prop_map(Value::normalized).boxed(),
                false => prop_oneof![1 => Just(Value::Null), 4 => value(*column_type)].boxed(),
            })
            .collect();
        let row = (cells, 1_i64..1 << 53, any::<bool>(), 0_u64..1 << 53)
            .prop_map(|(values, seq, deleted, number)| TestRow { deleted, number, ..TestRow::new(seq, values) });
        prop::collection::vec(row, 1..most_rows).prop_map(move |rows| (schema.clone(), sorted(&schema, rows)))
    })
}
