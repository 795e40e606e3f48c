//! Result rows as JSON text.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// A JSON array of row objects, already written.
///
/// Whoever builds one vouches for it: the text goes into the answer as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct RawRows(String);

impl RawRows {
    /// Takes the text of a complete JSON array.
    #[must_use]
    pub fn from_json(text: String) -> Self {
        debug_assert!(text.starts_with('[') && text.ends_with(']'), "rows are a JSON array");
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RawRows {
    /// No rows.
    fn default() -> Self {
        Self(String::from("[]"))
    }
}

impl fmt::Debug for RawRows {
    /// Shows the size only: rows do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawRows({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for RawRows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(<Box<RawValue>>::deserialize(deserializer)?.get().to_owned()))
    }
}
