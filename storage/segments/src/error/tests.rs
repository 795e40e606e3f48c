use std::io;

use super::*;

#[test]
fn errors_have_codes_and_tell_no_more_than_they_should() {
    let path = "chat/a.parquet";
    let full = SegmentError::io("write", path, &io::Error::from(io::ErrorKind::StorageFull));
    assert!(matches!(full, SegmentError::Full { .. }) && full.is_retryable());
    let denied = SegmentError::io("create", path, &io::Error::from(io::ErrorKind::PermissionDenied));
    assert_eq!(Error::from(denied).code, ErrorCode::StorageUnavailable);
    let damaged = SegmentError::Damaged { path: path.to_owned(), message: "byte 7 of /srv/x".to_owned() };
    let error = Error::from(damaged);
    assert_eq!(error.code, ErrorCode::DataCorrupted);
    assert!(error.message.contains(path) && !error.message.contains("byte 7"), "{}", error.message);
    assert!(error.detail.expect("for the log").contains("byte 7"));
    let misused = Error::from(SegmentError::Misused("secret".to_owned()));
    assert_eq!(misused.code, ErrorCode::Internal);
    assert!(!misused.message.contains("secret"));
}

#[test]
fn an_error_survives_the_parquet_crate_and_a_sink() {
    let ours = SegmentError::Missing { path: "x".to_owned() };
    let carried = ParquetError::from(ours.clone());
    assert!(matches!(SegmentError::decode("y", &carried), SegmentError::Missing { path } if path == "x"));
    let foreign = ParquetError::General("bad".to_owned());
    assert!(matches!(SegmentError::decode("y", &foreign), SegmentError::Damaged { path, .. } if path == "y"));
    let through_a_sink = io::Error::other(SinkError::from(ours));
    assert!(matches!(sink_error(&through_a_sink), Some(SegmentError::Missing { .. })));
    assert!(sink_error(&io::Error::other("foreign")).is_none());
}
