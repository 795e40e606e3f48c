//! Bytes that are no row of the schema they are read with.

use kalamdb_commons::{SchemaVersion, Seq};
use kalamdb_sql::{ColumnType, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::StoreError;
use crate::codec::row::{RowHeader, RowReader, RowView, decode_row, encode_row};
use crate::codec::tests::strategies::{column_type, schema_and_row, schema_of};

fn header(version: SchemaVersion) -> RowHeader {
    RowHeader { schema_version: version, seq: Seq(1), updated: 0, deleted: false }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn cut_and_lengthened_rows_are_errors((schema, row) in schema_and_row()) {
        let mut bytes = encode_row(&header(schema.version), &schema, &row);
        for length in 0..bytes.len() {
            prop_assert!(decode_row(&bytes[..length], &schema).is_err(), "{} of {} bytes", length, bytes.len());
        }
        bytes.push(0);
        prop_assert!(decode_row(&bytes, &schema).is_err());
    }

    #[test]
    fn a_changed_byte_is_an_error_or_another_row((schema, row) in schema_and_row(), at: prop::sample::Index, to: u8) {
        let mut bytes = encode_row(&header(schema.version), &schema, &row);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok((_, read)) = decode_row(&bytes, &schema) {
            prop_assert_eq!(read.len(), row.len());
        }
    }

    #[test]
    fn random_bytes_do_no_harm(types in vec(column_type(), 1..10), body in vec(any::<u8>(), 0..200)) {
        let schema = schema_of(1, &types);
        let _ = RowView::parse(&body);
        let _ = decode_row(&body, &schema);
        // Behind a header that is right.
        let whole = encode_row(&header(schema.version), &schema, &vec![Value::Null; types.len()]);
        let bytes = [&whole[..super::super::HEADER_BYTES], &body].concat();
        let reader = RowReader::new(&schema);
        if let Ok(values) = reader.row(&bytes) {
            for column in 0..=types.len() {
                let _ = values.value(column);
            }
        }
    }
}

/// Texts around a NULL whose slot stepped back overlapped: a short row was read as a long one.
#[test]
fn a_null_has_no_content() {
    let types = [ColumnType::Text; 3];
    let row = [Value::Text("abcd".into()), Value::Null, Value::Text("ef".into())];
    let schema = schema_of(1, &types);
    let good = encode_row(&header(schema.version), &schema, &row);
    assert!(decode_row(&good, &schema).is_ok());
    // The slot of the NULL: behind header, bitmap and the first slot.
    let at = super::super::HEADER_BYTES + 1 + 4;
    assert_eq!(good[at..at + 4], 4_u32.to_le_bytes());
    for (end, said) in [(0, "text from 4 to 0 of 6"), (5, "NULL in column 1 has content"), (9, "text from 4 to 9 of 6")]
    {
        let mut bytes = good.clone();
        bytes[at] = end;
        assert_eq!(message(&bytes, &types), format!("stored row is corrupted: {said}"));
    }
}

fn message(bytes: &[u8], types: &[ColumnType]) -> String {
    decode_row(bytes, &schema_of(1, types)).unwrap_err().to_string()
}

#[test]
fn each_kind_of_damage_has_its_words() {
    let types = [ColumnType::Boolean, ColumnType::Text, ColumnType::Text];
    let row = [Value::Boolean(true), Value::Text("ab".into()), Value::Text("cd".into())];
    let good = encode_row(&header(SchemaVersion(1)), &schema_of(1, &types), &row);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        message(&bytes, &types)
    };
    assert_eq!(with(1, 2), "stored row is corrupted: of schema version 2, read as version 1");
    assert_eq!(with(12, 1), "stored row is corrupted: seq 72057594037927937 is not below 2^53");
    assert_eq!(with(21, 2), "stored row is corrupted: unknown flags 0x02");
    assert_eq!(with(23, 9), "stored row is corrupted: boolean 9");
    assert_eq!(with(24, 5), "stored row is corrupted: text from 0 to 5 of 4");
    assert_eq!(with(28, 3), "stored row is corrupted: 36 bytes where 35 expected");
    assert_eq!(message(&[], &types), "stored row is corrupted: 1 bytes expected, 0 left");
    assert_eq!(message(&good[..22], &types), "stored row is corrupted: shorter than its fixed part");
}

#[test]
fn an_end_before_its_begin_is_refused() {
    let types = [ColumnType::Text, ColumnType::Text, ColumnType::Text];
    let row = ["ab", "cd", "ef"].map(|text| Value::Text(text.into()));
    let mut bytes = encode_row(&header(SchemaVersion(1)), &schema_of(1, &types), &row);
    bytes[27] = 1;
    assert_eq!(message(&bytes, &types), "stored row is corrupted: text from 2 to 1 of 6");
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let schema = schema_of(1, &[ColumnType::Int]);
    let mut bytes = encode_row(&header(SchemaVersion(1)), &schema, &[Value::Int(1)]);
    bytes[0] = 2;
    let error = decode_row(&bytes, &schema).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { what: "row", found: 2, known: 1 }));
    assert_eq!(error.to_string(), "stored row has format 2, written by a newer version: this one reads up to 1");
    bytes[0] = 0;
    assert_eq!(decode_row(&bytes, &schema).unwrap_err().to_string(), "stored row is corrupted: unknown format 0");
}
