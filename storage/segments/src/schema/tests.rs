use kalamdb_commons::ColumnName;

use super::*;
use crate::testing::table;

fn ids(schema: &SegmentSchema) -> Vec<(String, String)> {
    let fields = schema.arrow().fields().iter();
    fields.map(|field| (field.name().clone(), field.metadata()[PARQUET_FIELD_ID_META_KEY].clone())).collect()
}

#[test]
fn files_have_declared_and_system_columns_under_their_ids() {
    let mut with_key = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text)], 1);
    with_key.columns[1].id = ColumnId(7);
    let schema = SegmentSchema::new(Arc::new(with_key)).expect("a schema");
    let expected =
        [("id", "1"), ("text", "7"), ("_seq", "2000000001"), ("_updated", "2000000002"), ("_deleted", "2000000003")];
    assert_eq!(ids(&schema), expected.map(|(name, id)| (name.to_owned(), id.to_owned())));
    assert_eq!(schema.seq_position(), 2);
    assert!(!schema.arrow().field(0).is_nullable() && schema.arrow().field(1).is_nullable());

    let without = SegmentSchema::new(Arc::new(table(&[("text", ColumnType::Text)], 0))).expect("a schema");
    assert_eq!(ids(&without).last(), Some(&("_row".to_owned(), "2000000004".to_owned())));
}

#[test]
fn the_row_numbers_name_is_nobody_elses() {
    let mut table = table(&[("_row", ColumnType::Text), ("_ROW_", ColumnType::Text)], 0);
    assert_eq!(row_number_name(&table), "_row__");
    table.columns[1].name = ColumnName::new("x").expect("a name");
    assert_eq!(row_number_name(&table), "_row_");
}

#[test]
fn reserved_ids_are_no_columns() {
    assert!(field_id(ColumnId(1_999_999_999)).is_ok_and(|id| id == 1_999_999_999));
    for id in [2_000_000_000, u32::MAX] {
        assert!(field_id(ColumnId(id)).is_err(), "{id}");
    }
}
