//! `SNOWFLAKE_ID()`, `UUID_V7()`, `ULID()`: new identifiers, one per row.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{ArrayRef, Int64Array, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use kalamdb_sql::DefaultFunction;

use crate::engine::runtime::now_micros;

/// 2024-01-01T00:00:00Z in milliseconds: where snowflake time begins.
const SNOWFLAKE_EPOCH_MS: u64 = 1_704_067_200_000;
/// Bits for ids of one millisecond; 41 bits of milliseconds above stay below 2^53 until 2093.
const SNOWFLAKE_SEQUENCE_BITS: u32 = 12;

/// Growing 53-bit ids, after Twitter's Snowflake: milliseconds, then a counter. One server, so no machine
/// bits; over 4096 in a millisecond the time part runs ahead of the clock, ids stay unique and growing.
#[derive(Debug)]
pub(crate) struct SnowflakeGenerator {
    last: AtomicU64,
}

impl SnowflakeGenerator {
    pub(crate) fn new() -> Self {
        Self { last: AtomicU64::new(0) }
    }

    pub(crate) fn next_id(&self) -> i64 {
        let now_ms = u64::try_from(now_micros() / 1000).unwrap_or(0);
        let floor = now_ms.saturating_sub(SNOWFLAKE_EPOCH_MS) << SNOWFLAKE_SEQUENCE_BITS;
        let mut id = floor;
        // The closure always answers Some, so this cannot fail.
        let _ = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            id = floor.max(last + 1);
            Some(id)
        });
        i64::try_from(id).unwrap_or(i64::MAX)
    }
}

/// A UUID of version 7 (RFC 9562).
pub(crate) fn new_uuid_v7() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}

/// A ULID (<https://github.com/ulid/spec>).
pub(crate) fn new_ulid() -> String {
    ulid::Ulid::new().to_string()
}

/// One of the three as a SQL function.
#[derive(Debug)]
pub(crate) struct IdFunction {
    kind: DefaultFunction,
    name: &'static str,
    snowflakes: Option<Arc<SnowflakeGenerator>>,
    signature: Signature,
}

impl PartialEq for IdFunction {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for IdFunction {}

impl std::hash::Hash for IdFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl IdFunction {
    /// The functions to register.
    pub(crate) fn all(snowflakes: &Arc<SnowflakeGenerator>) -> [ScalarUDF; 3] {
        let make = |kind, name, snowflakes| {
            ScalarUDF::from(Self { kind, name, snowflakes, signature: Signature::nullary(Volatility::Volatile) })
        };
        [
            make(DefaultFunction::SnowflakeId, "snowflake_id", Some(Arc::clone(snowflakes))),
            make(DefaultFunction::UuidV7, "uuid_v7", None),
            make(DefaultFunction::Ulid, "ulid", None),
        ]
    }
}

impl ScalarUDFImpl for IdFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.snowflakes.is_some() { DataType::Int64 } else { DataType::Utf8View })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array: ArrayRef = match (&self.snowflakes, self.kind) {
            (Some(snowflakes), _) => Arc::new(Int64Array::from_iter_values((0..rows).map(|_| snowflakes.next_id()))),
            (None, DefaultFunction::UuidV7) => {
                Arc::new(StringViewArray::from_iter_values((0..rows).map(|_| new_uuid_v7().to_string())))
            }
            (None, _) => Arc::new(StringViewArray::from_iter_values((0..rows).map(|_| new_ulid()))),
        };
        Ok(ColumnarValue::Array(array))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snowflakes_grow_and_fit_javascript() {
        let generator = SnowflakeGenerator::new();
        let ids: Vec<i64> = (0..20_000).map(|_| generator.next_id()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| *id > 0 && *id < 1 << 53));
    }
}
