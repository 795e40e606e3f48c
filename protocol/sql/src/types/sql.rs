//! From the type a statement names to [`ColumnType`].

use kalamdb_commons::{Error, ErrorCode, Result};
use sqlparser::ast::{DataType, ExactNumberInfo, TimezoneInfo};

use super::{ColumnType, MAX_DECIMAL_PRECISION};

/// Longest type shown in a message, in characters.
const SHOWN_TYPE_CHARS: usize = 60;

/// The column type that SQL names, in DDL and in CAST.
///
/// # Errors
/// [`ErrorCode::Unsupported`], naming the type, for any that is not the dialect's.
pub fn column_type_of(sql_type: &DataType) -> Result<ColumnType> {
    Ok(match sql_type {
        DataType::Boolean => ColumnType::Boolean,
        DataType::SmallInt(None) => ColumnType::SmallInt,
        DataType::Int(None) => ColumnType::Int,
        DataType::BigInt(None) => ColumnType::BigInt,
        DataType::Float(ExactNumberInfo::None) => ColumnType::Float,
        DataType::Double(ExactNumberInfo::None) => ColumnType::Double,
        DataType::Decimal(ExactNumberInfo::PrecisionAndScale(precision, scale)) => {
            decimal(*precision, *scale).ok_or_else(|| unsupported(sql_type))?
        }
        DataType::Decimal(ExactNumberInfo::Precision(precision)) => {
            decimal(*precision, 0).ok_or_else(|| unsupported(sql_type))?
        }
        DataType::Text | DataType::Varchar(None) | DataType::String(None) => ColumnType::Text,
        DataType::Bytes(None) | DataType::Bytea => ColumnType::Bytes,
        DataType::Date => ColumnType::Date,
        DataType::Timestamp(None, TimezoneInfo::None) => ColumnType::Timestamp,
        DataType::Uuid => ColumnType::Uuid,
        DataType::JSON => ColumnType::Json,
        _ => return Err(unsupported(sql_type)),
    })
}

fn decimal(precision: u64, scale: i64) -> Option<ColumnType> {
    let precision = u8::try_from(precision).ok().filter(|precision| (1..=MAX_DECIMAL_PRECISION).contains(precision))?;
    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= precision)?;
    Some(ColumnType::Decimal { precision, scale })
}

fn unsupported(sql_type: &DataType) -> Error {
    let text = sql_type.to_string();
    let mut shown: String = text.chars().take(SHOWN_TYPE_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    let hint = match sql_type {
        DataType::Integer(_) | DataType::Int4(_) | DataType::MediumInt(_) => ": use INT",
        DataType::Int8(_) => ": use BIGINT",
        DataType::TinyInt(_) | DataType::Int2(_) => ": use SMALLINT",
        DataType::Bool => ": use BOOLEAN",
        DataType::Real | DataType::Float4 => ": use FLOAT",
        DataType::DoublePrecision | DataType::Float8 | DataType::Float(_) | DataType::Double(_) => {
            ": use DOUBLE or FLOAT"
        }
        DataType::Numeric(_) | DataType::Dec(_) => ": use DECIMAL(p,s)",
        DataType::Decimal(_) => ": DECIMAL(p,s) takes a precision of 1 to 38 and a scale of 0 to the precision",
        DataType::Varchar(_) | DataType::Char(_) | DataType::Character(_) | DataType::CharacterVarying(_) => {
            ": use TEXT, which has no length"
        }
        DataType::Timestamp(..) | DataType::Datetime(_) => ": use TIMESTAMP, which is UTC in microseconds",
        DataType::Blob(_) | DataType::Binary(_) | DataType::Varbinary(_) => ": use BYTES",
        DataType::JSONB => ": use JSON",
        _ => "",
    };
    Error::new(ErrorCode::Unsupported, format!("type {shown} is not supported{hint}"))
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn parse(text: &str) -> Result<ColumnType> {
        let dialect = PostgreSqlDialect {};
        let sql_type = Parser::new(&dialect).try_with_sql(text).and_then(|mut parser| parser.parse_data_type());
        column_type_of(&sql_type.expect(text))
    }

    #[test]
    fn the_dialects_types_and_their_other_names() {
        for (text, expected) in [
            ("BOOLEAN", ColumnType::Boolean),
            ("SMALLINT", ColumnType::SmallInt),
            ("INT", ColumnType::Int),
            ("BIGINT", ColumnType::BigInt),
            ("FLOAT", ColumnType::Float),
            ("DOUBLE", ColumnType::Double),
            ("DECIMAL(10,2)", ColumnType::Decimal { precision: 10, scale: 2 }),
            ("DECIMAL(38,38)", ColumnType::Decimal { precision: 38, scale: 38 }),
            ("DECIMAL(5)", ColumnType::Decimal { precision: 5, scale: 0 }),
            ("TEXT", ColumnType::Text),
            ("varchar", ColumnType::Text),
            ("String", ColumnType::Text),
            ("BYTES", ColumnType::Bytes),
            ("BYTEA", ColumnType::Bytes),
            ("DATE", ColumnType::Date),
            ("TIMESTAMP", ColumnType::Timestamp),
            ("UUID", ColumnType::Uuid),
            ("JSON", ColumnType::Json),
        ] {
            assert_eq!(parse(text).expect(text), expected);
        }
    }

    #[test]
    fn any_other_type_is_named() {
        for text in [
            "HSTORE",
            "INTERVAL",
            "TIME",
            "MONEY",
            "SERIAL",
            "INTEGER",
            "VARCHAR(10)",
            "INT(3)",
            "DECIMAL",
            "DECIMAL(0,0)",
            "DECIMAL(39,0)",
            "DECIMAL(3,4)",
            "DECIMAL(3,-1)",
            "TIMESTAMP WITH TIME ZONE",
            "TIMESTAMPTZ",
            "TIMESTAMP(3)",
            "JSONB",
            "INT[]",
            "FLOAT(24)",
            "BIGINT UNSIGNED",
            "CHAR(3)",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.code, ErrorCode::Unsupported);
            let name = text.split(['(', '[']).next().unwrap_or_default();
            let name = if text == "TIMESTAMPTZ" { "TIMESTAMP" } else { name };
            assert!(error.message.contains(name), "{text}: {}", error.message);
        }
    }
}
