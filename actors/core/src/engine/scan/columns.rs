//! Arrow columns built value by value from stored rows.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringViewBuilder, TimestampMicrosecondBuilder,
};
use kalamdb_commons::{Error, Result};
use kalamdb_sql::{ColumnType, Value};
use kalamdb_store::codec::row::ValueRef;
use uuid::Uuid;

/// A column being built.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Boolean(BooleanBuilder),
    SmallInt(Int16Builder),
    Int(Int32Builder),
    BigInt(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal(Decimal128Builder, u8, u8),
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    /// The encoded key, for statements that change rows.
    Key(BinaryBuilder),
}

macro_rules! append {
    ($self:ident, $value:ident, { $($variant:ident($kind:ident)),* $(,)? }) => {
        match ($self, $value) {
            $((Self::$variant(builder), ValueRef::$kind(value)) => builder.append_value(value),)*
            (Self::Decimal(builder, ..), ValueRef::Decimal(value)) => builder.append_value(value),
            (Self::Text(builder), ValueRef::Text(value) | ValueRef::Json(value)) => builder.append_value(value),
            (Self::Text(builder), ValueRef::Uuid(value)) => {
                builder.append_value(Uuid::from_bytes(value).as_hyphenated().encode_lower(&mut Uuid::encode_buffer()));
            }
            (builder, ValueRef::Null) => builder.append_null(),
            (_, value) => return Err(Error::corrupted(format!("a stored row holds {value:?} in a column of another type"))),
        }
    };
}

impl ColumnBuilder {
    pub(crate) fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::SmallInt => Self::SmallInt(Int16Builder::new()),
            ColumnType::Int => Self::Int(Int32Builder::new()),
            ColumnType::BigInt => Self::BigInt(Int64Builder::new()),
            ColumnType::Float => Self::Float(Float32Builder::new()),
            ColumnType::Double => Self::Double(Float64Builder::new()),
            ColumnType::Decimal { precision, scale } => Self::Decimal(Decimal128Builder::new(), precision, scale),
            ColumnType::Text | ColumnType::Uuid | ColumnType::Json => Self::Text(StringViewBuilder::new()),
            ColumnType::Bytes => Self::Bytes(BinaryViewBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    /// Appends a stored value.
    pub(crate) fn append(&mut self, value: ValueRef<'_>) -> Result<()> {
        append!(self, value, {
            Boolean(Boolean), SmallInt(SmallInt), Int(Int), BigInt(BigInt), Float(Float), Double(Double),
            Bytes(Bytes), Date(Date), Timestamp(Timestamp),
        });
        Ok(())
    }

    /// Appends a value of a row in memory.
    pub(crate) fn append_value(&mut self, value: &Value) -> Result<()> {
        self.append(value_ref(value))
    }

    pub(crate) fn append_key(&mut self, key: &[u8]) {
        if let Self::Key(builder) = self {
            builder.append_value(key);
        }
    }

    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::SmallInt(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::BigInt(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Double(builder) => builder.append_null(),
            Self::Decimal(builder, ..) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
            Self::Bytes(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
            Self::Key(builder) => builder.append_null(),
        }
    }

    pub(crate) fn finish(self) -> Result<ArrayRef> {
        Ok(match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::SmallInt(mut builder) => Arc::new(builder.finish()),
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::BigInt(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Double(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder, precision, scale) => {
                let scale = i8::try_from(scale).map_err(Error::internal)?;
                Arc::new(builder.finish().with_precision_and_scale(precision, scale).map_err(Error::internal)?)
            }
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Bytes(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Key(mut builder) => Arc::new(builder.finish()),
        })
    }
}

/// A value in memory, borrowed as the store's codec lends one.
pub(crate) fn value_ref(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Null => ValueRef::Null,
        Value::Boolean(value) => ValueRef::Boolean(*value),
        Value::SmallInt(value) => ValueRef::SmallInt(*value),
        Value::Int(value) => ValueRef::Int(*value),
        Value::BigInt(value) => ValueRef::BigInt(*value),
        Value::Float(value) => ValueRef::Float(*value),
        Value::Double(value) => ValueRef::Double(*value),
        Value::Decimal(value) => ValueRef::Decimal(*value),
        Value::Text(value) => ValueRef::Text(value),
        Value::Bytes(value) => ValueRef::Bytes(value),
        Value::Date(value) => ValueRef::Date(*value),
        Value::Timestamp(value) => ValueRef::Timestamp(*value),
        Value::Uuid(value) => ValueRef::Uuid(*value),
        Value::Json(value) => ValueRef::Json(value),
    }
}
