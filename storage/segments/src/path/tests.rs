use kalamdb_commons::{ErrorCode, NamespaceId, TableName, TableType, UserId};

use super::*;

#[test]
fn a_segment_lies_in_its_partitions_directory() {
    let (namespace, table) = (NamespaceId::new("chat").expect("a name"), TableName::new("messages").expect("a name"));
    let user = UserId::new("../ann").expect("a user");
    let values = PathValues { namespace: &namespace, table: &table, user: Some(&user), shard: "a" };
    let template = PathTemplate::parse("{storageLocation}/{shard}/{userId}/", TableType::User).expect("a template");
    let path = SegmentPath::new(&template, &values, 0x0199_c82c_c000_0123_4567_89ab_cdef_0123).expect("a path");
    assert_eq!(path.as_str(), "a/..%2Fann/01K742SG0004HMASW9NF6YY093.parquet");
    assert_eq!(path.directories().collect::<Vec<_>>(), ["a", "a/..%2Fann"]);
    assert_eq!(path.segment_id(), Some(0x0199_c82c_c000_0123_4567_89ab_cdef_0123));
    let bare = PathTemplate::parse("{storageLocation}/", TableType::Shared).expect("a template");
    let path = SegmentPath::new(&bare, &PathValues { user: None, ..values }, 0).expect("a path");
    assert_eq!(path.as_str(), "00000000000000000000000000.parquet");
    assert_eq!(path.directories().count(), 0);
    let error = SegmentPath::new(&template, &PathValues { user: None, ..values }, 0).expect_err("no user");
    assert_eq!(error.code(), ErrorCode::Internal);
}

#[test]
fn a_stored_path_cannot_lead_elsewhere() {
    assert!(SegmentPath::parse("a/b.parquet").is_ok());
    for bad in ["", "/", "/etc/passwd", "a//b", "a/../b", "..", ".", "a/./b", "a/", "a\\b", "a\0b", "a\nb"] {
        let error = SegmentPath::parse(bad).expect_err(bad);
        assert_eq!(error.code(), ErrorCode::DataCorrupted, "{bad}");
    }
}

#[test]
fn a_file_that_is_no_segment_has_no_id() {
    let parse = |text: &str| SegmentPath::parse(text).expect("a path").segment_id();
    assert_eq!(parse("01K742SG0004HMASW9NF6YY093.parquet"), Some(0x0199_c82c_c000_0123_4567_89ab_cdef_0123));
    for other in ["a/x.parquet", "01K742SG0004HMASW9NF6YY093", "01k742sg0004hmasw9nf6yy093.parquet", "a.parquet/b"] {
        assert_eq!(parse(other), None, "{other}");
    }
}
