//! Rows one by one as JSON, for frames.

use datafusion::arrow::array::{Array as _, RecordBatch};
use datafusion::arrow::datatypes::Schema;
use kalamdb_commons::{Error, Result};
use kalamdb_wire::JsonRows;

use super::{CellWriter, columns_of, keys_of};

/// Writes the rows of one result's schema.
#[derive(Debug)]
pub(crate) struct RowJson {
    /// Each column's name as JSON, with the colon.
    names: Vec<Vec<u8>>,
}

impl RowJson {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self { names: keys_of(&columns_of(schema)) }
    }

    /// Appends the rows as objects; columns of the batch beyond those of the schema are left out.
    pub(crate) fn write(&self, batch: &RecordBatch, out: &mut JsonRows) -> Result<()> {
        let cells = cells(batch, 0..self.names.len())?;
        for row in 0..batch.num_rows() {
            out.push_with(|text| {
                text.push(b'{');
                for (at, (name, cell)) in self.names.iter().zip(&cells).enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(name);
                    cell.write(text, row)?;
                }
                text.push(b'}');
                Ok::<(), Error>(())
            })?;
        }
        Ok(())
    }

    /// Appends the keys, whose columns are at these places of the batch: a single one as it is, several as an array.
    pub(crate) fn write_keys(batch: &RecordBatch, places: &[usize], out: &mut JsonRows) -> Result<()> {
        let cells = cells(batch, places.iter().copied())?;
        for row in 0..batch.num_rows() {
            out.push_with(|text| {
                if let [cell] = cells.as_slice() {
                    return cell.write(text, row);
                }
                text.push(b'[');
                for (at, cell) in cells.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    cell.write(text, row)?;
                }
                text.push(b']');
                Ok::<(), Error>(())
            })?;
        }
        Ok(())
    }
}

fn cells(batch: &RecordBatch, places: impl Iterator<Item = usize>) -> Result<Vec<CellWriter>> {
    let schema = batch.schema();
    let fields = schema.fields();
    places
        .filter_map(|place| fields.get(place).zip(batch.columns().get(place)))
        .map(|(field, array)| {
            debug_assert_eq!(array.len(), batch.num_rows());
            CellWriter::new(field, array)
        })
        .collect()
}
