//! Values, rows, schemas and ids for property tests, with the edges more often than chance would have them.

use kalamdb_commons::{ColumnId, ColumnName, SchemaVersion, Seq, UserId};
use kalamdb_sql::{ColumnDefinition, ColumnType, MAX_DECIMAL_PRECISION, Row, TableSchema, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

pub(in crate::codec) fn column_type() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        1 => Just(ColumnType::Boolean),
        1 => Just(ColumnType::SmallInt),
        1 => Just(ColumnType::Int),
        1 => Just(ColumnType::BigInt),
        1 => Just(ColumnType::Float),
        1 => Just(ColumnType::Double),
        2 => decimal_type(),
        3 => Just(ColumnType::Text),
        3 => Just(ColumnType::Bytes),
        1 => Just(ColumnType::Date),
        1 => Just(ColumnType::Timestamp),
        1 => Just(ColumnType::Uuid),
        1 => Just(ColumnType::Json),
    ]
}

fn decimal_type() -> impl Strategy<Value = ColumnType> {
    (1..=MAX_DECIMAL_PRECISION)
        .prop_flat_map(|precision| (Just(precision), 0..=precision))
        .prop_map(|(precision, scale)| ColumnType::Decimal { precision, scale })
}

/// A value of that type, never NULL.
pub(in crate::codec) fn value(column_type: ColumnType) -> BoxedStrategy<Value> {
    match column_type {
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::SmallInt => {
            edges(vec![i16::MIN, -1, 0, 1, i16::MAX], any::<i16>()).prop_map(Value::SmallInt).boxed()
        }
        ColumnType::Int => edges(vec![i32::MIN, -1, 0, 1, i32::MAX], any::<i32>()).prop_map(Value::Int).boxed(),
        ColumnType::BigInt => edges(vec![i64::MIN, -1, 0, 1, i64::MAX], any::<i64>()).prop_map(Value::BigInt).boxed(),
        ColumnType::Float => edges(floats(), any::<u32>().prop_map(f32::from_bits)).prop_map(Value::Float).boxed(),
        ColumnType::Double => edges(doubles(), any::<u64>().prop_map(f64::from_bits)).prop_map(Value::Double).boxed(),
        ColumnType::Decimal { precision, .. } => {
            let largest = 10_i128.pow(precision.into()) - 1;
            edges(vec![-largest, -1, 0, 1, largest], -largest..=largest).prop_map(Value::Decimal).boxed()
        }
        ColumnType::Text => text().prop_map(Value::Text).boxed(),
        ColumnType::Bytes => bytes().prop_map(Value::Bytes).boxed(),
        ColumnType::Date => edges(vec![i32::MIN, -1, 0, i32::MAX], any::<i32>()).prop_map(Value::Date).boxed(),
        ColumnType::Timestamp => {
            let years_1_and_9999 = vec![-62_135_596_800_000_000, -1, 0, 253_402_300_799_999_999];
            edges(years_1_and_9999, any::<i64>()).prop_map(Value::Timestamp).boxed()
        }
        ColumnType::Uuid => {
            prop_oneof![any::<[u8; 16]>(), select(vec![[0; 16], [0xff; 16]])].prop_map(Value::Uuid).boxed()
        }
        ColumnType::Json => select(vec!["null", "{}", "{\"a\":1}", "{\"a\": 1}", "[1,2]", "\"é\"", "0.1e5"])
            .prop_map(|text| Value::Json(text.to_owned()))
            .boxed(),
    }
}

/// A value of that type, or NULL.
pub(in crate::codec) fn nullable(column_type: ColumnType) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 3 => value(column_type)]
}

fn edges<T: Clone + std::fmt::Debug + 'static>(
    edges: Vec<T>,
    all: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = T> {
    prop_oneof![1 => select(edges), 2 => all]
}

fn floats() -> Vec<f32> {
    let finite = [
        0.0,
        1.0,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        f32::from_bits(0x7f80_0001),
    ];
    finite.into_iter().flat_map(|number| [number, -number]).collect()
}

fn doubles() -> Vec<f64> {
    let finite = [
        0.0,
        1.0,
        f64::MIN_POSITIVE,
        f64::from_bits(1),
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
    ];
    finite.into_iter().flat_map(|number| [number, -number]).collect()
}

/// Few letters, so that texts begin alike, with the bytes that escaping is about among them.
fn text() -> impl Strategy<Value = String> {
    let few = select(vec!['\0', '\u{1}', 'a', 'b', 'é', '\u{ff}', '日', '\u{10ffff}']);
    prop_oneof![2 => vec(few, 0..5).prop_map(String::from_iter), 1 => any::<String>()]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![2 => vec(select(vec![0, 1, 2, 0x7f, 0xfe, 0xff]), 0..6), 1 => vec(any::<u8>(), 0..40)]
}

/// Ids that begin alike, ids in other alphabets, paths, and the longest ones.
pub(in crate::codec) fn user_id() -> impl Strategy<Value = UserId> {
    let piece = select(vec!["a", "ann", "anna", "n", "/", "..", "%2E", " ", "é", "日本", "\u{10ffff}", "'", "~"]);
    prop_oneof![
        3 => vec(piece, 1..5).prop_map(|pieces| pieces.concat()),
        1 => "\\PC{1,128}",
        1 => select(vec!["é".repeat(128), "é".repeat(127), "a".repeat(128), "日".repeat(128)]),
    ]
    .prop_filter_map("a user id", |text| UserId::new(text).ok())
}

pub(in crate::codec) fn seq() -> impl Strategy<Value = Seq> {
    edges(vec![0, 1, Seq::LIMIT - 1], 0..Seq::LIMIT).prop_map(Seq)
}

pub(in crate::codec) fn column(id: u32, column_type: ColumnType, initial: Value) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(id),
        name: ColumnName::new(format!("c{id}")).unwrap(),
        column_type,
        nullable: true,
        default: None,
        default_text: None,
        initial,
    }
}

/// Columns of these types with ids from 1 on, and no key.
pub(in crate::codec) fn schema_of(version: u32, types: &[ColumnType]) -> TableSchema {
    let columns: Vec<_> = (1..).zip(types).map(|(id, column_type)| column(id, *column_type, Value::Null)).collect();
    let next_column_id = ColumnId(u32::try_from(columns.len()).unwrap() + 1);
    TableSchema { version: SchemaVersion(version), columns, primary_key: Vec::new(), next_column_id }
}

/// A schema and rows of it.
pub(in crate::codec) fn schema_and_row() -> impl Strategy<Value = (TableSchema, Row)> {
    (1..1000_u32, vec(column_type(), 1..20)).prop_map(|(version, types)| schema_of(version, &types)).prop_flat_map(
        |schema| {
            let row: Vec<_> = schema.columns.iter().map(|column| nullable(column.column_type)).collect();
            (Just(schema), row)
        },
    )
}

/// Equality that tells floats apart by their bits, where `==` says that NaN is not NaN.
pub(in crate::codec) fn assert_same(left: &[Value], right: &[Value]) {
    let bits = |row: &[Value]| -> Vec<Value> {
        let exact = |value: &Value| match value {
            Value::Float(number) => Value::BigInt(number.to_bits().into()),
            Value::Double(number) => Value::Decimal(number.to_bits().into()),
            other => other.clone(),
        };
        row.iter().map(exact).collect()
    };
    assert_eq!(bits(left), bits(right));
}
