//! Segments seen by somebody else: they lie where the templates say, and a reader that is not ours finds every row.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use kalamdb_tests::{Client, TestServer, repository_path};
use serde_json::{Value, json};

use super::load::{Files, Run, USERS};

/// A user's name in a path.
const ENCODED: [(&str, &str); 6] = [
    ("ann", "ann"),
    ("anna", "anna"),
    ("../../etc", "..%2F..%2Fetc"),
    ("жанна", "%D0%B6%D0%B0%D0%BD%D0%BD%D0%B0"),
    ("a b", "a%20b"),
    ("%2e", "%252e"),
];

/// Rows of one partition: where they have to be, and who may ask for them.
struct Partition {
    directory: PathBuf,
    table: &'static str,
    user: &'static str,
    caller: Client,
}

fn partitions(server: &TestServer) -> Vec<Partition> {
    let namespace = Path::new(server.namespace());
    let of_user = |table: &'static str| {
        ENCODED.map(|(user, encoded)| Partition {
            directory: namespace.join("users").join(encoded).join(table),
            table,
            user,
            caller: server.user(user),
        })
    };
    let shared =
        |table: &'static str| Partition { directory: namespace.join(table), table, user: "", caller: server.service() };
    let of_users = of_user("commits").into_iter().chain(of_user("changes"));
    of_users.chain([shared("shared_commits"), shared("shared_changes")]).collect()
}

/// Every file below a directory, relative to `root`, by the directory that it is in.
fn files(root: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, Vec<String>>) {
    for entry in std::fs::read_dir(directory).expect("a readable directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name in ASCII").to_owned();
            let directory = directory.strip_prefix(root).expect("below the root").to_owned();
            found.entry(directory).or_default().push(name);
        }
    }
}

fn has_reader() -> bool {
    let tried = Command::new("python3").args(["-c", "import pyarrow.parquet"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// What the other reader finds: the file's metadata, and its rows.
fn read(file: &Path) -> (Value, Vec<Value>) {
    let mut command = Command::new("python3");
    command.arg(repository_path("tests/it/outside/rows.py")).arg(file);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let mut lines =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let metadata = lines.next().expect("a first line");
    (metadata, lines.collect())
}

#[tokio::test]
async fn segments_lie_where_the_templates_say_and_others_can_read_them() {
    let storage = tempfile::tempdir().expect("a directory");
    let location = storage.path().join("storage");
    let settings = [
        ("storage.default_location", location.display().to_string()),
        // Each table once, when it is told to.
        ("flush.default_interval", "7d".to_owned()),
        ("flush.default_rows", "1000000000".to_owned()),
    ];
    let settings = settings.each_ref().map(|(key, value)| (*key, value.as_str()));
    let server = TestServer::start_with(&settings).await;
    let data = Files::generate();
    Run::new(server.base(), server.namespace(), &data, &["--secret", server.secret()]).verified();
    assert_eq!(ENCODED.map(|(user, _)| user).as_slice(), USERS);
    let flushed = server.service().sql("FLUSH ALL TABLES").await.success();
    assert_eq!(flushed.column("status"), vec![json!("flushed"); 4], "{}", flushed.text);
    Run::new(server.base(), server.namespace(), &data, &["--secret", server.secret(), "--verify-only"]).verified();

    let mut found = BTreeMap::new();
    files(&location, &location, &mut found);
    let partitions = partitions(&server);
    let expected: BTreeSet<&PathBuf> = partitions.iter().map(|partition| &partition.directory).collect();
    assert_eq!(found.keys().collect::<BTreeSet<_>>(), expected);
    for (directory, names) in &found {
        let [name] = names.as_slice() else { panic!("{}: {names:?}", directory.display()) };
        let ulid = name.strip_suffix(".parquet").unwrap_or_default();
        assert!(ulid.len() == 26 && ulid.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
    }

    if !has_reader() {
        eprintln!("no rows were compared: python3 has no pyarrow here");
        return;
    }
    for Partition { directory, table, user, caller } in partitions {
        let file = location.join(&directory).join(&found[&directory][0]);
        let (metadata, rows) = read(&file);
        let of_footer = |name: &str| metadata[format!("kalamdb.{name}")].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            [of_footer("namespace"), of_footer("table"), of_footer("user_id"), of_footer("rows")],
            [server.namespace(), table, user, rows.len().to_string().as_str()],
            "{}",
            file.display()
        );
        let all = format!("SELECT *, _seq, _updated, _deleted FROM {table} ORDER BY id");
        let expected = caller.sql(all).await.success().rows().to_vec();
        assert!(!expected.is_empty(), "{table} of {user:?}");
        assert_eq!(rows, expected, "{table} of {user:?}");
    }
}
