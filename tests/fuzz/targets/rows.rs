//! The row codec: what is written reads back to the bit, and bytes that nobody wrote are an error or
//! another row that reads back.

#![no_main]

use kalamdb_fuzz::{header, row, same, schema};
use kalamdb_sql::{TableSchema, Value};
use kalamdb_store::codec::row::{HEADER_BYTES, RowReader, RowView, decode_row, encode_row};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus { run(bytes).unwrap_or(Corpus::Reject) });

fn run(bytes: &[u8]) -> Result<Corpus> {
    let mut input = Unstructured::new(bytes);
    let schema = schema(&mut input, 20)?;
    let header = header(&mut input, &schema)?;
    match input.int_in_range(0..=2)? {
        0 => {
            let row = row(&mut input, &schema)?;
            let stored = encode_row(&header, &schema, &row);
            let (read_header, read) = decode_row(&stored, &schema).expect("what was written is read");
            assert_eq!(read_header, header);
            assert!(same(&read, &row), "{read:?} is not {row:?}");
            assert_eq!(RowView::parse(&stored).expect("a header").header(), header);
            let reader = RowReader::new(&schema);
            for (column, value) in row.iter().enumerate() {
                let one = reader.value(&stored, column).expect("a column").to_value();
                assert!(same(&[one], std::slice::from_ref(value)));
            }
            assert!(reader.value(&stored, row.len()).is_err());
            // Cut or lengthened it is no row.
            let cut = input.int_in_range(0..=stored.len() - 1)?;
            assert!(decode_row(&stored[..cut], &schema).is_err());
            assert!(decode_row(&[&stored[..], &[0]].concat(), &schema).is_err());
        }
        1 => {
            // Behind a header that is right.
            let nulls = vec![Value::Null; schema.columns.len()];
            let good = encode_row(&header, &schema, &nulls);
            read_any(&[&good[..HEADER_BYTES], input.take_rest()].concat(), &schema);
        }
        _ => {
            let row = row(&mut input, &schema)?;
            let mut stored = encode_row(&header, &schema, &row);
            let at = input.int_in_range(0..=stored.len() - 1)?;
            stored[at] = input.arbitrary()?;
            read_any(&stored, &schema);
        }
    }
    Ok(Corpus::Keep)
}

fn read_any(stored: &[u8], schema: &TableSchema) {
    let reader = RowReader::new(schema);
    let whole = decode_row(stored, schema);
    if let Ok(values) = reader.row(stored) {
        // Column by column it says what it says as a whole.
        let columns: std::result::Result<Vec<Value>, _> =
            (0..schema.columns.len()).map(|column| values.value(column).map(|value| value.to_value())).collect();
        assert_eq!(columns.is_ok(), whole.is_ok());
        assert!(values.value(schema.columns.len()).is_err());
    }
    let Ok((header, row)) = whole else { return };
    assert_eq!(row.len(), schema.columns.len());
    let again = encode_row(&header, schema, &row);
    let (read_header, read) = decode_row(&again, schema).expect("what was read is written and read");
    assert_eq!(read_header, header);
    assert!(same(&read, &row), "{read:?} is not {row:?}");
    assert!(again.len() <= stored.len(), "it grew");
}
