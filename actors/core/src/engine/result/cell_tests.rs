use std::sync::Arc;

use datafusion::arrow::array::{
    BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array, ListArray, StringArray,
    StructArray, Time64MicrosecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::datatypes::Int32Type as Int32;

use super::*;

fn json(array: impl Array + 'static) -> String {
    let array: ArrayRef = Arc::new(array);
    let field = Field::new("c", array.data_type().clone(), true);
    json_as(&field, &array)
}

fn json_as(field: &Field, array: &ArrayRef) -> String {
    let writer = CellWriter::new(field, array).expect("a kind of cell");
    let mut out = Vec::new();
    for row in 0..array.len() {
        writer.write(&mut out, row).expect("a value");
        out.push(b' ');
    }
    String::from_utf8(out).expect("UTF-8").trim_end().to_owned()
}

#[test]
fn numbers_are_those_of_the_contract() {
    assert_eq!(json(Int8Array::from(vec![Some(-1), None])), "-1 null");
    assert_eq!(json(UInt32Array::from(vec![u32::MAX])), "4294967295");
    assert_eq!(json(UInt64Array::from(vec![u64::MAX])), "\"18446744073709551615\"");
    let floats = Float64Array::from(vec![1.5, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e-3]);
    assert_eq!(json(floats), "1.5 \"NaN\" \"Infinity\" \"-Infinity\" 0.001");
    assert_eq!(json(Float32Array::from(vec![0.1])), "0.1");
    let decimals = Decimal128Array::from(vec![-5, 12345]).with_precision_and_scale(10, 2).expect("fits");
    assert_eq!(json(decimals), "\"-0.05\" \"123.45\"");
}

#[test]
fn times_have_microseconds_and_utc() {
    assert_eq!(
        json(TimestampNanosecondArray::from(vec![1_761_057_000_000_000_000])),
        "\"2025-10-21T14:30:00.000000Z\""
    );
    assert_eq!(json(Date32Array::from(vec![0, -719_162])), "\"1970-01-01\" \"0001-01-01\"");
    assert_eq!(json(Time64MicrosecondArray::from(vec![52_200_000_001])), "\"14:30:00.000001\"");
}

#[test]
fn text_is_escaped_bytes_are_base64_and_json_is_embedded() {
    assert_eq!(json(StringArray::from(vec!["a\"\n\u{1}é"])), "\"a\\\"\\n\\u0001é\"");
    assert_eq!(json(BinaryArray::from(vec![&[1_u8, 2][..]])), "\"AQI=\"");
    let array: ArrayRef = Arc::new(StringArray::from(vec!["{\"a\": [1]}"]));
    assert_eq!(json_as(&ColumnType::Json.to_field("c", true), &array), "{\"a\": [1]}");
}

#[test]
fn text_that_only_claims_to_be_json_is_not_embedded() {
    let array: ArrayRef = Arc::new(StringArray::from(vec!["{", "", "\"", "1 2", "{\"a\":1}"]));
    let written = json_as(&ColumnType::Json.to_field("c", true), &array);
    assert_eq!(written, "\"{\" \"\" \"\\\"\" \"1 2\" {\"a\":1}");
}

#[test]
fn nested_values_are_json() {
    let lists = ListArray::from_iter_primitive::<Int32, _, _>(vec![Some(vec![Some(1), None]), None]);
    assert_eq!(json(lists), "[1,null] null");
    let field = Arc::new(Field::new("a \"b\"", DataType::Utf8, true));
    let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    assert_eq!(json(StructArray::from(vec![(field, column)])), "{\"a \\\"b\\\"\":\"x\"}");
}

#[test]
fn times_beyond_the_years_are_errors() {
    assert!(timestamp(i64::MAX).is_err());
    assert!(date(i32::MAX).is_err());
    // The year 0000.
    assert!(timestamp(-62_135_596_800_000_001).is_err());
    assert!(date(-719_163).is_err());
}
