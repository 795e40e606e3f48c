//! From outside into values: literals and parameters read as a column's type, by one set of rules for
//! every kind of table.
//!
//! Pure functions of text or JSON and a [`ColumnType`](crate::ColumnType): what does not fit is `None`, and
//! the caller knows what to call it.

mod json;
mod numbers;
mod text;

pub use json::json_to_value;
pub use numbers::{format_decimal, is_in_range};
pub use text::{decode_base64, decode_hex, encode_base64, is_json, number_to_value, text_to_value};
