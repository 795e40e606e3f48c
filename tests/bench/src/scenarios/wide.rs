//! Rows of twenty columns of four types. What one holds is computed from its id.

use serde_json::{Value, json};

use crate::run::rows;

/// Columns beside the key.
const MORE: u64 = 19;

/// The columns, as DDL.
pub(crate) fn columns() -> String {
    let kinds = ["BIGINT", "TEXT", "DOUBLE", "BOOLEAN"];
    let more = (1..=MORE).zip(kinds.iter().cycle()).map(|(column, kind)| format!("c{column} {kind} NOT NULL"));
    std::iter::once("id BIGINT PRIMARY KEY".to_owned()).chain(more).collect::<Vec<_>>().join(", ")
}

/// Their names.
pub(crate) fn names() -> Vec<String> {
    std::iter::once("id".to_owned()).chain((1..=MORE).map(|column| format!("c{column}"))).collect()
}

/// An INSERT of one row.
pub(crate) fn insert(table: &str) -> String {
    let names = names();
    rows::insert_of(table, &names.iter().map(String::as_str).collect::<Vec<_>>(), 1)
}

/// The values of a row, in the order of the columns.
pub(crate) fn values(id: u64) -> Vec<Value> {
    let one = |column: u64| {
        let bits = rows::scatter(id * (MORE + 1) + column);
        match column % 4 {
            1 => json!(bits >> 33),
            2 => json!(format!("{bits:016x}")),
            // Exact in binary and never whole, so that every way of writing it is the same.
            3 => json!(f64::from(u16::try_from(bits >> 50).unwrap_or_default()) + 0.5),
            _ => json!(bits & 1 == 0),
        }
    };
    std::iter::once(json!(id)).chain((1..=MORE).map(one)).collect()
}

/// The row as a result has it.
pub(crate) fn row(id: u64) -> Value {
    names().into_iter().zip(values(id)).collect::<serde_json::Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_twenty_columns_of_their_types() {
        assert_eq!((names().len(), values(7).len(), columns().matches(',').count()), (20, 20, 19));
        assert!(columns().contains("c1 BIGINT NOT NULL, c2 TEXT NOT NULL, c3 DOUBLE NOT NULL, c4 BOOLEAN NOT NULL"));
        let row = row(7);
        assert!(row["c1"].is_u64() && row["c2"].is_string() && row["c3"].is_f64() && row["c4"].is_boolean(), "{row}");
        assert_eq!(row, super::row(7));
        assert_ne!(row["c2"], super::row(8)["c2"]);
    }
}
