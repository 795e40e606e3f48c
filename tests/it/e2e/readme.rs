//! The README's first example works as it stands, on the settings that come along.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use kalamdb_tests::{Client, SECRET, eventually, free_port, program, repository_path};

/// A process that ends with its owner.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The shell blocks of a section of a page.
fn examples(page: &str, section: &str) -> String {
    let text = std::fs::read_to_string(repository_path(page)).expect("a readable page");
    let start = text.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("{page} has no section {section:?}"));
    let body = &text[start + 4..];
    let body = &body[..body.find("\n## ").unwrap_or(body.len())];
    body.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect()
}

/// The server as `make run` starts it, in a directory of its own and on a port of its own.
async fn serve(dir: &Path, port: u16) -> Killed {
    let mut command = Command::new(program("kalamdb-server"));
    command
        .current_dir(dir)
        .args(["serve", "--config"])
        .arg(repository_path("settings.toml").canonicalize().expect("settings.toml is there"))
        .env("KALAMDB__SERVER__PORT", port.to_string())
        .env_remove("KALAMDB__AUTH__JWT_SECRET");
    let mut child = Killed(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    let probe = Client::new(&format!("http://127.0.0.1:{port}"), SECRET);
    eventually("the server is ready", Duration::from_secs(60), async || {
        let ended = child.0.try_wait().expect("a child that can be waited for");
        assert!(ended.is_none(), "the server ended: {ended:?}");
        probe.is_ready().await.then_some(())
    })
    .await;
    child
}

/// Runs shell text with the server's real port and gives its output's lines as JSON.
async fn run(dir: &Path, port: u16, shell: &str) -> Vec<Value> {
    let shell = shell.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    // Each answer on a line of its own.
    let shell = shell.replace("curl -sS ", "curl -sS -w '\\n' ");
    let mut command = Command::new("sh");
    command.current_dir(dir).args(["-euc", &shell]);
    let output = command.output().expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shell}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[tokio::test]
async fn the_first_example_works_pasted() {
    let dir = TempDir::new().expect("a temporary directory");
    let port = free_port();
    let _server = serve(dir.path(), port).await;
    let shell = examples("README.md", "One query");
    // Twice: whoever pastes it again gets no error.
    for round in 1..=2_usize {
        let answers = run(dir.path(), port, &shell).await;
        assert_eq!(answers.len(), 3, "{answers:?}");
        for answer in &answers {
            assert_eq!(answer["status"], "success", "{answer}");
        }
        let rows = answers[2]["results"][0]["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), round, "{rows:?}");
        assert!(rows.iter().all(|row| row["body"] == "hello"), "{rows:?}");
    }
    let data = dir.path().join("data");
    assert!(data.is_dir(), "the README says that files lie under ./data");
}

#[tokio::test]
async fn the_quickstarts_requests_work_in_order() {
    let dir = TempDir::new().expect("a temporary directory");
    let port = free_port();
    let _server = serve(dir.path(), port).await;
    run(dir.path(), port, &examples("README.md", "One query")).await;
    for section in ["Requests and answers", "Another user's partition"] {
        let answers = run(dir.path(), port, &examples("docs/quickstart/README.md", section)).await;
        assert!(!answers.is_empty(), "{section}");
        for answer in answers {
            assert_eq!(answer["status"], "success", "{section}: {answer}");
        }
    }
    let page = std::fs::read_to_string(repository_path("docs/quickstart/README.md")).expect("a readable page");
    let statements: Vec<&str> =
        page.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sql\n")).collect();
    assert!(!statements.is_empty());
    let caller = Client::new(&format!("http://127.0.0.1:{port}"), SECRET);
    for sql in statements {
        caller.sql(sql).await.ok();
    }
}
