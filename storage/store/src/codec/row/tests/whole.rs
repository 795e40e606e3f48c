//! Rows read as they were written.

use kalamdb_commons::SchemaVersion;
use kalamdb_sql::{ColumnType, TableSchema, Value};
use proptest::prelude::*;

use crate::codec::row::{
    HEADER_BYTES, RowHeader, RowReader, RowView, ValueRef, decode_row, encode_row, encode_row_into,
};
use crate::codec::tests::strategies::{assert_same, schema_and_row, schema_of, seq};

fn header(schema: &TableSchema) -> RowHeader {
    RowHeader { schema_version: schema.version, seq: kalamdb_commons::Seq(41), updated: -1, deleted: false }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rows_read_back((schema, row) in schema_and_row(), seq in seq(), updated: i64, deleted: bool) {
        let header = RowHeader { schema_version: schema.version, seq, updated, deleted };
        let bytes = encode_row(&header, &schema, &row);
        let (read_header, read_row) = decode_row(&bytes, &schema).unwrap();
        prop_assert_eq!(read_header, header);
        assert_same(&read_row, &row);
        prop_assert_eq!(RowView::parse(&bytes).unwrap().header(), header);

        let reader = RowReader::new(&schema);
        for (column, value) in row.iter().enumerate() {
            assert_same(&[reader.value(&bytes, column).unwrap().to_value()], std::slice::from_ref(value));
        }
        prop_assert!(reader.value(&bytes, row.len()).is_err());
    }

    #[test]
    fn a_row_is_appended((schema, row) in schema_and_row()) {
        let mut out = b"before".to_vec();
        encode_row_into(&mut out, &header(&schema), &schema, &row);
        prop_assert_eq!(&out[6..], encode_row(&header(&schema), &schema, &row));
    }
}

#[test]
fn the_header_is_read_without_the_schema() {
    let schema = schema_of(3, &[ColumnType::Text]);
    let bytes = encode_row(&header(&schema), &schema, &[Value::Text("a".into())]);
    let view = RowView::parse(&bytes).unwrap();
    assert_eq!(view.header().schema_version, SchemaVersion(3));
    assert_eq!(view.body(), &bytes[HEADER_BYTES..]);
    assert_eq!(RowView::parse(&bytes[..HEADER_BYTES]).unwrap().header(), view.header());
}

#[test]
fn null_is_not_the_empty_text() {
    let schema = schema_of(1, &[ColumnType::Text, ColumnType::Text, ColumnType::Bytes, ColumnType::Json]);
    let row = vec![Value::Null, Value::Text(String::new()), Value::Bytes(Vec::new()), Value::Null];
    let bytes = encode_row(&header(&schema), &schema, &row);
    let reader = RowReader::new(&schema);
    let values = reader.row(&bytes).unwrap();
    assert_eq!(values.value(0).unwrap(), ValueRef::Null);
    assert_eq!(values.value(1).unwrap(), ValueRef::Text(""));
    assert_eq!(values.value(2).unwrap(), ValueRef::Bytes(&[]));
    assert_eq!(values.value(3).unwrap(), ValueRef::Null);
}

#[test]
fn the_null_bitmap_has_a_bit_per_column_at_any_width() {
    for width in [1, 7, 8, 9, 16, 17, 64, 10_000] {
        let schema = schema_of(1, &vec![ColumnType::SmallInt; width]);
        let row: Vec<Value> = (0..width)
            .map(|at| if at % 3 == 0 { Value::Null } else { Value::SmallInt(i16::try_from(at).unwrap()) })
            .collect();
        let bytes = encode_row(&header(&schema), &schema, &row);
        assert_eq!(bytes.len(), HEADER_BYTES + width.div_ceil(8) + 2 * width);
        assert_eq!(decode_row(&bytes, &schema).unwrap().1, row);
    }
}

#[test]
fn text_holds_every_character() {
    let schema = schema_of(1, &[ColumnType::Text, ColumnType::Text]);
    let row = vec![Value::Text("a\0b".into()), Value::Text("日本\u{10ffff}".repeat(10_000))];
    let bytes = encode_row(&header(&schema), &schema, &row);
    assert_eq!(decode_row(&bytes, &schema).unwrap().1, row);
}

#[test]
#[should_panic(expected = "a value of another type in a column of type INT")]
fn a_value_of_another_type_does_not_reach_the_disk() {
    let schema = schema_of(1, &[ColumnType::Int]);
    let _ = encode_row(&header(&schema), &schema, &[Value::BigInt(1)]);
}

#[test]
#[should_panic(expected = "version of a row's header and of its schema")]
fn a_row_is_written_with_the_schema_it_names() {
    let schema = schema_of(2, &[ColumnType::Int]);
    let _ = encode_row(&RowHeader { schema_version: SchemaVersion(1), ..header(&schema) }, &schema, &[Value::Int(1)]);
}
