use proptest::prelude::*;

use super::*;
use crate::testing::strategies::table_with_rows;
use crate::testing::{array_of, table};
use arrow::array::{Int64Array, StringViewArray};
use std::sync::Arc;

proptest! {
    #[test]
    fn keys_of_columns_are_keys_of_rows((table, rows) in table_with_rows(20)) {
        let layout = KeyLayout::new(&table).expect("a key");
        let arrays: Vec<ArrayRef> = match table.primary_key.len() {
            0 => vec![Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| i64::try_from(row.number).expect("small"))))],
            columns => (0..columns)
                .map(|at| array_of(table.columns[at].column_type, rows.iter().map(|row| &row.values[at])))
                .collect(),
        };
        let keys = KeyColumns::new(&layout, &arrays).expect("key columns");
        for (at, row) in rows.iter().enumerate() {
            let mut encoded = Vec::new();
            keys.encode(at, &mut encoded).expect("a key");
            prop_assert_eq!(&encoded, &row.key(&table));
            let values = layout.values(&encoded).expect("values");
            let mut again = Vec::new();
            for (part, value) in layout.parts().iter().zip(&values) {
                encode_component(&mut again, part.kind, value).expect("a component");
            }
            prop_assert_eq!(again, encoded);
        }
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let layout = KeyLayout::new(&table(&[("id", ColumnType::Uuid)], 1)).expect("a key");
    let columns = |array: ArrayRef| KeyColumns::new(&layout, &[array]);
    assert!(columns(Arc::new(Int64Array::from(vec![1]))).is_err());
    assert!(columns(Arc::new(StringViewArray::from(vec![None::<&str>]))).is_err());
    assert!(KeyColumns::new(&layout, &[]).is_err());
    for text in ["", "x", "0199C82C-C000-7000-8000-00000000002A", "0199c82cc0007000800000000000002a"] {
        let keys = columns(Arc::new(StringViewArray::from(vec![text]))).expect("text");
        assert!(keys.encode(0, &mut Vec::new()).is_err(), "{text}");
    }
    assert!(layout.values(&[0; 15]).is_err() && layout.values(&[0; 17]).is_err());
    let numbers = KeyLayout::new(&table(&[("text", ColumnType::Text)], 0)).expect("a key");
    assert!(numbers.values(&[0; 7]).is_err() && numbers.values(&[0xff; 8]).is_err());
    assert!(numbers.values(&9_u64.to_be_bytes()).is_ok_and(|values| values == [Value::BigInt(9)]));
}
