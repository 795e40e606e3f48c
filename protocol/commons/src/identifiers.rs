//! Validated names: namespaces, tables, columns, users.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorCode, Result};

/// Longest namespace, table or column name, in bytes (they are ASCII).
const MAX_IDENTIFIER_LEN: usize = 63;
/// Longest user id, in characters.
const MAX_USER_ID_CHARS: usize = 128;
/// Longest encoded path component before it is cut, in bytes (file systems allow 255).
const MAX_PATH_COMPONENT_BYTES: usize = 200;
/// Bytes kept of a longer one, before `~` and 16 hex digits.
const CUT_PATH_COMPONENT_BYTES: usize = 183;

fn check_identifier(kind: &str, text: &str) -> Result<()> {
    let mut bytes = text.bytes();
    let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if starts_well && goes_on_well && text.len() <= MAX_IDENTIFIER_LEN {
        return Ok(());
    }
    let shown: String = text.chars().take(80).collect();
    Err(Error::new(
        ErrorCode::InvalidName,
        format!(
            "{kind} name {shown:?} is not valid: 1 to {MAX_IDENTIFIER_LEN} letters, digits or underscores, not starting with a digit"
        ),
    ))
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name as it is (already lower-cased unless it was quoted).
            ///
            /// # Errors
            /// [`ErrorCode::InvalidName`] when it breaks the rules.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                let text = text.as_ref();
                check_identifier($kind, text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.to_string()
            }
        }
    };
}

identifier!(
    /// The name of a namespace (a schema that holds tables).
    NamespaceId,
    "namespace"
);
identifier!(
    /// The name of a table within its namespace.
    TableName,
    "table"
);
identifier!(
    /// The name of a column.
    ColumnName,
    "column"
);

impl NamespaceId {
    /// Namespaces nobody may create or drop: they mean something of their own.
    pub const RESERVED: [&'static str; 3] = ["system", "information_schema", "user"];
    /// The namespace that exists from the first start.
    pub const DEFAULT: &'static str = "default";

    /// The catalog that all namespaces are in, but for `system`, which is shown in a catalog of its own name.
    pub const CATALOG: &'static str = "kalamdb";

    /// Whether `catalog.namespace.table` means `namespace.table`: `kalamdb` leads to every namespace, `system` to those
    /// whose tables the server makes. `user` between two names is the qualifier, whatever stands before it.
    #[must_use]
    pub fn is_in_catalog(catalog: &str, namespace: &str) -> bool {
        match catalog {
            Self::CATALOG => namespace != "user",
            "system" => matches!(namespace, "system" | "information_schema"),
            _ => false,
        }
    }

    /// The namespace `default`.
    #[must_use]
    pub fn default_namespace() -> Self {
        Self(Arc::from(Self::DEFAULT))
    }

    /// Whether the name is one of [`Self::RESERVED`].
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        Self::RESERVED.contains(&self.as_str())
    }
}

/// A table's name with its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QualifiedTableName {
    /// Where the table lives.
    pub namespace: NamespaceId,
    /// Its name there.
    pub table: TableName,
}

impl fmt::Display for QualifiedTableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.table)
    }
}

/// Who a partition belongs to: 1 to 128 characters of printable text.
///
/// ```
/// use kalamdb_commons::UserId;
/// assert!(UserId::new("../../etc").is_ok()); // harmless: it is encoded where it meets a path
/// assert!(UserId::new("a\nb").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(Arc<str>);

impl UserId {
    /// Checks and takes a user id.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidName`] when it is empty, longer than 128 characters or holds control
    /// characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let length = text.chars().count();
        if length == 0 || length > MAX_USER_ID_CHARS {
            return Err(Error::new(
                ErrorCode::InvalidName,
                format!("a user id has 1 to {MAX_USER_ID_CHARS} characters, this one has {length}"),
            ));
        }
        if text.chars().any(is_unprintable) {
            return Err(Error::new(ErrorCode::InvalidName, "a user id holds no control characters"));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as one component of a path or object key; see [`encode_path_component`].
    #[must_use]
    pub fn to_path_component(&self) -> String {
        encode_path_component(&self.0)
    }
}

/// Control characters, line and paragraph separators: nothing that could forge a log line.
fn is_unprintable(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({})", self.0)
    }
}

impl TryFrom<String> for UserId {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> String {
        id.0.to_string()
    }
}

/// Percent-encodes text for use as one path component: everything but `A-Z a-z 0-9 _ - .`, and the
/// whole of `.` and `..`. A form longer than 200 bytes is cut to 183 and ends in `~` and 16 hex digits
/// of the text's [`stable_hash`].
#[must_use]
pub fn encode_path_component(text: &str) -> String {
    use std::fmt::Write as _;
    let whole = text == "." || text == "..";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if !whole && (byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    if encoded.len() > MAX_PATH_COMPONENT_BYTES {
        encoded.truncate(CUT_PATH_COMPONENT_BYTES);
        let _ = write!(encoded, "~{:016x}", stable_hash(text));
    }
    encoded
}

/// The 64-bit FNV-1a hash (<http://www.isthe.com/chongo/tech/comp/fnv/>) of a text's bytes. Fixed for ever: it
/// is part of paths on disk.
#[must_use]
pub fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_keep_their_rules() {
        for good in ["a", "_x", "Table9", &"a".repeat(63)] {
            assert!(TableName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "9a", "a-b", "a b", "ä", "a\0", &"a".repeat(64)] {
            let error = TableName::new(bad).expect_err(bad);
            assert_eq!(error.code, ErrorCode::InvalidName);
        }
    }

    #[test]
    fn user_ids_are_printable_text() {
        for good in ["a", "日本", "../../etc", "a b", &"é".repeat(128)] {
            assert!(UserId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\0", "a\n", "\u{7f}", "\u{85}", &"é".repeat(129)] {
            assert!(UserId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_hash_of_paths_never_changes() {
        // The published test vectors of FNV-1a.
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(stable_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn path_components_stay_inside_and_apart() {
        assert_eq!(encode_path_component("ann"), "ann");
        assert_eq!(encode_path_component(".."), "%2E%2E");
        assert_eq!(encode_path_component("../etc"), "..%2Fetc");
        let long_a = encode_path_component(&"é".repeat(128));
        let long_b = encode_path_component(&format!("{}e", "é".repeat(127)));
        assert_eq!(long_a.len(), 200);
        assert!(long_a.ends_with("9%C3~0e95369293b26d25"), "{long_a}");
        assert_ne!(long_a, long_b);
    }
}
