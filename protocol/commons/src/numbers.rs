//! Numbered identities and sequence numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The identity of a table: never used again, so a table made anew under an old name is another table.
    TableId,
    u64
);
number!(
    /// The identity of a column within its table, never used again there; Parquet's `field_id`.
    ColumnId,
    u32
);
number!(
    /// Counts the definitions a table has had, from 1.
    SchemaVersion,
    u32
);
number!(
    /// The number of a committed row change: below 2^53, growing within a partition, never repeated.
    Seq,
    u64
);

impl Seq {
    /// One past the largest `Seq`: JavaScript reads everything below exactly.
    pub const LIMIT: u64 = 1 << 53;

    /// The number as SQL sees it (BIGINT).
    #[must_use]
    pub fn as_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }
}

impl SchemaVersion {
    /// The version a table is created with.
    pub const FIRST: Self = Self(1);

    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
