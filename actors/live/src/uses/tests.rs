//! What an altered table is to queries over it.

use kalamdb_commons::ColumnName;
use kalamdb_sql::{ColumnType, Value};

use super::*;

/// Columns by their ids and names.
type Columns<'a> = &'a [(u32, &'a str)];

fn column(id: u32, name: &str) -> ColumnDefinition {
    ColumnDefinition {
        id: ColumnId(id),
        name: ColumnName::new(name).expect("a name"),
        column_type: ColumnType::Text,
        nullable: id > 1,
        default: None,
        default_text: None,
        initial: Value::Null,
    }
}

/// The columns of a version; the first is the key.
fn schema(version: u32, columns: Columns<'_>) -> TableSchema {
    TableSchema {
        version: SchemaVersion(version),
        columns: columns.iter().map(|(id, name)| column(*id, name)).collect(),
        primary_key: vec![ColumnId(1)],
        next_column_id: ColumnId(100),
    }
}

#[test]
fn a_query_goes_on_while_its_columns_are_there_under_their_names() {
    let first = schema(1, &[(1, "id"), (2, "text"), (3, "stars")]);
    let cases: [(&str, Columns<'_>, bool, bool); 8] = [
        ("nothing but an option is another", &[(1, "id"), (2, "text"), (3, "stars")], true, true),
        ("one more", &[(1, "id"), (2, "text"), (3, "stars"), (4, "more")], true, false),
        ("one that it does not name is gone", &[(1, "id"), (2, "text")], true, false),
        ("that one has another name", &[(1, "id"), (2, "text"), (3, "points")], true, false),
        ("its own is gone", &[(1, "id"), (3, "stars")], false, false),
        ("its own has another name", &[(1, "id"), (2, "words"), (3, "stars")], false, false),
        ("another one has its name", &[(1, "id"), (3, "stars"), (4, "text")], false, false),
        ("names were swapped", &[(1, "id"), (2, "stars"), (3, "text")], false, false),
    ];
    for (what, columns, some, every) in cases {
        let now = schema(2, columns);
        assert_eq!(UsedColumns::at(&first, [0, 1]).are_in(&now), some, "{what}: id, text");
        assert_eq!(UsedColumns::every(&first).are_in(&now), every, "{what}: *");
    }
}

#[test]
fn what_was_found_once_is_looked_for_again_in_the_next_version() {
    let used = UsedColumns::at(&schema(1, &[(1, "id"), (2, "text")]), [0, 1]);
    assert!(used.are_in(&schema(2, &[(1, "id"), (2, "text"), (3, "more")])));
    assert!(!used.are_in(&schema(3, &[(1, "id"), (3, "more")])));
    assert!(!used.are_in(&schema(4, &[(1, "id"), (4, "text")])));
}

#[test]
fn another_type_is_another_column() {
    let first = schema(1, &[(1, "id"), (2, "text")]);
    let mut now = schema(2, &[(1, "id"), (2, "text")]);
    if let Some(column) = now.columns.get_mut(1) {
        column.column_type = ColumnType::BigInt;
    }
    assert!(!UsedColumns::at(&first, [0, 1]).are_in(&now));
    assert!(UsedColumns::at(&first, [0]).are_in(&now));
}
