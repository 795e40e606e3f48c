use std::time::Instant;

use kalamdb_bucket::{Bucket, Fault};
use kalamdb_commons::ErrorCode;
use kalamdb_sql::{ColumnType, Value};

use super::*;
use crate::SegmentScan;
use crate::testing::{Stored, TestRow, everything, put, scan, table, whole};

fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn open(storage_type: StorageType, location: &str, pairs: &[(&str, &str)]) -> Result<Arc<dyn SegmentStorage>> {
    open_storage(&StorageDefinition { storage_type, location, options: &options(pairs) })
}

fn s3(bucket: &Bucket, timeout: &str) -> Arc<dyn SegmentStorage> {
    let pairs = [
        ("endpoint", bucket.endpoint()),
        ("access_key_id", Bucket::ACCESS_KEY_ID.to_owned()),
        ("secret_access_key", Bucket::SECRET_ACCESS_KEY.to_owned()),
        ("allow_http", "true".to_owned()),
        ("timeout", timeout.to_owned()),
    ];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    open(StorageType::S3, &format!("s3://{}/db/prefix/", Bucket::NAME), &pairs).expect("a storage")
}

fn path(text: &str) -> SegmentPath {
    SegmentPath::parse(text).expect("a path")
}

/// All files of the bucket, without what the server keeps beside them.
fn objects(bucket: &Bucket) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![bucket.objects()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("readable") {
            let entry = entry.expect("an entry").path();
            match entry.is_dir() {
                true => directories.push(entry),
                false => found.push(entry.strip_prefix(bucket.objects()).expect("below").display().to_string()),
            }
        }
    }
    found.retain(|name| name.ends_with(".parquet"));
    found.sort();
    found
}

#[tokio::test]
async fn segments_live_in_a_bucket() {
    let bucket = Bucket::start().await.expect("a server");
    let storage = s3(&bucket, "30s");
    storage.prepare().await.expect("it can be used");
    let table = table(&[("id", ColumnType::BigInt), ("text", ColumnType::Text)], 1);
    let rows: Vec<_> = (0..140_000)
        .map(|id| {
            TestRow::new(
                id + 1,
                vec![Value::BigInt(id), Value::Text(format!("{:x}", id.wrapping_mul(0x9e37_79b9_7f4a)))],
            )
        })
        .collect();
    let stored = Stored::within(Arc::clone(&storage), 1, &table, &rows).await;
    let segment = stored.open().await.expect("opened");
    let found = scan(&segment, &table, &SegmentScan::new(everything(&table))).await.expect("read");
    assert!(found == rows.iter().map(whole).collect::<Vec<_>>());
    let (present, absent) =
        (rows[77_777].key(&table), TestRow::new(1, vec![Value::BigInt(-7), Value::Null]).key(&table));
    assert_eq!(segment.find(&[&present, &absent]).await.expect("looked up").positions, [Some(77_777), None]);

    // A multipart upload, under a user's id that is no plain name; the key is what the manifest says.
    let large: Vec<u8> = (0..18_u32 << 20).map(|at| (at % 253) as u8).collect();
    let name = path("u/..%2F%E6%97%A5/x.parquet");
    put(&storage, &name, large.clone()).await;
    let read = storage.read(&name, &[0..5, 10 << 20..(10 << 20) + 7]).await.expect("read");
    assert_eq!((read[0].as_ref(), read[1].as_ref()), (&large[..5], &large[10 << 20..][..7]));
    let prefixed = |path: &str| format!("db/prefix/{path}");
    assert_eq!(objects(&bucket), [prefixed(&stored.manifest.path), prefixed(name.as_str())]);

    storage.delete(&[name.clone(), path(&stored.manifest.path)]).await.expect("deleted");
    storage.delete(std::slice::from_ref(&name)).await.expect("deleting what is gone is a success");
    assert!(objects(&bucket).is_empty());
    assert!(matches!(storage.read(&name, &[0..1, 2..3]).await, Err(SegmentError::Missing { .. })));
    let error = Stored { manifest: stored.manifest.clone(), ..stored }.open().await.expect_err("gone");
    assert_eq!(error.code(), ErrorCode::DataCorrupted);
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let bucket = Bucket::start().await.expect("a server");
    let storage = s3(&bucket, "30s");
    let table = table(&[("id", ColumnType::BigInt)], 1);
    let rows: Vec<_> = (0..100).map(|id| TestRow::new(id + 1, vec![Value::BigInt(id)])).collect();
    let stored = Stored::within(Arc::clone(&storage), 1, &table, &rows).await;
    for bytes in [&stored.bytes[..100], &stored.bytes[..stored.bytes.len() - 1], b"", b"something else"] {
        put(&storage, &path(&stored.manifest.path), bytes.to_vec()).await;
        let error = stored.open().await.expect_err("damaged");
        assert!(matches!(&error, SegmentError::Damaged { path, .. } if *path == stored.manifest.path), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_fails_or_hangs_is_bounded_and_tells_no_secret() {
    let bucket = Bucket::start().await.expect("a server");
    let (storage, patient) = (s3(&bucket, "1s"), s3(&bucket, "30s"));
    patient.prepare().await.expect("it can be used");
    for fault in [Fault::InternalError, Fault::Hangs] {
        bucket.set_fault(fault);
        for large in [false, true] {
            let begun = Instant::now();
            let group = storage.begin_group();
            let written = tokio::task::spawn_blocking(move || {
                let mut sink = group.create(&path("a/x.parquet")).expect("begun");
                let bytes = vec![0; if large { 9 << 20 } else { 10 }];
                let outcome = sink.write_all(&bytes).map_err(|error| crate::error::sink_error(&error).expect("ours"));
                (group, outcome.and_then(|()| sink.finish()))
            });
            let (group, outcome) = written.await.expect("no panic");
            let outcome = match outcome {
                Ok(()) => group.commit().await,
                Err(error) => Err(error),
            };
            check(&outcome.expect_err("no write"), "a/x.parquet");
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        }
        let begun = Instant::now();
        check(&storage.read(&path("a/y.parquet"), &[0..1, 2..3]).await.expect_err("no read"), "a/y.parquet");
        check(&storage.read_tail(&path("a/y.parquet"), 10, 5).await.expect_err("no read"), "a/y.parquet");
        check(&storage.delete(&[path("a/y.parquet")]).await.expect_err("no deletion"), "a/y.parquet");
        check(&storage.prepare().await.expect_err("no use"), "probe");
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
        bucket.set_fault(Fault::None);
        put(&patient, &path("a/x.parquet"), b"the fault is gone".to_vec()).await;
    }
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_no_missing_segment() {
    let bucket = Bucket::start().await.expect("a server");
    let storage = s3(&bucket, "30s");
    put(&storage, &path("a/x.parquet"), b"something".to_vec()).await;
    assert!(matches!(storage.read(&path("a/y.parquet"), &[0..1, 2..3]).await, Err(SegmentError::Missing { .. })));
    storage.delete(&[path("a/y.parquet")]).await.expect("gone already");
    let (there, away) = (bucket.objects(), bucket.objects().with_extension("away"));
    std::fs::rename(&there, &away).expect("moved");
    check(&storage.read(&path("a/x.parquet"), &[0..1, 2..3]).await.expect_err("no bucket"), "a/x.parquet");
    check(&storage.read_tail(&path("a/x.parquet"), 9, 9).await.expect_err("no bucket"), "a/x.parquet");
    // Asked before anything is deleted; what a deletion in no bucket says is each server's own.
    check(&storage.read_note(&path("note")).await.expect_err("no bucket"), "note");
    std::fs::rename(&away, &there).expect("back");
    assert_eq!(storage.read(&path("a/x.parquet"), &[0..4, 4..9]).await.expect("back").concat(), b"something");
}

#[tokio::test]
async fn wrong_credentials_are_said() {
    let bucket = Bucket::start().await.expect("a server");
    let endpoint = bucket.endpoint();
    let wrong = [
        ("endpoint", endpoint.as_str()),
        ("access_key_id", Bucket::ACCESS_KEY_ID),
        ("secret_access_key", "another-secret-of-tests"),
        ("allow_http", "true"),
        ("timeout", "5s"),
    ];
    let storage = open(StorageType::S3, &format!("s3://{}", Bucket::NAME), &wrong).expect("a storage");
    let error = storage.prepare().await.expect_err("a wrong secret");
    check(&error, "probe");
    assert!(!error.to_string().contains("another-secret"), "{error}");
}

fn check(error: &SegmentError, named: &str) {
    let text = format!("{error} {error:?}");
    assert_eq!(error.code(), ErrorCode::StorageUnavailable, "{text}");
    assert!(text.contains(named), "{text}");
    assert!(!text.contains(Bucket::SECRET_ACCESS_KEY) && !text.contains(Bucket::ACCESS_KEY_ID), "{text}");
    assert!(!text.contains("Signature="), "{text}");
}

#[test]
fn definitions_are_checked_and_name_what_is_wrong() {
    use StorageType::{Azure, Filesystem, Gcs, S3};
    for (storage_type, location, pairs) in [
        (Filesystem, "/srv/kalam", &[] as &[(&str, &str)]),
        (S3, "s3://bucket", &[("region", "eu-central-1"), ("timeout", "10s"), ("machine_identity", "true")]),
        (
            S3,
            "s3://my.bucket/a/b/",
            &[("endpoint", "https://minio.example:9000"), ("access_key_id", "k"), ("secret_access_key", "s")],
        ),
        (Gcs, "gs://bucket/a", &[("skip_signature", "true")]),
        (Azure, "azure://container/a", &[("account_name", "acc"), ("account_key", "c2VjcmV0")]),
    ] {
        open(storage_type, location, pairs).expect(location);
    }
    for (storage_type, location, pairs, named) in [
        (Filesystem, "relative", &[] as &[(&str, &str)], "location"),
        (Filesystem, "/srv", &[("region", "x")], "region"),
        (S3, "bucket", &[], "s3://bucket"),
        (S3, "s3://", &[], "location"),
        (S3, "gs://bucket", &[], "location"),
        (S3, "s3://bucket/../x", &[], "location"),
        (S3, "s3://key:password@bucket", &[], "location"),
        (S3, "s3://bucket/a?password=x", &[], "location"),
        (S3, "s3://bucket", &[("regoin", "x")], "regoin"),
        (S3, "s3://bucket", &[("region", "x")], "access_key_id with secret_access_key"),
        (S3, "s3://bucket", &[("access_key_id", "x")], "secret_access_key"),
        (S3, "s3://bucket", &[("skip_signature", "true"), ("machine_identity", "true")], "needs one of"),
        (S3, "s3://bucket", &[("machine_identity", "true"), ("endpoint", "https://mine")], "machine_identity"),
        (S3, "s3://bucket", &[("timeout", "11m")], "timeout"),
        (Gcs, "gs://bucket", &[], "service_account_path"),
        (Gcs, "gs://bucket", &[("service_account_path", "/proc/self/status")], "service_account_path"),
        (Azure, "azure://container", &[("account_name", "acc")], "sas_token"),
        (S3, "s3://bucket", &[("timeout", "soon")], "timeout"),
        (S3, "s3://bucket", &[("timeout", "0s")], "timeout"),
        (S3, "s3://bucket", &[("allow_http", "perhaps")], "allow_http"),
        (S3, "s3://bucket", &[("endpoint", "http://host"), ("skip_signature", "true")], "allow_http"),
        (S3, "s3://bucket", &[("endpoint", "https://me:password@host"), ("skip_signature", "true")], "endpoint"),
        (S3, "s3://bucket", &[("skip_signature", "perhaps")], "perhaps"),
        (Gcs, "gs://bucket", &[("service_account_key", "not json")], ""),
        (Azure, "azure://container", &[("account_name", "acc"), ("account_key", "not base 64!")], ""),
    ] {
        let error = open(storage_type, location, pairs).map(drop).expect_err(location);
        assert_eq!(error.code(), ErrorCode::InvalidOption, "{error}");
        assert!(error.to_string().contains(named), "{location} {pairs:?}: {error}");
        assert!(!error.to_string().contains("password") && !error.to_string().contains("not base"), "{error}");
    }
}

#[test]
fn secrets_are_known_and_not_shown() {
    let options = options(&[("access_key_id", "AKID"), ("secret_access_key", "hunter2"), ("region", "x")]);
    let definition = StorageDefinition { storage_type: StorageType::S3, location: "s3://bucket", options: &options };
    assert!(!format!("{definition:?}").contains("hunter2") && !format!("{definition:?}").contains("AKID"));
    assert!(!format!("{:?}", open_storage(&definition).expect("a storage")).contains("hunter2"));
    let known = S3_OPTIONS.iter().map(|(name, _)| *name).chain(GCS_OPTIONS.iter().map(|(name, _)| *name));
    for name in known.chain(AZURE_OPTIONS.iter().map(|(name, _)| *name)) {
        let sounds_secret = ["key", "secret", "token", "sas"].iter().any(|word| name.contains(word));
        assert_eq!(is_secret_option(name), sounds_secret, "{name}");
    }
}
