//! The README's example in a real browser: headless Chromium on a page of its own.
//!
//! `.ci/setup.sh test` installs Chromium where it can; `KALAMDB_CHROMIUM` names another one. Where there is none the test
//! says so and passes, except where `CI` is set: there nobody would notice.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use kalamdb_tests::{Client, Role, TestServer, repository_path, token};

/// For a browser to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn find_browser() -> Option<PathBuf> {
    let named = std::env::var_os("KALAMDB_CHROMIUM").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mac = PathBuf::from("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).flat_map(|directory| NAMES.map(|name| directory.join(name)));
    named.into_iter().chain(in_path).chain([mac]).find(runs)
}

/// Some systems have a program of that name that only says where the browser is to be had.
fn runs(path: &PathBuf) -> bool {
    let version = Command::new(path).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    version.is_ok_and(|output| output.status.success())
}

/// A browser on a page, gone with its owner.
struct Browser {
    child: Child,
    _profile: TempDir,
}

impl Browser {
    fn open(program: &PathBuf, url: &str) -> Self {
        let profile = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The README's script, for a server's WebSocket address.
fn example(address: &str) -> String {
    let readme = std::fs::read_to_string(repository_path("README.md")).expect("a readable page");
    let mut scripts = readme.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("js\n"));
    let script = scripts.next().expect("the README has a script");
    let lines = script.lines().count();
    assert!(lines <= 10, "ten lines of JavaScript, not {lines}");
    let shown = "ws://127.0.0.1:8080/ws";
    assert!(script.contains(shown), "{script}");
    script.replace(shown, address)
}

/// A page with the script, which tells what is to be seen on it.
fn page(script: &str) -> String {
    let tell = "new MutationObserver(() => fetch('/seen', { method: 'POST', body: document.body.innerText }))
        .observe(document.body, { childList: true, characterData: true, subtree: true });";
    format!("<!doctype html><meta charset=\"utf-8\"><body></body><script>{script}\n{tell}</script>")
}

/// Serves one page, and gives what its reader says it sees.
async fn serve(listener: TcpListener, page: String, seen: mpsc::UnboundedSender<String>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a listener");
        // A browser opens connections ahead of their use: none may hold up the others.
        let (page, seen) = (page.clone(), seen.clone());
        #[expect(clippy::disallowed_methods, reason = "a panic shows as a page that says nothing")]
        tokio::spawn(async move { answer(stream, &page, &seen).await });
    }
}

async fn answer(mut stream: TcpStream, page: &str, seen: &mpsc::UnboundedSender<String>) -> Option<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        stream.read_buf(&mut bytes).await.ok().filter(|&read| read > 0)?;
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            bytes.drain(..end + 4);
            break (head, length);
        }
    };
    while bytes.len() < length {
        stream.read_buf(&mut bytes).await.ok().filter(|&read| read > 0)?;
    }
    let body = if head.starts_with("get / ") { page } else { "" };
    if head.starts_with("post /seen ") {
        seen.send(String::from_utf8_lossy(&bytes).into_owned()).ok()?;
    }
    let length = body.len();
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.ok()
}

/// Opens the example, and goes through insert, update and delete by `client`, whose rows the page is to show.
async fn play(browser: &PathBuf, address: &str, client: &Client) {
    client.sql("INSERT INTO chat.messages (id, body) VALUES (1, 'hello'), (2, 'is anybody there?')").await.ok();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (seen, mut told) = mpsc::unbounded_channel();
    let session = async {
        let _browser = Browser::open(browser, &url);
        let mut shows = async |expected: &str| {
            let mut last = None;
            let waiting = timeout(PATIENCE, async {
                while last.as_deref() != Some(expected) {
                    last = told.recv().await;
                }
            });
            assert!(waiting.await.is_ok(), "expected {expected:?}, the page shows {last:?}");
        };
        shows("hello\nis anybody there?").await;
        client.sql("INSERT INTO chat.messages (id, body) VALUES (3, 'yes: жанна \u{1F600}')").await.ok();
        shows("hello\nis anybody there?\nyes: жанна \u{1F600}").await;
        client.sql("UPDATE chat.messages SET body = 'good morning' WHERE id = 1").await.ok();
        shows("good morning\nis anybody there?\nyes: жанна \u{1F600}").await;
        client.sql("DELETE FROM chat.messages WHERE id > 1").await.ok();
        shows("good morning").await;
    };
    tokio::select! {
        () = serve(listener, page(&example(address)), seen) => unreachable!("for ever"),
        () = session => {}
    }
}

#[tokio::test]
async fn the_readmes_example_shows_what_happens() {
    let Some(browser) = find_browser() else {
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!is_ci, "no Chromium found, and CI is set: the example is not tried");
        eprintln!("skipped: no Chromium found; `make setup` installs it where it can, KALAMDB_CHROMIUM names one");
        return;
    };
    let server = TestServer::start_with(&[("storage.backend", "memory"), ("auth.localhost_bypass", "true")]).await;
    let table = "CREATE NAMESPACE chat; CREATE USER TABLE chat.messages (id BIGINT PRIMARY KEY DEFAULT SNOWFLAKE_ID(), \
        body TEXT NOT NULL, sent TIMESTAMP DEFAULT NOW())";
    server.admin().sql(table).await.ok();
    let address = format!("{}/ws", server.base().replace("http://", "ws://"));
    // By the localhost rule, and as somebody else with a token in the address.
    play(&browser, &address, &server.anonymous()).await;
    let token = token("ann", Role::User, server.secret());
    play(&browser, &format!("{address}?token={token}"), &server.user("ann")).await;
}
