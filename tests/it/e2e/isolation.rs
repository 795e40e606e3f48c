//! PA-1, PA-3: nobody reads or changes another user's rows, whatever the ids look like.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use kalamdb_tests::TestServer;

/// Ids that a careless key encoding would mix up: prefixes of each other, paths, separators, percent
/// signs, unicode that looks alike or differs in normal form, and the longest allowed.
fn awkward_ids() -> Vec<String> {
    let longest = "x".repeat(128);
    let longest_but_for_its_end = format!("{}y", "x".repeat(127));
    let longest_unicode = "ж".repeat(128);
    let fixed = [
        "ann",
        "anna",
        "an",
        "a",
        "Ann",
        "ANN",
        " ann",
        "ann ",
        "ann/",
        "/ann",
        "../../etc",
        "..",
        ".",
        "~",
        "%00",
        "%2e%2e",
        "a/b",
        "a\\b",
        "a:b",
        "a'b",
        "a\"b",
        "a;b",
        "a--b",
        "1",
        "01",
        "ж",
        "жж",
        "日本",
        "日本語",
        "😀",
        "é",
        "e\u{301}",
    ];
    fixed.into_iter().map(str::to_owned).chain([longest, longest_but_for_its_end, longest_unicode]).collect()
}

#[tokio::test]
async fn two_users_with_the_same_keys_never_meet() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, body TEXT)").await.ok();
    let (ann, anna) = (server.user("ann"), server.user("anna"));
    ann.sql("INSERT INTO notes VALUES (1, 'of ann'), (2, 'of ann too')").await.ok();
    anna.sql("INSERT INTO notes VALUES (1, 'of anna')").await.ok();

    assert_eq!(ann.sql("SELECT body FROM notes WHERE id = 1").await.success().scalar(), json!("of ann"));
    assert_eq!(anna.sql("SELECT body FROM notes WHERE id = 1").await.success().scalar(), json!("of anna"));
    assert_eq!(anna.sql("SELECT id FROM notes WHERE id = 2").await.success().rows().len(), 0);

    assert_eq!(ann.sql("UPDATE notes SET body = 'changed'").await.success().row_count(), 2);
    assert_eq!(anna.sql("SELECT body FROM notes").await.success().scalar(), json!("of anna"));
    assert_eq!(anna.sql("DELETE FROM notes").await.success().row_count(), 1);
    assert_eq!(ann.sql("SELECT count(*) FROM notes").await.success().number(), 2);
    assert_eq!(server.user("bob").sql("SELECT count(*) FROM notes").await.success().number(), 0);
}

#[tokio::test]
async fn ids_of_any_look_keep_their_rows_apart() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, owner TEXT)").await.ok();
    let ids = awkward_ids();
    for id in &ids {
        server.user(id).sql_params("INSERT INTO notes VALUES (1, $1), (2, $1)", json!([id])).await.ok();
    }
    for id in &ids {
        let answer = server.user(id).sql("SELECT id, owner FROM notes ORDER BY id").await.success();
        assert_eq!(answer.values(), [[json!(1), json!(id)], [json!(2), json!(id)]], "user {id:?}");
        assert_eq!(server.user(id).sql("SELECT CURRENT_USER()").await.success().scalar(), json!(id));
    }
    // What one of them deletes is missing nowhere else.
    server.user("ann").sql("DELETE FROM notes").await.ok();
    for id in ids.iter().filter(|id| *id != "ann") {
        let count = server.user(id).sql("SELECT count(*) FROM notes").await.success().number();
        assert_eq!(count, 2, "user {id:?}");
    }
}

fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { [path].into() }).collect()
}

/// Where an id becomes part of a path it names one directory below its table's users, and nobody else's.
#[tokio::test]
async fn segments_of_ids_of_any_look_lie_apart_below_the_storage() {
    // Deep enough that who climbs out of the storage is still seen.
    let outer = tempfile::tempdir().expect("a directory");
    let storage = outer.path().join("a/b/c/d/storage");
    std::fs::create_dir_all(&storage).expect("directories");
    let server = TestServer::start_with(&[("storage.default_location", &storage.display().to_string())]).await;
    let admin = server.admin();
    admin.sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, owner TEXT)").await.ok();
    let ids = awkward_ids();
    for id in &ids {
        server.user(id).sql_params("INSERT INTO notes VALUES (1, $1), (2, $1)", json!([id])).await.ok();
    }
    let flush = admin.sql("FLUSH TABLE notes").await.success().rows()[0].clone();
    assert_eq!((&flush["status"], &flush["segments"]), (&json!("flushed"), &json!(ids.len())), "{flush}");

    let segments = admin.sql("SELECT user_id, path FROM system.segments").await.success().rows().to_vec();
    let text = |segment: &Value, name: &str| segment[name].as_str().expect("a text").to_owned();
    let owners: BTreeSet<String> = segments.iter().map(|segment| text(segment, "user_id")).collect();
    assert_eq!(owners, ids.iter().cloned().collect());
    let paths: Vec<PathBuf> = segments.iter().map(|segment| PathBuf::from(text(segment, "path"))).collect();
    let users = Path::new(server.namespace()).join("users");
    let mut directories = BTreeSet::new();
    for path in &paths {
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{}", path.display());
        let below = path.strip_prefix(&users).unwrap_or_else(|_| panic!("{} is elsewhere", path.display()));
        let parts: Vec<&str> = below.iter().map(|part| part.to_str().expect("ASCII")).collect();
        let [user, "notes", _] = parts.as_slice() else { panic!("{}", path.display()) };
        assert!(user.is_ascii() && user.len() <= 200, "{user}");
        directories.insert(*user);
    }
    assert_eq!(directories.len(), ids.len(), "one of them for each");
    let expected: BTreeSet<PathBuf> = paths.iter().map(|path| storage.join(path)).collect();
    assert_eq!(files(outer.path()), expected, "and no file anywhere else");

    for id in &ids {
        let answer = server.user(id).sql("SELECT id, owner FROM notes ORDER BY id").await.success();
        assert_eq!(answer.values(), [[json!(1), json!(id)], [json!(2), json!(id)]], "user {id:?}");
    }
    server.user("ann").sql("DELETE FROM notes").await.ok();
    admin.sql("FLUSH TABLE notes").await.ok();
    for id in &ids {
        let count = server.user(id).sql("SELECT count(*) FROM notes WHERE owner IS NOT NULL").await.success().number();
        assert_eq!(count, if id == "ann" { 0 } else { 2 }, "user {id:?}");
    }
}

#[tokio::test]
async fn joins_subqueries_and_set_operations_stay_in_the_partition() {
    let server = TestServer::start().await;
    server
        .admin()
        .sql("CREATE USER TABLE a (id BIGINT PRIMARY KEY, v TEXT); CREATE USER TABLE b (id BIGINT PRIMARY KEY, v TEXT)")
        .await
        .ok();
    for user in ["ann", "bob"] {
        let caller = server.user(user);
        caller.sql_params("INSERT INTO a VALUES (1, $1), (2, $1)", json!([user])).await.ok();
        caller.sql_params("INSERT INTO b VALUES (1, $1), (3, $1)", json!([user])).await.ok();
    }
    let bob = server.user("bob");
    for (sql, expected) in [
        ("SELECT count(*) FROM a JOIN b ON a.v = b.v", 4),
        ("SELECT count(*) FROM a CROSS JOIN b", 4),
        ("SELECT count(*) FROM (SELECT v FROM a UNION ALL SELECT v FROM b) AS u WHERE v <> 'bob'", 0),
        ("SELECT count(*) FROM a WHERE id IN (SELECT id FROM b)", 1),
        ("SELECT count(*) FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.id = a.id)", 1),
        ("WITH t AS (SELECT * FROM a) SELECT count(*) FROM t", 2),
        ("SELECT (SELECT max(id) FROM b)", 3),
    ] {
        assert_eq!(bob.sql(sql).await.success().scalar(), json!(expected), "{sql}");
    }
}

#[tokio::test]
async fn a_shared_table_is_one_for_all() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE SHARED TABLE news (id BIGINT PRIMARY KEY, title TEXT)").await.ok();
    server.service().sql("INSERT INTO news VALUES (1, 'first')").await.ok();
    for user in ["ann", "bob"] {
        let title: Value = server.user(user).sql("SELECT title FROM news").await.success().scalar();
        assert_eq!(title, json!("first"));
    }
    let again = server.service().sql("INSERT INTO news VALUES (1, 'again')").await;
    again.fails(409, "DUPLICATE_KEY");
}

#[tokio::test]
async fn users_write_at_the_same_time() {
    let server = TestServer::start().await;
    server.admin().sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, owner TEXT)").await.ok();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let user = format!("user{number}");
        let caller = server.user(&user);
        tasks.spawn(async move {
            for id in 0..25 {
                caller.sql_params("INSERT INTO notes VALUES ($1, $2)", json!([id, user])).await.ok();
            }
            let answer =
                caller.sql("SELECT count(*) AS n, min(owner) AS a, max(owner) AS z FROM notes").await.success();
            assert_eq!(answer.values(), [[json!(25), json!(user), json!(user)]]);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a user's checks");
    }
}
