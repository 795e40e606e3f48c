//! `kalamdb-bench load`: fills, verifies, notices what is missing, and can be repeated.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use kalamdb_tests::{BinaryServer, Client, Role, SECRET, TestServer, program, token, unique};

/// Users of the generated data; ids that would be mixed up by careless paths and keys.
pub(super) const USERS: &[&str] = &["ann", "anna", "../../etc", "жанна", "a b", "%2e"];
const COMMITS: usize = 300;
const CHANGES: usize = 500;

fn write_lines(path: &Path, lines: impl Iterator<Item = Value>) {
    let mut encoder = GzEncoder::new(File::create(path).expect("a new file"), Compression::fast());
    for line in lines {
        writeln!(encoder, "{line}").expect("room for a small file");
    }
    encoder.finish().expect("room for a small file");
}

/// Two small files in the shape of the real ones.
pub(super) struct Files {
    _dir: TempDir,
    commits: PathBuf,
    changes: PathBuf,
}

impl Files {
    pub(super) fn generate() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let (commits, changes) = (dir.path().join("commits.ndjson.gz"), dir.path().join("changes.ndjson.gz"));
        // A few users write most of it.
        let user = |number: usize| USERS[(number * number / 7) % USERS.len()];
        write_lines(
            &commits,
            (1..=COMMITS).map(|id| {
                json!({"user_id": user(id), "id": id, "commit": format!("{:016x}", id * 7919),
                    "created_at": format!("2013-04-{:02}T14:33:{:02}Z", 1 + id % 28, id % 60),
                    "subject": format!("subject {id} 'quoted' \"twice\" ж"), "body": "body\n".repeat(id % 9)})
            }),
        );
        let kinds = ["add", "modify", "delete", "type"];
        write_lines(
            &changes,
            (1..=CHANGES).map(|id| {
                let commit = 1 + id % COMMITS;
                json!({"user_id": user(commit), "id": id, "commit_id": commit, "path": format!("src/{}.rs", id % 40),
                    "kind": kinds[id % 4]})
            }),
        );
        Self { _dir: dir, commits, changes }
    }
}

/// One run of the program.
pub(super) struct Run {
    output: Output,
}

impl Run {
    pub(super) fn new(base: &str, namespace: &str, files: &Files, more: &[&str]) -> Self {
        let mut command = std::process::Command::new(program("kalamdb-bench"));
        command
            .args(["load", "--json", "--url", base, "--namespace", namespace, "--batch", "37"])
            .arg("--commits")
            .arg(&files.commits)
            .arg("--changes")
            .arg(&files.changes)
            .args(more)
            .env_remove("KALAMDB__AUTH__JWT_SECRET");
        Self { output: command.output().unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("{error}: {:?}", self.output))
    }

    #[track_caller]
    pub(super) fn verified(&self) {
        assert_eq!(self.output.status.code(), Some(0), "{:?}", self.output);
        let report = self.report();
        assert_eq!(report["differences"], json!([]));
        assert_eq!(report["users"], json!(USERS.len()));
    }

    /// Asserts that the run found differences; gives them.
    #[track_caller]
    fn differences(&self) -> Vec<String> {
        assert_eq!(self.output.status.code(), Some(1), "{:?}", self.output);
        let found = self.report()["differences"].clone();
        let texts: Vec<String> =
            found.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect();
        assert!(!texts.is_empty(), "{:?}", self.output);
        texts
    }
}

#[tokio::test]
async fn a_load_is_verified_and_can_be_repeated() {
    let (server, files) = (TestServer::start().await, Files::generate());
    let secret = ["--secret", server.secret()];
    let load = Run::new(server.base(), server.namespace(), &files, &secret);
    load.verified();
    let phases = load.report()["phases"].clone();
    let rows: Vec<&Value> = phases.as_array().into_iter().flatten().map(|phase| &phase["rows"]).collect();
    assert!(rows.contains(&&json!(COMMITS)) && rows.contains(&&json!(CHANGES)), "{phases}");
    let shared = server.admin().sql("SELECT count(*) FROM shared_changes").await.success().number();
    assert_eq!(usize::try_from(shared), Ok(CHANGES));

    let verify_only = [&secret[..], &["--verify-only"]].concat();
    Run::new(server.base(), server.namespace(), &files, &verify_only).verified();
    // Dropped and loaded again: nothing is there twice.
    Run::new(server.base(), server.namespace(), &files, &secret).verified();
}

#[tokio::test]
async fn every_kind_of_damage_is_named() {
    let (server, files) = (TestServer::start().await, Files::generate());
    let secret = ["--secret", server.secret()];
    let verify_only = [&secret[..], &["--verify-only"]].concat();
    Run::new(server.base(), server.namespace(), &files, &secret).verified();

    let verify = || Run::new(server.base(), server.namespace(), &files, &verify_only);
    let anna = server.user("anna");
    let id = anna.sql("SELECT max(id) FROM commits").await.success().number();
    anna.sql_params("UPDATE commits SET body = body || '!' WHERE id = $1", json!([id])).await.ok();
    let found = verify().differences();
    assert!(found.iter().all(|text| text.starts_with("commits of anna")), "{found:?}");
    anna.sql_params("DELETE FROM commits WHERE id = $1", json!([id])).await.ok();
    assert!(verify().differences().iter().any(|text| text.contains("commits of anna")));

    server.service().sql("UPDATE shared_changes SET user_id = 'anna' WHERE id = 1").await.ok();
    let found = verify().differences();
    assert!(found.iter().any(|text| text.contains("shared_changes") && text.contains("anna")), "{found:?}");
    server.user("nobody of this data").sql("INSERT INTO changes VALUES (1, 1, 'p', 'add')").await.ok();
    let found = verify().differences();
    assert!(found.iter().any(|text| text.contains("a user without rows")), "{found:?}");
}

#[tokio::test]
async fn one_token_names_every_user() {
    let (server, files) = (TestServer::start().await, Files::generate());
    let token = token("loader", Role::Dba, server.secret());
    Run::new(server.base(), server.namespace(), &files, &["--token", &token, "--limit", "100"]).verified_limited();
    // The rows are the users' own.
    let answer = server.user("жанна").sql("SELECT count(*) FROM commits").await.success();
    assert!(answer.number() > 0);
    assert_eq!(server.user("loader").sql("SELECT count(*) FROM commits").await.success().number(), 0);
}

impl Run {
    /// Like [`Run::verified`] where a limit may leave users out.
    #[track_caller]
    fn verified_limited(&self) {
        assert_eq!(self.output.status.code(), Some(0), "{:?}", self.output);
        assert_eq!(self.report()["differences"], json!([]));
    }
}

#[tokio::test]
async fn a_load_survives_stop_and_kill() {
    let mut server = BinaryServer::start_with(&[("auth.localhost_bypass", "true")]).await;
    let (files, namespace) = (Files::generate(), unique("load"));
    // By the localhost rule, without any token.
    Run::new(&server.url(), &namespace, &files, &[]).verified();
    server.kill9();
    server.restart().await;
    Run::new(&server.url(), &namespace, &files, &["--secret", SECRET, "--verify-only"]).verified();
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", server.logs());
    server.restart().await;
    Run::new(&server.url(), &namespace, &files, &["--verify-only"]).verified();
}

#[tokio::test]
async fn what_cannot_be_loaded_is_said() {
    let server = TestServer::start().await;
    let mut files = Files::generate();
    let refused = Run::new(server.base(), server.namespace(), &files, &["--secret", &"wrong ".repeat(8)]);
    assert_eq!(refused.output.status.code(), Some(1), "{:?}", refused.output);
    let said = String::from_utf8_lossy(&refused.output.stderr).into_owned();
    assert!(said.contains("UNAUTHORIZED"), "{said}");
    assert!(!said.contains("wrong wrong"), "a secret in {said:?}");

    let nowhere = Run::new("http://127.0.0.1:9", server.namespace(), &files, &["--secret", server.secret()]);
    assert_eq!(nowhere.output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.output.stderr).contains("no answer"), "{:?}", nowhere.output);

    files.commits = files.commits.with_file_name("missing.gz");
    let missing = Run::new(server.base(), server.namespace(), &files, &["--secret", server.secret()]);
    assert_eq!(missing.output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.output.stderr).contains("missing.gz"), "{:?}", missing.output);
    // Nothing was made.
    let caller: Client = server.admin();
    assert_eq!(caller.sql("SHOW TABLES").await.success().rows().len(), 0);
}
