//! Storages: directories and buckets that segments go to.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kalamdb_bucket::{Bucket, Fault};
use kalamdb_tests::{BinaryServer, Client, TestServer, eventually, unique};
use serde_json::{Value, json};
use tempfile::TempDir;

async fn flush(admin: &Client, table: &str) -> Value {
    admin.sql(format!("FLUSH TABLE {table}")).await.success().rows()[0].clone()
}

/// CREATE STORAGE over a bucket, with more options.
fn create_s3(name: &str, bucket: &Bucket, prefix: &str, more: &str) -> String {
    format!(
        "CREATE STORAGE {name} WITH (type = 's3', location = 's3://{}/{prefix}', endpoint = '{}', allow_http = 'true', \
         region = 'us-east-1', access_key_id = '{}', secret_access_key = '{}'{more})",
        Bucket::NAME,
        bucket.endpoint(),
        Bucket::ACCESS_KEY_ID,
        Bucket::SECRET_ACCESS_KEY,
    )
}

/// The segments below a directory.
fn segments(below: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(below) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = paths
        .flat_map(|path| if path.is_dir() { segments(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    found.sort();
    found
}

fn assert_no_secret(text: &str) {
    assert!(!text.contains(Bucket::SECRET_ACCESS_KEY) && !text.contains(Bucket::ACCESS_KEY_ID), "{text}");
    // As JSON writes it.
    assert!(!text.contains(&Bucket::SECRET_ACCESS_KEY.replace('/', "\\/")), "{text}");
}

#[tokio::test]
async fn a_directory_is_made_filled_moved_and_let_go() {
    let server = TestServer::start_with(&[]).await;
    let (admin, ann, bob) = (server.admin(), server.user("ann"), server.user("bob"));
    let dir = TempDir::new().expect("a directory");
    let (first, second) = (dir.path().join("deep/first"), dir.path().join("second"));
    let create = format!(
        "CREATE STORAGE Archive WITH (type = 'filesystem', location = '{}', \
         user_path_template = '{{storageLocation}}/of/{{userId}}/{{tableName}}/')",
        first.display()
    );
    admin.sql(&create).await.ok();
    admin.sql(&create).await.fails(409, "STORAGE_EXISTS");
    admin.sql(create.replace("STORAGE Archive", "STORAGE IF NOT EXISTS archive")).await.ok();
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT) WITH (storage = 'ARCHIVE')").await.ok();
    for caller in [&ann, &bob] {
        caller.sql("INSERT INTO t VALUES (1, 'one'), (2, 'two')").await.ok();
    }
    let row = flush(&admin, "t").await;
    assert_eq!((&row["status"], &row["storage_location"]), (&json!("flushed"), &json!(first.display().to_string())));
    let (of_ann, of_bob) = (segments(&first.join("of/ann/t")), segments(&first.join("of/bob/t")));
    assert_eq!((of_ann.len(), of_bob.len()), (1, 1), "{:?}", segments(dir.path()));
    let listed = admin.sql("SELECT storage, path FROM system.segments WHERE user_id = 'ann'").await.success();
    assert_eq!(listed.rows()[0]["storage"], json!("archive"));
    assert_eq!(first.join(listed.rows()[0]["path"].as_str().expect("a path")), of_ann[0]);

    // In use by a table's option, and by segments where the option says otherwise.
    admin.sql("DROP STORAGE archive").await.fails(409, "STORAGE_IN_USE");
    admin.sql("ALTER TABLE t SET (storage = 'local')").await.ok();
    ann.sql("INSERT INTO t VALUES (3, 'three')").await.ok();
    flush(&admin, "t").await;
    assert_eq!(segments(&first).len(), 2, "old segments stay where they are");
    let all = "SELECT id, v FROM t ORDER BY id";
    let expected = [[json!(1), json!("one")], [json!(2), json!("two")], [json!(3), json!("three")]];
    assert_eq!(ann.sql(all).await.success().values(), expected);
    let why = admin.sql("DROP STORAGE archive").await.fails(409, "STORAGE_IN_USE");
    assert!(why.contains("segments"), "{why}");

    // Moved: first the files, then the location.
    let alter = format!("ALTER STORAGE archive SET (location = '{}')", second.display());
    let refused = async |problem: &str| {
        let why = admin.sql(&alter).await.fails(507, "STORAGE_UNAVAILABLE");
        assert!(why.contains(problem) && why.contains("move all segments"), "{why}");
    };
    refused("No such file").await;
    assert_eq!(ann.sql(all).await.success().values(), expected);
    assert!(!second.try_exists().expect("told"), "nothing hides what will be moved there");
    fs::rename(&first, &second).expect("moved");
    // Meanwhile there is no directory, and none is made.
    let template = "ALTER STORAGE archive SET (user_path_template = NULL)";
    admin.sql(template).await.fails(507, "STORAGE_UNAVAILABLE");
    assert!(!first.try_exists().expect("told"));
    // One that is forgotten, or not whole, is named.
    let of_bob = second.join(of_bob[0].strip_prefix(&first).expect("below"));
    let bytes = fs::read(&of_bob).expect("a segment");
    fs::write(&of_bob, &bytes[..bytes.len() - 1]).expect("cut");
    refused("bytes instead of").await;
    fs::remove_file(&of_bob).expect("taken away");
    refused("missing").await;
    fs::write(&of_bob, &bytes).expect("put back");
    admin.sql(&alter).await.ok();
    admin.sql(template).await.ok();
    assert_eq!(ann.sql(all).await.success().values(), expected);

    // Files of a dropped table do not keep it.
    admin.sql("DROP TABLE t").await.ok();
    admin.sql("DROP STORAGE archive").await.ok();
    assert_eq!(segments(&second), Vec::<PathBuf>::new());
    admin.sql("DROP STORAGE archive").await.fails(404, "STORAGE_NOT_FOUND");
    admin.sql("DROP STORAGE IF EXISTS archive").await.ok();
    admin.sql("CREATE USER TABLE u (id INT) WITH (storage = 'archive')").await.fails(404, "STORAGE_NOT_FOUND");
}

#[tokio::test]
async fn what_is_wrong_with_a_storage_is_said_when_it_is_made() {
    let server = TestServer::start_with(&[]).await;
    let admin = server.admin();
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("a-file");
    fs::write(&file, "not a directory").expect("written");
    for (with, status, code, named) in [
        ("location = '/tmp/x'".to_owned(), 400, "INVALID_OPTION", "type"),
        ("type = 'tape', location = '/tmp/x'".to_owned(), 400, "INVALID_OPTION", "'filesystem'"),
        ("type = 'filesystem'".to_owned(), 400, "INVALID_OPTION", "location"),
        ("type = 'filesystem', location = 'relative'".to_owned(), 400, "INVALID_OPTION", "location"),
        ("type = 'filesystem', location = '/tmp/x', region = 'x'".to_owned(), 400, "INVALID_OPTION", "region"),
        ("type = 's3', location = 's3://b', regoin = 'x'".to_owned(), 400, "INVALID_OPTION", "regoin"),
        (
            "type = 's3', location = 's3://b', skip_signature = 'true', endpoint = 'http://127.0.0.1:9'".to_owned(),
            400,
            "INVALID_OPTION",
            "allow_http",
        ),
        (
            "type = 'filesystem', location = '/tmp/x', user_path_template = '{storageLocation}/x/'".to_owned(),
            400,
            "INVALID_OPTION",
            "{userId}",
        ),
        (
            "type = 'filesystem', location = '/tmp/x', shared_path_template = '{storageLocation}/../x/'".to_owned(),
            400,
            "INVALID_OPTION",
            "shared_path_template",
        ),
        (format!("type = 'filesystem', location = '{}/below'", file.display()), 507, "STORAGE_UNAVAILABLE", "storage"),
        (
            "type = 's3', location = 's3://b', endpoint = 'http://127.0.0.1:9', allow_http = 'true', region = 'x', \
             access_key_id = 'AKIDHIDDEN', secret_access_key = 'hunter2', timeout = '500ms'"
                .to_owned(),
            507,
            "STORAGE_UNAVAILABLE",
            "storage",
        ),
    ] {
        let why = admin.sql(format!("CREATE STORAGE a WITH ({with})")).await.fails(status, code);
        assert!(why.contains(named), "{with}: {why}");
        assert!(!why.contains("hunter2") && !why.contains("AKIDHIDDEN"), "{why}");
    }
    admin
        .sql("CREATE STORAGE local WITH (type = 'filesystem', location = '/tmp/x')")
        .await
        .fails(409, "STORAGE_EXISTS");
    admin.sql("ALTER STORAGE local SET (location = '/tmp/x')").await.fails(400, "UNSUPPORTED");
    admin.sql("DROP STORAGE local").await.fails(409, "STORAGE_IN_USE");
    admin.sql("ALTER STORAGE nowhere SET (location = '/tmp/x')").await.fails(404, "STORAGE_NOT_FOUND");
    assert_eq!(admin.sql("SHOW STORAGES").await.success().column("storage"), [json!("local")]);
}

#[tokio::test]
async fn who_may_do_what_with_storages() {
    let server = TestServer::start_with(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let create = format!("CREATE STORAGE a WITH (type = 'filesystem', location = '{}')", dir.path().display());
    for sql in [create.as_str(), "ALTER STORAGE a SET (user_path_template = NULL)", "DROP STORAGE a"] {
        server.user("ann").sql(sql).await.fails(403, "FORBIDDEN");
        server.service().sql(sql).await.fails(403, "FORBIDDEN");
        server.admin().sql(sql).await.ok();
    }
    server.user("ann").sql("SHOW STORAGES").await.fails(403, "FORBIDDEN");
    server.service().sql("SHOW STORAGES").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_holds_segments_over_faults_and_restarts() {
    let bucket = Bucket::start().await.expect("an S3 server");
    let mut server = BinaryServer::start_with(&[("logging.level", "debug"), ("flush.retry_backoff", "1m")]).await;
    let namespace = unique("bucket");
    let admin = server.admin().in_namespace(&namespace);
    admin.in_namespace("default").sql(format!("CREATE NAMESPACE {namespace}")).await.ok();
    admin.sql(create_s3("cloud", &bucket, "tests/a", ", timeout = '6s'")).await.ok();
    // Forgotten quotes put a credential where a name belongs.
    let wrong = create_s3("other", &bucket, "tests/b", "")
        .replace(&format!("'{}'", Bucket::SECRET_ACCESS_KEY), &format!("\"{}\"", Bucket::SECRET_ACCESS_KEY));
    admin.sql(wrong).await.fails(400, "INVALID_SQL");
    for shown in ["SHOW STORAGES", "SELECT * FROM system.storages"] {
        let answer = admin.sql(shown).await.success();
        assert!(answer.text.contains("us-east-1") && answer.text.contains("***"), "{}", answer.text);
        assert_no_secret(&answer.text);
    }
    admin.sql("CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT) WITH (storage = 'cloud')").await.ok();
    let ann = admin.as_user("ann");
    ann.sql("INSERT INTO t SELECT x, 'row ' || x FROM (SELECT unnest(range(1, 501)) AS x)").await.ok();

    // The rows stay hot while the bucket fails or hangs.
    for fault in [Fault::InternalError, Fault::Hangs] {
        bucket.set_fault(fault);
        let why = admin.sql("FLUSH TABLE t").await.fails(507, "STORAGE_UNAVAILABLE");
        assert_no_secret(&why);
        assert_eq!(ann.sql("SELECT count(*) FROM t").await.success().number(), 500, "{fault:?}");
        let jobs = "SELECT status, error FROM system.jobs ORDER BY created_at DESC LIMIT 1";
        let job = admin.sql(jobs).await.success().rows()[0].clone();
        assert_eq!(job["status"], json!("failed"), "{job}");
        assert!(job["error"].as_str().is_some_and(|error| error.contains("storage")), "{job}");
        assert_no_secret(&job.to_string());
    }
    bucket.set_fault(Fault::None);
    let row = flush(&admin, "t").await;
    assert_eq!((&row["status"], &row["rows_flushed"]), (&json!("flushed"), &json!(500)), "{row}");
    assert_eq!(row["storage_location"], json!(format!("s3://{}/tests/a", Bucket::NAME)));
    let objects = bucket.objects().join("tests/a");
    let named = segments(&objects);
    assert!(named.iter().any(|path| path.to_string_lossy().contains("/users/ann/t/")), "{named:?}");

    // What the failed flushes left goes, and nothing else.
    eventually("pending objects are deleted", Duration::from_secs(60), async || {
        (segments(&objects).len() == 1).then_some(())
    })
    .await;
    let check = async |admin: &Client| {
        let ann = admin.as_user("ann");
        assert_eq!(ann.sql("SELECT sum(id), count(*) FROM t").await.success().values(), [[json!(125_250), json!(500)]]);
        assert_eq!(ann.sql("SELECT v FROM t WHERE id = 77").await.success().scalar(), json!("row 77"));
        ann.sql("INSERT INTO t VALUES (77, 'again')").await.fails(409, "DUPLICATE_KEY");
    };
    check(&admin).await;
    server.kill9();
    server.restart().await;
    check(&admin).await;

    // A bucket that is away keeps nobody from hot rows of other tables, and rows come back with it.
    admin.sql("CREATE USER TABLE hot (id INT PRIMARY KEY)").await.ok();
    bucket.set_fault(Fault::InternalError);
    let ann = admin.as_user("ann");
    ann.sql("INSERT INTO hot VALUES (1)").await.ok();
    ann.sql("SELECT v FROM t WHERE id = 400").await.fails(507, "STORAGE_UNAVAILABLE");
    assert_eq!(ann.sql("SELECT count(*) FROM hot").await.success().number(), 1);
    bucket.set_fault(Fault::None);
    check(&admin).await;

    // A damaged object is named, and its rows are never wrong ones.
    let object = segments(&objects).remove(0);
    let bytes = fs::read(&object).expect("an object");
    fs::write(&object, &bytes[..bytes.len() / 2]).expect("damaged");
    server.kill9();
    server.restart().await;
    let name = object.file_name().map(|name| name.to_string_lossy().into_owned()).expect("a name");
    let why = ann.sql("SELECT sum(id) FROM t").await.fails(500, "DATA_CORRUPTED");
    assert!(why.contains(&name), "{why}");
    fs::write(&object, &bytes).expect("mended");
    check(&admin).await;

    admin.sql("DROP TABLE t").await.ok();
    admin.sql("DROP STORAGE cloud").await.ok();
    assert_eq!(segments(&objects), Vec::<PathBuf>::new());
    assert_no_secret(&server.logs());
}

/// A new secret is used from the next request on.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_changed_in_place() {
    let bucket = Bucket::start().await.expect("an S3 server");
    let server = TestServer::start_with(&[]).await;
    let admin = server.admin();
    admin.sql(create_s3("cloud", &bucket, "", "")).await.ok();
    admin.sql("CREATE SHARED TABLE t (id INT PRIMARY KEY) WITH (storage = 'cloud')").await.ok();
    admin.sql("INSERT INTO t VALUES (1)").await.ok();
    let why = admin.sql("ALTER STORAGE cloud SET (secret_access_key = 'wrong', timeout = '6s')").await;
    let why = why.fails(507, "STORAGE_UNAVAILABLE");
    assert!(!why.contains("wrong'"), "{why}");
    assert_eq!(flush(&admin, "t").await["status"], json!("flushed"), "the old secret is in force");
    let good = format!("ALTER STORAGE cloud SET (secret_access_key = '{}', timeout = '6s')", Bucket::SECRET_ACCESS_KEY);
    admin.sql(good).await.ok();
    assert_eq!(admin.sql("SELECT count(*) FROM t").await.success().number(), 1);
    let options = admin.sql("SHOW STORAGES").await.success().column("options")[1].to_string();
    assert!(options.contains("timeout") && options.contains("6s"), "{options}");
    assert_no_secret(&options);
}
