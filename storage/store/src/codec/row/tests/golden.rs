//! The bytes of rows, fixed for ever.

use kalamdb_commons::{SchemaVersion, Seq};
use kalamdb_sql::{ColumnType, Value};

use crate::codec::row::{RowHeader, decode_row, encode_row};
use crate::codec::tests::samples::{row, row_header, schema};
use crate::codec::tests::strategies::schema_of;
use crate::codec::tests::{Golden, golden};

/// A row, its tombstone, and a row with a column of each type.
pub(in crate::codec) fn rows() -> Vec<Golden> {
    let (types, values) = every_type();
    let header = RowHeader { schema_version: SchemaVersion(1), seq: Seq(1), updated: -1, deleted: false };
    vec![
        golden(
            "row",
            encode_row(&row_header(false), &schema(), &row()),
            "01 03000000 2900000000000000 0000ceeeb5400600 00
             04 0900000000000000 04000000 00000000
             68c3a979",
        ),
        golden(
            "tombstone",
            encode_row(&row_header(true), &schema(), &row()),
            "01 03000000 2a00000000000000 0000ceeeb5400600 01
             04 0900000000000000 04000000 00000000
             68c3a979",
        ),
        golden(
            "row of every type",
            encode_row(&header, &schema_of(1, &types), &values),
            "01 01000000 0100000000000000 ffffffffffffffff 00
             0020
             01 fbff fbffffff fbffffffffffffff 0000c03f 000000000000f83f
             d2040000000000000000000000000000
             02000000 04000000
             924f0000 0000ceeeb5400600
             0199c82cc00070008000000000 00002a
             06000000 06000000
             6869 00ff 7b7d",
        ),
    ]
}

fn every_type() -> (Vec<ColumnType>, Vec<Value>) {
    let uuid = [0x01, 0x99, 0xc8, 0x2c, 0xc0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x2a];
    let columns = [
        (ColumnType::Boolean, Value::Boolean(true)),
        (ColumnType::SmallInt, Value::SmallInt(-5)),
        (ColumnType::Int, Value::Int(-5)),
        (ColumnType::BigInt, Value::BigInt(-5)),
        (ColumnType::Float, Value::Float(1.5)),
        (ColumnType::Double, Value::Double(1.5)),
        (ColumnType::Decimal { precision: 10, scale: 2 }, Value::Decimal(1234)),
        (ColumnType::Text, Value::Text("hi".into())),
        (ColumnType::Bytes, Value::Bytes(vec![0, 0xff])),
        (ColumnType::Date, Value::Date(20_370)),
        (ColumnType::Timestamp, Value::Timestamp(1_760_000_000_000_000)),
        (ColumnType::Uuid, Value::Uuid(uuid)),
        (ColumnType::Json, Value::Json("{}".into())),
        (ColumnType::Text, Value::Null),
    ];
    columns.into_iter().unzip()
}

#[test]
fn golden_rows_are_read() {
    let [live, tombstone, all] = rows().try_into().unwrap_or_else(|_| panic!("three rows"));
    assert_eq!(decode_row(&live.bytes, &schema()).unwrap(), (row_header(false), row()));
    assert_eq!(decode_row(&tombstone.bytes, &schema()).unwrap(), (row_header(true), row()));
    let (types, values) = every_type();
    assert_eq!(decode_row(&all.bytes, &schema_of(1, &types)).unwrap().1, values);
}
