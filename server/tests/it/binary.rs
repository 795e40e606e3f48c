//! The program: its exit codes, its one line, its signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Request, SECRET};

/// The program in a directory of its own, with a secret, in memory.
fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kalamdb-server"));
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .env_remove("RUST_LOG")
        .env("KALAMDB__SERVER__PORT", "0")
        .env("KALAMDB__AUTH__JWT_SECRET", SECRET)
        .env("KALAMDB__STORAGE__BACKEND", "memory");
    command
}

fn dir() -> TempDir {
    TempDir::new().expect("a temporary directory")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts the exit code and that standard error is one line with all of `parts`.
#[track_caller]
fn ends_with_one_line(output: &Output, code: i32, parts: &[&str]) {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    assert!(!line.contains(SECRET), "{line}");
}

#[test]
fn wrong_settings_end_the_start_with_78_and_one_line() {
    let dir = dir();
    for (variable, value, parts) in [
        ("KALAMDB__SERVER__PORT", "many", ["server.port", "65535"]),
        ("KALAMDB__SERVER__COLOUR", "red", ["server.colour", "no such key"]),
        ("KALAMDB__AUTH__JWT_SECRET", "short", ["auth.jwt_secret", "32 bytes"]),
        ("KALAMDB__STORAGE__BACKEND", "sled", ["storage.backend", "rocksdb"]),
        ("KALAMDB__AUTH__JWT_PUBLIC_KEY_FILE", "key.pem", ["auth.jwt_public_key_file", "not both"]),
        ("KALAMDB__LOGGING__LEVEL", "loud", ["logging.level", "debug"]),
    ] {
        for arguments in [&[][..], &["serve"], &["--check-config"], &["token", "--user", "ann"]] {
            let output = program(dir.path()).env(variable, value).args(arguments).output().expect("it runs");
            ends_with_one_line(&output, 78, &[&parts[..], &[variable]].concat());
        }
    }
    let output = program(dir.path())
        .env("KALAMDB__SERVER__HOST", "0.0.0.0")
        .env_remove("KALAMDB__AUTH__JWT_SECRET")
        .output()
        .expect("it runs");
    ends_with_one_line(&output, 78, &["server.host", "auth.jwt_secret"]);
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    for (name, says) in [
        ("nowhere.pem", "cannot read"),
        ("rsa_private.pem", "private key"),
        ("p384_public.pem", "no key of a supported kind"),
        ("rsa_1024_public.pem", "1024 bits"),
        ("ed_short_public.pem", "no key of a supported kind"),
        ("certificate.pem", "no public key"),
        ("two_public.pem", "more than one PEM block"),
    ] {
        for arguments in [&["serve"][..], &["--check-config"]] {
            let mut command = program(dir.path());
            command.env_remove("KALAMDB__AUTH__JWT_SECRET").env("KALAMDB__AUTH__JWT_PUBLIC_KEY_FILE", keys.join(name));
            let output = command.args(arguments).output().expect("it runs");
            ends_with_one_line(&output, 78, &["auth.jwt_public_key_file", name, says, "RS256"]);
        }
    }
    let output = program(dir.path()).args(["--config", "missing.toml"]).output().expect("it runs");
    ends_with_one_line(&output, 78, &["missing.toml"]);
    std::fs::write(dir.path().join("settings.toml"), "[server]\nport = \"x\"\n").expect("a writable directory");
    let output = program(dir.path()).env_remove("KALAMDB__SERVER__PORT").output().expect("it runs");
    ends_with_one_line(&output, 78, &["server.port", "settings.toml"]);
}

#[test]
fn settings_can_be_checked_without_a_start() {
    let dir = dir();
    let output = program(dir.path()).arg("--check-config").output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("KALAMDB__AUTH__JWT_SECRET") && !text(&output.stdout).contains(SECRET));
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing was touched");
}

#[test]
fn the_version_names_the_build() {
    let output = program(dir().path()).arg("--version").output().expect("it runs");
    let said = text(&output.stdout);
    assert!(output.status.success() && said.starts_with("kalamdb-server "), "{output:?}");
    assert!(said.contains(env!("CARGO_PKG_VERSION")) && said.contains("branch") && said.contains("commit"), "{said}");
}

#[test]
fn a_wrong_command_line_is_explained() {
    for arguments in [&["fly"][..], &["--colour"], &["token"], &["token", "--user", "ann", "--role", "root"]] {
        let output = program(dir().path()).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("--help"), "{output:?}");
    }
}

#[test]
fn a_port_in_use_ends_the_start_with_one_line_and_nothing_touched() {
    let dir = dir();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let output = program(dir.path())
        .env("KALAMDB__SERVER__PORT", &port)
        .env("KALAMDB__STORAGE__BACKEND", "rocksdb")
        .env("KALAMDB__STORAGE__ROCKSDB_DIR", "data")
        .output()
        .expect("it runs");
    ends_with_one_line(&output, 1, &["cannot listen on", &port]);
    assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing was touched");
}

#[test]
fn a_token_needs_a_secret() {
    let dir = dir();
    let made = program(dir.path()).args(["token", "--user", "ann", "--ttl", "5m"]).output().expect("it runs");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(text(&made.stdout).trim().split('.').count(), 3, "{made:?}");
    let output = program(dir.path())
        .env_remove("KALAMDB__AUTH__JWT_SECRET")
        .args(["token", "--user", "ann"])
        .output()
        .expect("it runs");
    ends_with_one_line(&output, 78, &["auth.jwt_secret"]);
    let output = program(dir.path())
        .env("KALAMDB__AUTH__LOCALHOST_BYPASS", "true")
        .args(["token", "--user", "system"])
        .output()
        .expect("it runs");
    ends_with_one_line(&output, 1, &["auth.localhost_user"]);
}

/// A program that serves, and the log lines read so far.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
    lines: Vec<String>,
    address: SocketAddr,
}

impl Serving {
    /// Starts it and reads its log up to the line that names the address.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("it runs");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut lines = Vec::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("a log") > 0, "ended: {lines:?}");
            lines.push(line);
            let line = lines.last().expect("just read");
            if line.contains("listening") {
                let address = line.split(['=', '"', ' ', ',', '}']).find_map(|word| word.trim().parse().ok());
                break address.unwrap_or_else(|| panic!("no address in {line:?}"));
            }
        };
        Self { child, log, lines, address }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.expect("a shell").success());
    }

    /// Waits for the end; gives the exit code and the whole log.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("a log");
        let status = self.child.wait().expect("a child");
        (status.code(), self.lines.concat() + &rest)
    }
}

#[tokio::test]
async fn signals_end_the_program_in_order() {
    for signal in ["TERM", "INT"] {
        let dir = dir();
        let serving = Serving::start(&mut program(dir.path()));
        assert_eq!(Request::new("GET", "/ready").ask(serving.address).await.status, 200);
        serving.signal(signal);
        let (code, log) = serving.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopped"), "{log}");
    }
}

#[tokio::test]
async fn the_log_begins_with_the_build_and_holds_no_secret() {
    let dir = dir();
    let serving = Serving::start(
        program(dir.path()).env("KALAMDB__LOGGING__FORMAT", "json").env("KALAMDB__LOGGING__LEVEL", "debug"),
    );
    let made = program(dir.path()).args(["token", "--user", "ann"]).output().expect("it runs");
    let token = text(&made.stdout).trim().to_owned();
    Request::sql("SELECT 1").with_token(&token).ask(serving.address).await.succeeds();
    Request::sql("SELECT 1").with_token(&format!("{token}x")).ask(serving.address).await.fails(401, "UNAUTHORIZED");
    Request::new("GET", &format!("/ready?token={token}")).ask(serving.address).await;
    serving.signal("TERM");
    let (code, log) = serving.end();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert_eq!(lines[0]["version"], env!("CARGO_PKG_VERSION"), "{log}");
    assert!(lines[0]["branch"].is_string() && lines[0]["commit"].is_string(), "{log}");
    assert!(lines[1]["sources"].as_str().is_some_and(|sources| sources.contains("KALAMDB__AUTH__JWT_SECRET")), "{log}");
    assert!(lines.iter().any(|line| line["message"] == "size on disk"), "{log}");
    assert!(!log.contains(SECRET), "the secret is in the log");
    assert!(!log.contains(&token), "a token is in the log");
}

#[tokio::test]
async fn healthcheck_asks_the_configured_server() {
    let dir = dir();
    let serving = Serving::start(&mut program(dir.path()));
    let check = |port: u16| {
        let mut command = program(dir.path());
        command.env("KALAMDB__SERVER__PORT", port.to_string()).arg("healthcheck").output().expect("it runs")
    };
    let healthy = check(serving.address.port());
    assert_eq!(healthy.status.code(), Some(0), "{healthy:?}");
    serving.signal("TERM");
    assert_eq!(serving.end().0, Some(0));
    // Bound, so that nobody else takes it, and never listening.
    let taken = tokio::net::TcpSocket::new_v4().expect("a socket");
    taken.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    ends_with_one_line(&check(taken.local_addr().expect("it").port()), 1, &["does not answer"]);
}
