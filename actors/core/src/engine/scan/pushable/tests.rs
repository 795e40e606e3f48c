use datafusion::arrow::datatypes::{Field, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{cast, col, lit};

use super::*;

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("n", DataType::Int32, true),
        Field::new("b", DataType::Boolean, true),
        Field::new("d", DataType::Decimal128(10, 2), true),
        Field::new("t", DataType::Utf8View, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("day", DataType::Date32, true),
        Field::new(KEY_COLUMN, DataType::Binary, false),
    ])
}

fn text(text: &str) -> Expr {
    lit(ScalarValue::Utf8View(Some(text.to_owned())))
}

fn decimal(precision: u8, scale: i8) -> Expr {
    lit(ScalarValue::Decimal128(Some(5), precision, scale))
}

#[test]
fn what_cannot_fail_is_taken() {
    for condition in [
        col("n").eq(lit(5)),
        lit(5).lt(col("n")),
        col("n").is_null().or(col("b")).and(col("b").is_not_true()),
        (!col("n").between(lit(1), lit(3))).is_unknown(),
        col("n").in_list(vec![lit(1), lit(2)], true),
        col("t").like(text("a%")).and(col("t").ilike(text("%b"))),
        cast(col("n"), DataType::Int64).gt_eq(lit(5_i64)),
        cast(col("n"), DataType::Float64).gt_eq(lit(5.5)),
        cast(col("d"), DataType::Decimal128(20, 4)).eq(decimal(20, 4)),
        cast(col("n"), DataType::Decimal128(20, 0)).eq(decimal(20, 0)),
        col("n").eq(col("n")),
    ] {
        assert!(is_pushable(&condition, &schema()), "{condition}");
    }
}

#[test]
fn what_may_fail_or_is_not_understood_stays() {
    let deep = (0..MOST_PARTS).fold(col("b"), |condition, _| condition.and(col("b")));
    for condition in [
        // Not of one type, or not a condition.
        col("n").eq(lit(5_i64)),
        col("n"),
        // Errors: overflow, division, text that is no number, a day too far for a time.
        (col("n") + lit(1)).eq(lit(5)),
        (lit(1) / col("n")).eq(lit(5)).and(col("b")),
        cast(col("t"), DataType::Int32).eq(lit(5)),
        cast(col("n"), DataType::Int16).eq(lit(5_i16)),
        cast(col("day"), DataType::Timestamp(TimeUnit::Microsecond, None)).lt(col("at")),
        cast(col("d"), DataType::Decimal128(9, 2)).eq(decimal(9, 2)),
        cast(col("d"), DataType::Decimal128(20, 1)).eq(decimal(20, 1)),
        cast(col("n"), DataType::Decimal128(10, 2)).eq(decimal(10, 2)),
        col("t").like(col("t")),
        col("t").like(text("a\\")),
        col("t").like(text(&"%a".repeat(MOST_PATTERN_BYTES))),
        col("n").in_list(vec![col("n")], false),
        col("n").in_list((0..3000).map(lit).collect(), false),
        col(KEY_COLUMN).is_not_null(),
        col("unknown").is_null(),
        deep,
    ] {
        assert!(!is_pushable(&condition, &schema()), "{condition}");
    }
}
