//! Results as chunks of bytes: lines of JSON, CSV, an Arrow IPC stream.

use std::sync::Arc;

use arrow_ipc::writer::StreamWriter;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use kalamdb_commons::Result;
use kalamdb_sql::ColumnType;

use super::cell::CellWriter;
use super::{columns_of, keys_of};
use crate::answer::AnswerFormat;
use crate::engine::errors::from_arrow;

/// From this size on a chunk is sent; one row may make it larger.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// Writes batches, a chunk at a time.
pub(crate) struct Encoder {
    form: Form,
    /// The batch at hand, and its row to be written next.
    batch: Option<(RecordBatch, usize)>,
    cells: Vec<CellWriter>,
    out: Vec<u8>,
}

enum Form {
    /// With each column's name as JSON.
    Ndjson(Vec<Vec<u8>>),
    Csv,
    Arrow(SchemaRef, Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    pub(crate) fn new(format: AnswerFormat, schema: &Schema) -> Result<Self> {
        let columns = columns_of(schema);
        let mut out = Vec::new();
        let form = match format {
            AnswerFormat::Ndjson => Form::Ndjson(keys_of(&columns)),
            AnswerFormat::Csv => {
                for (at, column) in columns.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_field(&mut out, column.name.as_bytes());
                }
                out.extend_from_slice(b"\r\n");
                Form::Csv
            }
            AnswerFormat::Arrow => {
                let fields = columns.into_iter().zip(schema.fields());
                let fields: Vec<Field> = fields.map(|(column, field)| shown_field(field, column.name)).collect();
                let shown = Arc::new(Schema::new(fields));
                let writer = StreamWriter::try_new(Vec::new(), &shown).map_err(from_arrow)?;
                Form::Arrow(shown, Box::new(writer))
            }
        };
        Ok(Self { form, batch: None, cells: Vec::new(), out })
    }

    /// Takes the next batch; the one before has been written.
    pub(crate) fn put(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if !matches!(self.form, Form::Arrow(..)) {
            let schema = batch.schema();
            let columns = schema.fields().iter().zip(batch.columns());
            self.cells = columns.map(|(field, array)| CellWriter::new(field, array)).collect::<Result<Vec<_>>>()?;
        }
        self.batch = Some((batch, 0));
        Ok(())
    }

    /// Writes what makes up a chunk of the batch at hand; `false` if there is none.
    pub(crate) fn fill(&mut self) -> Result<bool> {
        let Some((batch, from)) = self.batch.take() else { return Ok(false) };
        let rows = batch.num_rows();
        let mut row = from;
        match &mut self.form {
            Form::Ndjson(keys) => {
                while row < rows && self.out.len() < CHUNK_BYTES {
                    write_line(&mut self.out, keys, &self.cells, row)?;
                    row += 1;
                }
            }
            Form::Csv => {
                while row < rows && self.out.len() < CHUNK_BYTES {
                    write_record(&mut self.out, &self.cells, row)?;
                    row += 1;
                }
            }
            Form::Arrow(schema, writer) => {
                let of_chunk = rows.saturating_mul(CHUNK_BYTES) / batch.get_array_memory_size().max(1);
                let slice = batch.slice(row, of_chunk.clamp(1, rows - row));
                row += slice.num_rows();
                let columns = slice.columns().iter().zip(schema.fields());
                let columns = columns.map(|(array, field)| cast(array, field.data_type()).map_err(from_arrow));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let shown = RecordBatch::try_new(Arc::clone(schema), columns).map_err(from_arrow)?;
                writer.write(&shown).map_err(from_arrow)?;
            }
        }
        if row < rows {
            self.batch = Some((batch, row));
        }
        Ok(true)
    }

    /// What was written since the last chunk.
    pub(crate) fn take_chunk(&mut self) -> Vec<u8> {
        match &mut self.form {
            Form::Ndjson(_) | Form::Csv => std::mem::take(&mut self.out),
            Form::Arrow(_, writer) => std::mem::take(writer.get_mut()),
        }
    }

    /// Writes what belongs after the last row.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match &mut self.form {
            Form::Ndjson(_) | Form::Csv => Ok(()),
            Form::Arrow(_, writer) => writer.finish().map_err(from_arrow),
        }
    }
}

fn write_line(out: &mut Vec<u8>, keys: &[Vec<u8>], cells: &[CellWriter], row: usize) -> Result<()> {
    let start = out.len();
    out.push(b'{');
    for (at, (key, cell)) in keys.iter().zip(cells).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        cell.write(out, row)?;
    }
    out.push(b'}');
    // Stored JSON may hold line ends between its tokens, and nowhere else: in strings they are escaped.
    for byte in out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.push(b'\n');
    Ok(())
}

fn write_record(out: &mut Vec<u8>, cells: &[CellWriter], row: usize) -> Result<()> {
    let mut plain = Vec::new();
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        plain.clear();
        if cell.write_plain(&mut plain, row)? {
            write_field(out, &plain);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// A field that is not NULL: an empty one is told from NULL by its quotes.
fn write_field(out: &mut Vec<u8>, text: &[u8]) {
    if !text.is_empty() && !text.iter().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// A column as an Arrow client reads it, with what says that its text is a UUID or JSON.
fn shown_field(field: &Field, name: String) -> Field {
    let shown = Field::new(name, shown_type(field.data_type()), field.is_nullable());
    match field.metadata().get(ColumnType::METADATA_KEY) {
        Some(column_type) => shown.with_metadata([(ColumnType::METADATA_KEY.to_owned(), column_type.clone())].into()),
        None => shown,
    }
}

/// The engine's many layouts of a type as the one that every reader knows, by the types of CONTRACT 3.2.
fn shown_type(data_type: &DataType) -> DataType {
    let item = |field: &Field| Arc::new(shown_field(field, field.name().clone()));
    match data_type {
        DataType::Null | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Int8 => DataType::Int16,
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => DataType::List(item(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| item(field)).collect()),
        DataType::Dictionary(_, values) => shown_type(values),
        DataType::RunEndEncoded(_, values) => shown_type(values.data_type()),
        other => other.clone(),
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("batch", &self.batch.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};

    use super::*;

    fn batch() -> RecordBatch {
        let json = Field::new("j", DataType::Utf8View, true)
            .with_metadata([(ColumnType::METADATA_KEY.to_owned(), "JSON".to_owned())].into());
        let fields = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8View, true), json];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(1), None])),
            Arc::new(StringViewArray::from(vec![Some("a,\"b\"\n"), Some("")])),
            Arc::new(StringViewArray::from(vec![Some("{\n\"k\": 1}"), None])),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
    }

    fn encoded(format: AnswerFormat, batch: RecordBatch) -> Vec<u8> {
        let mut encoder = Encoder::new(format, &batch.schema()).expect("an encoder");
        encoder.put(batch).expect("a batch");
        let mut all = Vec::new();
        while encoder.fill().expect("rows") {
            all.extend(encoder.take_chunk());
        }
        encoder.finish().expect("an end");
        all.extend(encoder.take_chunk());
        all
    }

    #[test]
    fn a_row_is_one_line_whatever_its_json_holds() {
        let text = String::from_utf8(encoded(AnswerFormat::Ndjson, batch())).expect("UTF-8");
        assert_eq!(text, "{\"n\":1,\"t\":\"a,\\\"b\\\"\\n\",\"j\":{ \"k\": 1}}\n{\"n\":null,\"t\":\"\",\"j\":null}\n");
    }

    #[test]
    fn csv_tells_null_from_empty_and_quotes_what_needs_it() {
        let text = String::from_utf8(encoded(AnswerFormat::Csv, batch())).expect("UTF-8");
        assert_eq!(text, "n,t,j\r\n1,\"a,\"\"b\"\"\n\",\"{\n\"\"k\"\": 1}\"\r\n,\"\",\r\n");
    }

    #[test]
    fn arrow_reads_back_in_layouts_that_readers_know() {
        let bytes = encoded(AnswerFormat::Arrow, batch());
        let reader = arrow_ipc::reader::StreamReader::try_new(&bytes[..], None).expect("a schema");
        assert_eq!(reader.schema().field(1).data_type(), &DataType::Utf8);
        let rows: usize = reader.map(|batch| batch.expect("a batch").num_rows()).sum();
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_large_batch_leaves_in_bounded_chunks() {
        let texts = vec!["x".repeat(1000); 1000];
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(&texts));
        let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8View, false)]));
        for format in [AnswerFormat::Ndjson, AnswerFormat::Csv, AnswerFormat::Arrow] {
            let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::clone(&column)]).expect("a batch");
            let mut encoder = Encoder::new(format, &schema).expect("an encoder");
            encoder.put(batch).expect("a batch");
            let (mut chunks, mut bytes) = (0, 0);
            while encoder.fill().expect("rows") {
                let chunk = encoder.take_chunk().len();
                assert!(chunk < 2 * CHUNK_BYTES, "{format:?}: {chunk}");
                (chunks, bytes) = (chunks + 1, bytes + chunk);
            }
            assert!(chunks >= 10 && bytes > 1_000_000, "{format:?}: {chunks} {bytes}");
        }
    }
}
