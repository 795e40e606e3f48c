//! Rows of older schema versions read as newer ones.

use kalamdb_commons::{ColumnId, ColumnName, SchemaVersion, Seq};
use kalamdb_sql::{ColumnType, Row, TableSchema, Value};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::codec::row::{Projection, RowHeader, RowReader, encode_row, project_row};
use crate::codec::tests::strategies::{assert_same, column, column_type, nullable, schema_and_row, schema_of};

/// What ALTER TABLE does to columns.
#[derive(Debug, Clone)]
enum Alteration {
    Add(ColumnType, Value),
    Drop(prop::sample::Index),
    Rename(prop::sample::Index),
}

fn alteration() -> impl Strategy<Value = Alteration> {
    prop_oneof![
        column_type()
            .prop_flat_map(|one| (Just(one), nullable(one)))
            .prop_map(|(one, initial)| Alteration::Add(one, initial)),
        any::<prop::sample::Index>().prop_map(Alteration::Drop),
        any::<prop::sample::Index>().prop_map(Alteration::Rename),
    ]
}

fn alter(schema: &mut TableSchema, alteration: &Alteration) {
    schema.version = schema.version.next();
    match alteration {
        Alteration::Add(column_type, initial) => {
            schema.columns.push(column(schema.next_column_id.0, *column_type, initial.clone()));
            schema.next_column_id.0 += 1;
        }
        Alteration::Drop(at) if schema.columns.len() > 1 => {
            schema.columns.remove(at.index(schema.columns.len()));
        }
        Alteration::Drop(_) => {}
        Alteration::Rename(at) => {
            let at = at.index(schema.columns.len());
            schema.columns[at].name = ColumnName::new(format!("renamed_{}", schema.version)).unwrap();
        }
    }
}

fn header(version: SchemaVersion) -> RowHeader {
    RowHeader { schema_version: version, seq: Seq(1), updated: 0, deleted: false }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_older_version_reads_as_the_current_one(
        (written, row) in schema_and_row(),
        alterations in vec(alteration(), 0..12),
    ) {
        let mut current = written.clone();
        for alteration in &alterations {
            alter(&mut current, alteration);
        }
        let expected: Row = current
            .columns
            .iter()
            .map(|column| written.position_of_id(column.id).map_or(column.initial.clone(), |at| row[at].clone()))
            .collect();
        assert_same(&project_row(row.clone(), &written, &current), &expected);

        // As a scan reads: the columns it needs, one by one.
        let bytes = encode_row(&header(written.version), &written, &row);
        let (reader, projection) = (RowReader::new(&written), Projection::new(&written, &current));
        let values = reader.row(&bytes).unwrap();
        for (at, value) in expected.iter().enumerate() {
            let read = match (projection.position(at), projection.initial(at)) {
                (Some(position), None) => values.value(position).unwrap().to_value(),
                (None, Some(initial)) => initial.clone(),
                other => panic!("column {at} comes from {other:?}"),
            };
            assert_same(&[read], std::slice::from_ref(value));
        }
        prop_assert_eq!((projection.position(expected.len()), projection.initial(expected.len())), (None, None));
    }

    #[test]
    fn the_same_columns_stay_as_they_are((schema, row) in schema_and_row(), at: prop::sample::Index) {
        let mut renamed = schema.clone();
        alter(&mut renamed, &Alteration::Rename(at));
        for current in [&schema, &renamed] {
            prop_assert!(Projection::new(&schema, current).is_identity());
            assert_same(&project_row(row.clone(), &schema, current), &row);
        }
    }
}

#[test]
fn a_column_dropped_and_added_anew_starts_with_its_default_in_older_rows() {
    let written = schema_of(1, &[ColumnType::Int, ColumnType::Text]);
    let mut current = written.clone();
    let name = current.columns.remove(1).name;
    let mut again = column(3, ColumnType::Text, Value::Text("new".into()));
    again.name = name;
    current.columns.push(again);
    let old_row = vec![Value::Int(1), Value::Text("old".into())];
    assert_eq!(project_row(old_row, &written, &current), [Value::Int(1), Value::Text("new".into())]);
}

#[test]
fn columns_are_told_by_id_in_whatever_order_they_are() {
    let written = schema_of(1, &[ColumnType::Int, ColumnType::Text, ColumnType::Boolean]);
    let mut current = written.clone();
    current.columns.reverse();
    let projection = Projection::new(&written, &current);
    assert!(!projection.is_identity());
    let row = vec![Value::Int(1), Value::Null, Value::Boolean(true)];
    assert_eq!(projection.apply(row), [Value::Boolean(true), Value::Null, Value::Int(1)]);

    current.columns.retain(|column| column.id == ColumnId(3));
    let row = vec![Value::Int(1), Value::Null, Value::Boolean(true)];
    assert_eq!(project_row(row, &written, &current), [Value::Boolean(true)]);
}

#[test]
fn only_the_wanted_columns_are_decoded() {
    let schema = schema_of(1, &[ColumnType::Int, ColumnType::Text, ColumnType::BigInt, ColumnType::Text]);
    let row = vec![Value::Int(7), Value::Text("ab".into()), Value::BigInt(8), Value::Text("cd".into())];
    let mut bytes = encode_row(&header(SchemaVersion(1)), &schema, &row);
    // No UTF-8 in the first text: whoever does not read it does not notice.
    let at = bytes.len() - 4;
    bytes[at] = 0xff;
    let reader = RowReader::new(&schema);
    let values = reader.row(&bytes).unwrap();
    for wanted in [0, 2, 3] {
        assert_eq!(values.value(wanted).unwrap().to_value(), row[wanted]);
    }
    assert!(values.value(1).unwrap_err().to_string().contains("utf-8"));
    assert!(values.to_row().is_err());
}
