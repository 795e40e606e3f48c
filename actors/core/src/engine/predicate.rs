//! From filters to a key range: a lookup by key reads one key, a prefix of the key its rows.

use bytes::Bytes;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use kalamdb_sql::{TableSchema, Value};
use kalamdb_store::PartitionId;
use kalamdb_store::backend::{KeyRange, prefix_end};
use kalamdb_store::codec::keys;

use super::values::scalar_to_value;

/// The keys a scan reads: a part of its partition, or none at all.
#[derive(Debug, Clone)]
pub(crate) struct RowRange {
    /// None when the filters contradict one another.
    pub(crate) range: Option<KeyRange>,
    /// How many bytes of each key are the partition's prefix.
    pub(crate) prefix_len: usize,
    /// The one key, without that prefix, where the filters name it.
    pub(crate) key: Option<Vec<u8>>,
    narrowed: bool,
}

impl RowRange {
    pub(crate) fn is_narrowed(&self) -> bool {
        self.narrowed
    }
}

impl RowRange {
    /// That of one key, given by its values in the order of its columns.
    pub(crate) fn of_key(partition: &PartitionId, values: &[Value]) -> Self {
        let space = keys::rows_partition(partition.table, partition.user.as_ref());
        let bound = values.iter().fold(space.prefix.to_vec(), |prefix, value| with_value(&prefix, value));
        let key = bound.get(space.prefix.len()..).map(<[u8]>::to_vec);
        let end = prefix_end(&bound);
        let range = KeyRange { family: space.range().family, start: Bytes::from(bound), end };
        Self { range: Some(range), prefix_len: space.prefix.len(), key, narrowed: true }
    }
}

/// Narrows the partition's range: equalities on the leading key columns, then one range on the next.
pub(crate) fn key_range(schema: &TableSchema, partition: &PartitionId, filters: &[Expr]) -> RowRange {
    let space = keys::rows_partition(partition.table, partition.user.as_ref());
    let whole = space.range();
    if filters.iter().flat_map(conjuncts).any(is_never_true) {
        return empty(space.prefix.len());
    }
    let comparisons: Vec<(&str, Operator, &ScalarValue)> =
        filters.iter().flat_map(conjuncts).filter_map(comparison).collect();
    let mut prefix = space.prefix.to_vec();
    let (mut start, mut end) = (whole.start.clone(), whole.end.clone());
    let mut narrowed = false;
    let positions = schema.key_positions();
    let mut named = 0;
    for place in &positions {
        let Some(column) = schema.columns.get(*place) else { break };
        let bounds = comparisons
            .iter()
            .filter(|(name, ..)| *name == column.name.as_str())
            .filter_map(|(_, operator, scalar)| Some((*operator, scalar_to_value(scalar, column.column_type).ok()?)))
            .filter(|(_, value)| !value.is_null());
        let mut equal: Option<Vec<u8>> = None;
        for (operator, value) in bounds {
            let bound = with_value(&prefix, &value);
            narrowed = true;
            match operator {
                Operator::Eq => equal = Some(bound),
                Operator::GtEq => start = start.max(Bytes::from(bound)),
                Operator::Gt => match prefix_end(&bound) {
                    Some(after) => start = start.max(after),
                    None => return empty(space.prefix.len()),
                },
                Operator::Lt => end = least(end, Some(Bytes::from(bound))),
                Operator::LtEq => end = least(end, prefix_end(&bound)),
                _ => {}
            }
        }
        let Some(bound) = equal else { break };
        start = start.max(Bytes::copy_from_slice(&bound));
        end = least(end, prefix_end(&bound));
        prefix = bound;
        named += 1;
    }
    if end.as_ref().is_some_and(|end| *end <= start) {
        return empty(space.prefix.len());
    }
    let range = KeyRange { family: whole.family, start, end };
    let is_one = !positions.is_empty() && named == positions.len();
    let key = prefix.get(space.prefix.len()..).filter(|_| is_one).map(<[u8]>::to_vec);
    RowRange { range: Some(range), prefix_len: space.prefix.len(), key, narrowed }
}

fn empty(prefix_len: usize) -> RowRange {
    RowRange { range: None, prefix_len, key: None, narrowed: true }
}

fn with_value(prefix: &[u8], value: &Value) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    keys::encode_key_value(&mut bytes, &value.clone().normalized());
    bytes
}

fn least(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn conjuncts(filter: &Expr) -> Vec<&Expr> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let mut parts = conjuncts(left);
            parts.extend(conjuncts(right));
            parts
        }
        other => vec![other],
    }
}

/// What is left of conditions that contradict one another.
fn is_never_true(filter: &Expr) -> bool {
    matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null, _))
}

/// `column <op> literal`, either way round. A cast around the column hides it: its order may be another.
fn comparison(expr: &Expr) -> Option<(&str, Operator, &ScalarValue)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => Some((column.name(), *op, value)),
        (Expr::Literal(value, _), Expr::Column(column)) => Some((column.name(), op.swap()?, value)),
        _ => None,
    }
}
