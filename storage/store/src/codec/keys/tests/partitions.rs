//! No user's keys lie among another's, whatever the ids look like.

use kalamdb_commons::{Seq, TableId, TableType, UserId};
use kalamdb_sql::Value;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::backend::KeyRange;
use crate::codec::keys::{
    ManifestKey, decode_log_key, decode_user, delete_mark_key, delete_marks_of, encode_key, encode_user, log_key,
    log_partition, log_table, manifest_entries, manifest_entry_key, manifest_partition, manifest_table,
    parse_manifest_key, partition_record_key, row_key, rows_partition, rows_table, split_partition_record_key,
    split_row_key,
};
use crate::codec::tests::strategies::{seq, user_id};

const TABLE: TableId = TableId(7);

fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

fn holds(range: &KeyRange, key: &[u8]) -> bool {
    range.start.as_ref() <= key && range.end.as_ref().is_none_or(|end| key < end.as_ref())
}

/// Neither user's prefix begins the other's, in any family.
fn assert_apart(left: &UserId, right: &UserId) {
    for prefix_of in [rows_partition, log_partition, manifest_partition] {
        let (left, right) = (prefix_of(TABLE, Some(left)).prefix, prefix_of(TABLE, Some(right)).prefix);
        assert!(!left.starts_with(&right) && !right.starts_with(&left), "{left:02x?} and {right:02x?}");
    }
}

#[test]
fn users_that_look_alike_have_prefixes_apart() {
    let mut users: Vec<UserId> = [
        "a",
        "an",
        "ann",
        "anna",
        "annA",
        "Ann",
        "ann ",
        " ann",
        "ann/",
        "ann/a",
        "ann%",
        "ann%00",
        "ann\u{ad}",
        "ann\u{301}",
        "../../etc",
        "../../etc/passwd",
        "..",
        ".",
        "/",
        "é",
        "e\u{301}",
        "日",
        "日本",
        "日本語",
        "\u{10ffff}",
        "\u{feff}ann",
        "0",
        "00",
        "1",
        "ÿ",
        "Āā",
    ]
    .map(user)
    .to_vec();
    for letter in ["a", "é", "日", "\u{10ffff}"] {
        users.extend([126, 127, 128].map(|length| user(&letter.repeat(length))));
    }
    for (at, left) in users.iter().enumerate() {
        for right in &users[at + 1..] {
            assert_ne!(left, right);
            assert_apart(left, right);
        }
    }
}

#[test]
fn tables_have_prefixes_apart() {
    let ids = [0, 1, 7, 8, 0xff, 0x100, 0x1_0000, u64::MAX >> 1, u64::MAX].map(TableId);
    for (at, left) in ids.iter().enumerate() {
        for right in &ids[at + 1..] {
            for table in [rows_table, log_table, manifest_table] {
                assert!(!table(*left).prefix.starts_with(&table(*right).prefix));
                assert!(!table(*right).prefix.starts_with(&table(*left).prefix));
            }
        }
    }
}

#[test]
fn a_manifest_partition_is_its_record_then_its_segments_then_their_marks() {
    let ann = user("ann");
    for owner in [None, Some(&ann)] {
        let keys = [
            partition_record_key(TABLE, owner),
            manifest_entry_key(TABLE, owner, 1),
            manifest_entry_key(TABLE, owner, 1 << 100),
            delete_mark_key(TABLE, owner, 1, 0),
            delete_mark_key(TABLE, owner, 1, 256),
            delete_mark_key(TABLE, owner, 1 << 100, 0),
        ];
        assert!(keys.is_sorted());
        let whole = manifest_partition(TABLE, owner).range();
        assert!(keys.iter().all(|key| holds(&whole, key)));
        let within = |range: KeyRange| keys.iter().map(|key| holds(&range, key)).collect::<Vec<_>>();
        assert_eq!(within(manifest_entries(TABLE, owner)), [false, true, true, false, false, false]);
        assert_eq!(within(delete_marks_of(TABLE, owner, 1)), [false, false, false, true, true, false]);
    }
    assert!(!holds(&manifest_partition(TABLE, None).range(), &partition_record_key(TABLE, Some(&ann))));
}

proptest! {
    #[test]
    fn users_are_apart_and_in_the_order_of_their_text(left in user_id(), right in user_id()) {
        let key = |user: &UserId| rows_partition(TABLE, Some(user)).prefix;
        prop_assert_eq!(key(&left).cmp(&key(&right)), left.as_str().cmp(right.as_str()));
        if left != right {
            assert_apart(&left, &right);
        }
    }

    #[test]
    fn a_user_and_one_that_begins_so_are_apart(short in user_id(), more in "\\PC{1,20}") {
        if let Ok(long) = UserId::new(format!("{short}{more}")) {
            assert_apart(&short, &long);
        }
    }

    #[test]
    fn keys_lie_in_their_own_partition_only(
        mine in user_id(),
        theirs in user_id(),
        content in vec(any::<u8>(), 0..20),
        last_seq in seq(),
        segment: u128,
        container: u32,
    ) {
        prop_assume!(mine != theirs);
        let primary_key = encode_key(&[Value::Bytes(content)]);
        let owner = Some(&mine);
        let rows = rows_partition(TABLE, owner);
        let log = log_partition(TABLE, owner);
        let row = row_key(&rows, &primary_key);
        let entry = log_key(&log, last_seq);
        prop_assert!(holds(&rows.range(), &row) && holds(&rows_table(TABLE).range(), &row));
        prop_assert!(!holds(&rows_partition(TABLE, Some(&theirs)).range(), &row));
        prop_assert!(holds(&log.range(), &entry) && holds(&log_table(TABLE).range(), &entry));
        prop_assert!(!holds(&log_partition(TABLE, Some(&theirs)).range(), &entry));
        for key in [
            partition_record_key(TABLE, owner),
            manifest_entry_key(TABLE, owner, segment),
            delete_mark_key(TABLE, owner, segment, container),
        ] {
            prop_assert!(holds(&manifest_partition(TABLE, owner).range(), &key));
            prop_assert!(holds(&manifest_table(TABLE).range(), &key));
            for other in [None, Some(&theirs)] {
                prop_assert!(!holds(&manifest_partition(TABLE, other).range(), &key));
            }
        }
    }

    #[test]
    fn keys_read_back(
        table: u64,
        user in proptest::option::of(user_id()),
        rest in vec(any::<u8>(), 0..20),
        last_seq in seq(),
        segment: u128,
        container: u32,
    ) {
        let (table, owner) = (TableId(table), user.as_ref());
        let row = row_key(&rows_partition(table, owner), &rest);
        let table_type = if user.is_some() { TableType::User } else { TableType::Shared };
        prop_assert_eq!(split_row_key(&row, table_type).unwrap(), (table, user.clone(), rest.as_slice()));

        let log = log_partition(table, owner);
        prop_assert_eq!(decode_log_key(&log, &log_key(&log, last_seq)).unwrap(), last_seq);

        let record = partition_record_key(table, owner);
        prop_assert_eq!(split_partition_record_key(&record).unwrap(), (table, user.clone()));
        let user = user.clone();
        prop_assert_eq!(parse_manifest_key(&record).unwrap(), ManifestKey::Record { table, user: user.clone() });
        let entry = manifest_entry_key(table, owner, segment);
        prop_assert_eq!(parse_manifest_key(&entry).unwrap(), ManifestKey::Entry { table, user: user.clone(), segment });
        prop_assert!(split_partition_record_key(&entry).is_err());
        let marks = delete_mark_key(table, owner, segment, container);
        prop_assert_eq!(parse_manifest_key(&marks).unwrap(), ManifestKey::Marks { table, user, segment, container });
    }

    #[test]
    fn a_user_id_reads_back_with_what_follows(user in user_id(), rest in vec(any::<u8>(), 0..9)) {
        let mut key = Vec::new();
        encode_user(&mut key, &user);
        key.extend_from_slice(&rest);
        prop_assert_eq!(decode_user(&key).unwrap(), (user, rest.as_slice()));
    }

    #[test]
    fn log_entries_sort_by_their_seq(left in seq(), right in seq()) {
        let log = log_partition(TABLE, Some(&user("ann")));
        prop_assert_eq!(log_key(&log, left).cmp(&log_key(&log, right)), left.cmp(&right));
    }
}

#[test]
fn a_log_key_of_another_partition_is_refused() {
    let (ann, anna) = (user("ann"), user("anna"));
    let key = log_key(&log_partition(TABLE, Some(&anna)), Seq(1));
    assert!(decode_log_key(&log_partition(TABLE, Some(&ann)), &key).is_err());
    let too_large = row_key(&log_partition(TABLE, Some(&ann)), &Seq::LIMIT.to_be_bytes());
    let error = decode_log_key(&log_partition(TABLE, Some(&ann)), &too_large).unwrap_err();
    assert_eq!(error.to_string(), "stored log key is corrupted: seq 9007199254740992 is not below 2^53");
}
