//! Catalog records read back, and those that contradict themselves are refused.

use std::time::Duration;

use kalamdb_commons::{ColumnId, TableType};
use kalamdb_sql::{Access, ColumnDefault, ColumnType, DefaultFunction, TableDefinition, TableOptions, Value};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::samples;
use super::strategies::{assert_same, column, column_type, nullable, schema_of};
use crate::codec::catalog::{
    JobRecord, JobStatus, JobTrigger, JobType, SchemaRecord, StorageRecord, StorageType, UserRecord, decode_namespace,
    decode_table, encode_namespace, encode_table,
};

fn options() -> impl Strategy<Value = TableOptions> {
    let duration = || (any::<u64>(), 0..1_000_000_000_u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos));
    let access = prop_oneof![Just(Access::Public), Just(Access::Private)];
    let texts = (option::of(any::<String>()), option::of(any::<String>()), option::of(any::<String>()));
    let numbers = (option::of(any::<u64>()), option::of(any::<u64>()));
    (option::of(option::of(duration())), option::of(access), option::of(duration()), texts, numbers).prop_map(
        |(flush_interval, access, ttl, (storage, sharding, path_template), (flush_rows, max_rows))| TableOptions {
            flush_interval,
            flush_rows,
            storage,
            sharding,
            path_template,
            access,
            ttl,
            max_rows,
        },
    )
}

fn default_of(column_type: ColumnType) -> impl Strategy<Value = Option<ColumnDefault>> {
    let functions = [
        DefaultFunction::Now,
        DefaultFunction::CurrentUser,
        DefaultFunction::SnowflakeId,
        DefaultFunction::UuidV7,
        DefaultFunction::Ulid,
    ];
    option::of(prop_oneof![
        nullable(column_type).prop_map(ColumnDefault::Constant),
        proptest::sample::select(functions.to_vec()).prop_map(ColumnDefault::Function),
    ])
}

/// A table with defaults and initial values of every type.
fn table() -> impl Strategy<Value = TableDefinition> {
    let one = column_type().prop_flat_map(|one| (Just(one), nullable(one), default_of(one)));
    let table_type = prop_oneof![Just(TableType::User), Just(TableType::Shared), Just(TableType::Stream)];
    (vec(one, 1..8), options(), table_type, any::<i64>()).prop_map(|(columns, options, table_type, created_at)| {
        let types: Vec<_> = columns.iter().map(|(column_type, ..)| *column_type).collect();
        let mut schema = schema_of(1, &types);
        for (at, (column_type, initial, default)) in columns.into_iter().enumerate() {
            let id = schema.columns[at].id.0;
            schema.columns[at] = column(id, column_type, initial);
            schema.columns[at].default_text = default.as_ref().map(|default| format!("{default:?}"));
            schema.columns[at].default = default;
        }
        schema.primary_key = vec![ColumnId(1)];
        TableDefinition { table_type, schema, options, created_at, ..samples::table() }
    })
}

/// The values of a schema, for a comparison that knows NaN.
fn values(table: &TableDefinition) -> Vec<Value> {
    let columns = table.schema.columns.iter();
    columns
        .flat_map(|column| match &column.default {
            Some(ColumnDefault::Constant(value)) => vec![column.initial.clone(), value.clone()],
            Some(ColumnDefault::Function(_)) | None => vec![column.initial.clone()],
        })
        .collect()
}

fn without_values(table: &TableDefinition) -> TableDefinition {
    let mut table = table.clone();
    for column in &mut table.schema.columns {
        column.initial = Value::Null;
        if let Some(ColumnDefault::Constant(value)) = &mut column.default {
            *value = Value::Null;
        }
    }
    table
}

/// Text knows one NaN; schemas hold normalised values anyway.
fn one_nan(values: Vec<Value>) -> Vec<Value> {
    values
        .into_iter()
        .map(|value| match value {
            Value::Float(number) if number.is_nan() => Value::Float(f32::NAN),
            Value::Double(number) if number.is_nan() => Value::Double(f64::NAN),
            other => other,
        })
        .collect()
}

proptest! {
    #[test]
    fn tables_and_their_versions_read_back(table in table()) {
        let read = decode_table(&encode_table(&table)).unwrap();
        assert_same(&values(&read), &one_nan(values(&table)));
        prop_assert_eq!(without_values(&read), without_values(&table));
        let record = SchemaRecord { schema: table.schema.clone(), created_at: table.created_at };
        let schema = SchemaRecord::decode(&record.encode()).unwrap().schema;
        let read = TableDefinition { schema, ..table.clone() };
        assert_same(&values(&read), &one_nan(values(&table)));
        prop_assert_eq!(without_values(&read), without_values(&table));
    }

    #[test]
    fn other_records_read_back(texts: [String; 3], some: [Option<String>; 3], numbers: [u64; 2], times: [i64; 2], flag: bool) {
        let [first, second, third] = texts;
        for storage_type in StorageType::ALL {
            let storage = StorageRecord {
                name: first.clone(),
                storage_type: *storage_type,
                location: second.clone(),
                user_path_template: some[0].clone(),
                shared_path_template: some[1].clone(),
                options: [(first.clone(), second.clone()), (second.clone(), third.clone())].into(),
                created_at: times[0],
                updated_at: times[1],
            };
            prop_assert_eq!(StorageRecord::decode(&storage.encode()).unwrap(), storage);
        }
        let user = UserRecord {
            role: None,
            username: some[0].clone(),
            metadata: some[1].clone(),
            disabled: flag,
            created_at: times[0],
            updated_at: times[1],
            ..samples::user()
        };
        prop_assert_eq!(UserRecord::decode(&user.encode()).unwrap(), user);
        let kinds = JobType::ALL.iter().cycle().zip(JobStatus::ALL).zip(JobTrigger::ALL.iter().cycle());
        for ((job_type, status), trigger) in kinds {
            let job = JobRecord {
                job_id: first.clone(),
                job_type: *job_type,
                status: *status,
                trigger: *trigger,
                rows: numbers[0],
                segments: numbers[1],
                error: some[2].clone(),
                finished_at: None,
                ..samples::job()
            };
            prop_assert_eq!(JobRecord::decode(&job.encode()).unwrap(), job);
        }
    }
}

#[test]
fn a_namespace_reads_back() {
    let namespace = samples::namespace();
    assert_eq!(decode_namespace(&encode_namespace(&namespace)).unwrap(), namespace);
}

#[test]
fn members_that_a_format_does_not_have_are_refused() {
    let stored = String::from_utf8(encode_table(&samples::table())).unwrap();
    let damaged = stored.replace("flush_rows", "flush_rowz");
    let error = decode_table(damaged.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("stored table definition is corrupted: unknown field `flush_rowz`"), "{error}");
}

#[test]
fn names_in_records_keep_their_rules() {
    let stored = String::from_utf8(encode_namespace(&samples::namespace())).unwrap();
    let error = decode_namespace(stored.replace("chat", "ch-t").as_bytes()).unwrap_err().to_string();
    assert!(error.contains("namespace name \"ch-t\" is not valid"), "{error}");
}

#[test]
fn schemas_that_contradict_themselves_are_refused() {
    let message = |change: &dyn Fn(&mut TableDefinition)| {
        let mut table = samples::table();
        change(&mut table);
        let record = SchemaRecord { schema: table.schema.clone(), created_at: 0 };
        assert!(SchemaRecord::decode(&record.encode()).is_err());
        decode_table(&encode_table(&table)).unwrap_err().to_string()
    };
    for (change, reason) in [
        (
            &|table: &mut TableDefinition| table.schema.columns[1].id = ColumnId(1),
            "column text: its id is another column's too",
        ),
        (&|table| table.schema.next_column_id = ColumnId(4), "column stars: its id is one of those to come"),
        (
            &|table| table.schema.columns[0].column_type = ColumnType::Decimal { precision: 39, scale: 0 },
            "column id: its type does not exist",
        ),
        (&|table| table.schema.columns[2].initial = Value::BigInt(0), "column stars: a value is not of its type"),
        (
            &|table| table.schema.columns[1].default = Some(ColumnDefault::Constant(Value::Int(0))),
            "column text: a value is not of its type",
        ),
        (&|table| table.schema.primary_key = vec![ColumnId(3)], "key column 3 is not there"),
    ] as [(&dyn Fn(&mut TableDefinition), &str); 6]
    {
        assert_eq!(message(change), format!("stored table definition is corrupted: {reason}"));
    }
}

#[test]
fn credentials_stay_out_of_debug_output() {
    let mut storage = samples::storage();
    storage.options.insert("secret_access_key".to_owned(), "hunter2".to_owned());
    let shown = format!("{storage:?}");
    assert!(shown.contains("secret_access_key") && !shown.contains("hunter2"), "{shown}");
}
