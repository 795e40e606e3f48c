use kalamdb_commons::ErrorCode;

use super::*;

/// Paths on disk depend on these: a test that has to be changed here is a broken database.
#[test]
fn shards_never_change() {
    let shard = |option: &str, name: &str| sharding_strategy(Some(option)).expect(option).shard_of(name);
    for (name, letter, of_4, of_65536) in [
        ("ann", "a", "0", "64696"),
        ("Zoe", "z", "1", "21625"),
        ("9lives", "f", "3", "32071"),
        ("_x", "m", "2", "46018"),
        ("éva", "w", "0", "39612"),
        ("日本", "j", "1", "52881"),
        ("..", "r", "1", "16173"),
        ("messages", "m", "1", "17237"),
    ] {
        let found = (shard("alphabetic", name), shard("hash:4", name), shard("hash:65536", name));
        assert_eq!(found, (letter.to_owned(), of_4.to_owned(), of_65536.to_owned()), "{name}");
        assert_eq!(shard("none", name), "");
        assert_eq!(shard("hash:1", name), "0");
    }
}

#[test]
fn a_shared_table_goes_by_its_name() {
    let (table, user) = (TableName::new("Messages").expect("a name"), UserId::new("ann").expect("a user"));
    assert_eq!(shard_of_partition(&Alphabetic, &table, None), "m");
    assert_eq!(shard_of_partition(&Alphabetic, &table, Some(&user)), "a");
}

#[test]
fn every_letter_and_number_is_used() {
    let strategies: [(&dyn ShardingStrategy, usize); 2] = [(&Alphabetic, 26), (&HashShards::new(7).expect("seven"), 7)];
    for (strategy, shards) in strategies {
        let used: std::collections::BTreeSet<_> =
            (0..1000).map(|number| strategy.shard_of(&number.to_string())).collect();
        assert_eq!(used.len(), shards, "{strategy:?}");
    }
}

#[test]
fn options_are_read_and_written() {
    for option in ["alphabetic", "none", "hash:1", "hash:65536"] {
        assert_eq!(sharding_strategy(Some(option)).expect(option).option(), option);
    }
    assert_eq!(sharding_strategy(None).expect("the default").option(), "alphabetic");
    for option in ["", "hash", "hash:", "hash:0", "hash:65537", "hash:-1", "Alphabetic", "round-robin"] {
        let error = sharding_strategy(Some(option)).expect_err(option);
        assert_eq!(error.code(), ErrorCode::InvalidOption);
    }
}
