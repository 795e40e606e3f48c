//! Two servers below one storage location, one of them started from a copy of the other's data directory: neither deletes
//! what the other reads (FL-8).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kalamdb_tests::{BinaryServer, eventually};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

/// Every segment below a location.
fn segments(location: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut left = vec![location.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found.insert(path);
            }
        }
    }
    found
}

/// As `cp -a` does.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let entry = entry.expect("an entry").path();
        let to = to.join(entry.file_name().expect("a name"));
        match entry.is_dir() {
            true => copy(&entry, &to),
            false => drop(fs::copy(&entry, &to).expect("copied")),
        }
    }
}

/// Rows of a user in `t`, and all of `s`.
type Rows = (Vec<Vec<Value>>, Vec<Vec<Value>>);

async fn rows(server: &BinaryServer, user: &str) -> Rows {
    let admin = server.admin();
    let of_user = admin.as_user(user).sql("SELECT id, v FROM t ORDER BY id").await.success().values();
    (of_user, admin.sql("SELECT id, v FROM s ORDER BY id").await.success().values())
}

fn as_rows(rows: &[(i64, &str)]) -> Vec<Vec<Value>> {
    rows.iter().map(|(id, v)| vec![json!(id), json!(v)]).collect()
}

/// Everything that is garbage now has been looked at when a file goes that becomes garbage later.
async fn sweep(server: &BinaryServer, location: &Path, table: &str) {
    let admin = server.admin();
    let before = segments(location);
    admin
        .sql(format!("CREATE SHARED TABLE {table} (id BIGINT PRIMARY KEY); INSERT INTO {table} VALUES (1)"))
        .await
        .ok();
    admin.sql(format!("FLUSH TABLE {table}")).await.ok();
    let own: Vec<PathBuf> = segments(location).difference(&before).cloned().collect();
    assert_eq!(own.len(), 1, "{own:?}");
    admin.sql(format!("DROP TABLE {table}")).await.ok();
    eventually("a file of its own goes", LIMIT, async || (!own[0].try_exists().expect("known")).then_some(())).await;
}

#[tokio::test]
async fn neither_deletes_the_others_files() {
    let mut original = BinaryServer::start().await;
    let location = original.dir().join("storage");
    let admin = original.admin();
    admin
        .sql(
            "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v TEXT); CREATE SHARED TABLE s (id BIGINT PRIMARY KEY, v TEXT);
             CREATE SHARED TABLE for_one (id BIGINT PRIMARY KEY, v TEXT); CREATE SHARED TABLE for_other (id BIGINT PRIMARY KEY, v TEXT);
             INSERT INTO s VALUES (1, 'one'), (2, 'two'), (3, 'three');
             INSERT INTO for_one VALUES (1, 'kept'); INSERT INTO for_other VALUES (1, 'kept')",
        )
        .await
        .ok();
    for user in ["ann", "bob"] {
        admin.as_user(user).sql("INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')").await.ok();
    }
    admin.sql("FLUSH ALL TABLES").await.ok();
    // Hot rows are copied, too; they are flushed by the stop, below its end.
    admin.sql("INSERT INTO s VALUES (4, 'four')").await.ok();
    assert_eq!(original.terminate().await.code(), Some(0));
    let shared = segments(&location);
    assert_eq!(shared.len(), 6, "{shared:?}");

    let mut copied = BinaryServer::prepare();
    copy(&original.dir().join("rocksdb"), &copied.dir().join("rocksdb"));
    copied.change_setting("storage.default_location", &location.display().to_string());
    copied.restart().await;
    original.restart().await;
    assert!(copied.logs().contains("the data directory is a copy"), "{}", copied.logs());
    assert!(!original.logs().contains("the data directory is a copy"), "{}", original.logs());

    let mut expected = Vec::new();
    for (server, word) in [(&original, "original"), (&copied, "copied")] {
        let admin = server.admin();
        let ann = admin.as_user("ann");
        ann.sql(format!("INSERT INTO t VALUES (10, '{word}'); UPDATE t SET v = '{word}' WHERE id = 2")).await.ok();
        ann.sql("DELETE FROM t WHERE id = 3").await.ok();
        admin.sql(format!("INSERT INTO s VALUES (10, '{word}'); UPDATE s SET v = '{word}' WHERE id <= 2")).await.ok();
        admin.sql("FLUSH ALL TABLES").await.ok();
        ann.sql(format!("UPDATE t SET v = '{word} again' WHERE id = 10")).await.ok();
        admin.sql("FLUSH ALL TABLES").await.ok();
        let of_ann = as_rows(&[(1, "one"), (2, word), (10, &format!("{word} again"))]);
        expected.push((of_ann, as_rows(&[(1, word), (2, word), (3, "three"), (4, "four"), (10, word)])));
    }
    let of_both = segments(&location);
    assert!(of_both.is_superset(&shared) && of_both.len() > shared.len() + 4, "{of_both:?}");
    original.admin().sql("DROP TABLE for_one").await.ok();
    copied.admin().sql("DROP TABLE for_other").await.ok();
    sweep(&original, &location, "swept").await;
    sweep(&copied, &location, "swept").await;

    for round in 0..2 {
        assert!(segments(&location).is_superset(&of_both), "a file is gone, round {round}");
        for (server, expected) in [&original, &copied].into_iter().zip(&expected) {
            assert_eq!(rows(server, "ann").await, *expected, "round {round}");
            let of_bob = as_rows(&[(1, "one"), (2, "two"), (3, "three")]);
            assert_eq!(rows(server, "bob").await.0, of_bob, "round {round}");
        }
        for (server, table) in [(&original, "for_other"), (&copied, "for_one")] {
            assert_eq!(server.admin().sql(format!("SELECT v FROM {table}")).await.success().scalar(), json!("kept"));
        }
        original.restart().await;
        assert_eq!(copied.terminate().await.code(), Some(0));
        copied.restart().await;
        sweep(&original, &location, "swept").await;
        sweep(&copied, &location, "swept").await;
    }
    assert_eq!(copied.logs().matches("the data directory is a copy").count(), 1, "it is one once");

    // Whole tables of both, dropped on both sides: what only one has goes, what both had stays.
    original.admin().sql("DROP TABLE t").await.ok();
    copied.admin().sql("DROP TABLE s").await.ok();
    sweep(&original, &location, "swept").await;
    sweep(&copied, &location, "swept").await;
    let left = segments(&location);
    assert!(left.is_superset(&shared), "{left:?}");
    assert!(left.len() < of_both.len(), "each deletes what is its own");
    assert_eq!(rows_of(&copied, "t").await, expected[1].0);
    assert_eq!(rows_of(&original, "s").await, expected[0].1);
}

async fn rows_of(server: &BinaryServer, table: &str) -> Vec<Vec<Value>> {
    let sql = format!("SELECT id, v FROM {table} ORDER BY id");
    server.admin().as_user("ann").sql(sql).await.success().values()
}

/// A directory that is renamed is no copy: its files go as before.
#[tokio::test]
async fn a_data_directory_that_moved_deletes_its_garbage() {
    let mut server = BinaryServer::start().await;
    let location = server.dir().join("storage");
    let admin = server.admin();
    admin.sql("CREATE SHARED TABLE s (id BIGINT PRIMARY KEY); INSERT INTO s VALUES (1)").await.ok();
    admin.sql("FLUSH TABLE s").await.ok();
    assert_eq!(segments(&location).len(), 1);
    assert_eq!(server.terminate().await.code(), Some(0));
    let moved = server.dir().join("moved");
    fs::rename(server.dir().join("rocksdb"), &moved).expect("renamed");
    server.change_setting("storage.rocksdb_dir", &moved.display().to_string());
    server.restart().await;
    admin.sql("DROP TABLE s").await.ok();
    eventually("its file goes", LIMIT, async || segments(&location).is_empty().then_some(())).await;
    assert!(!server.logs().contains("the data directory is a copy"), "{}", server.logs());
}
