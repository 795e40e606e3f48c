//! A server in this process, or the one that `KALAMDB_TEST_URL` names.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use kalamdb_commons::settings::{SettingKey, SettingValue};
use kalamdb_server::Settings;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{Client, Role, SECRET, unique};

/// How long a stop may take before it is a finding.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A server to test against, and a namespace in it that nobody else uses.
///
/// One that runs in this process has a thread and a runtime of its own, so that it also serves while a
/// test's own thread is busy; it is stopped as an operator would stop it when the value is dropped.
#[derive(Debug)]
pub struct TestServer {
    base: String,
    secret: String,
    namespace: String,
    own: Option<OwnServer>,
}

impl TestServer {
    /// A server over an empty data directory, or the one of `KALAMDB_TEST_URL`.
    pub async fn start() -> Self {
        match external() {
            Some((base, secret)) => Self { base, secret, namespace: String::new(), own: None }.with_namespace().await,
            None => Self::start_with(&[]).await,
        }
    }

    /// A server that keeps everything in memory, or the one of `KALAMDB_TEST_URL`.
    pub async fn start_in_memory() -> Self {
        match external() {
            Some(_) => Self::start().await,
            None => Self::start_with(&[("storage.backend", "memory")]).await,
        }
    }

    /// A server in this process with these settings, whatever the environment says.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let own = OwnServer::start(settings);
        let base = format!("http://{}", own.address);
        Self { base, secret: SECRET.to_owned(), namespace: String::new(), own: Some(own) }.with_namespace().await
    }

    async fn with_namespace(mut self) -> Self {
        self.namespace = unique("test");
        self.admin().in_namespace("default").sql(format!("CREATE NAMESPACE {}", self.namespace)).await.ok();
        self
    }

    /// The server's address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the server was there before the test and outlives it.
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.own.is_none()
    }

    /// The secret it checks tokens with.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The test's own namespace: the default of all callers below.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A caller without a token.
    #[must_use]
    pub fn anonymous(&self) -> Client {
        Client::new(&self.base, &self.secret).in_namespace(&self.namespace)
    }

    /// A caller with this role.
    #[must_use]
    pub fn as_role(&self, user: &str, role: Role) -> Client {
        self.anonymous().as_role(user, role)
    }

    /// A caller who may do everything.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.as_role("admin", Role::Dba)
    }

    /// A caller who may act for any user.
    #[must_use]
    pub fn service(&self) -> Client {
        self.as_role("service", Role::Service)
    }

    /// A caller with the role `user`.
    #[must_use]
    pub fn user(&self, user: &str) -> Client {
        self.as_role(user, Role::User)
    }
}

/// The server of `KALAMDB_TEST_URL` and its secret.
fn external() -> Option<(String, String)> {
    let base = std::env::var("KALAMDB_TEST_URL").ok().filter(|url| !url.is_empty())?;
    let secret = std::env::var("KALAMDB_TEST_SECRET")
        .expect("KALAMDB_TEST_SECRET: the secret of the server that KALAMDB_TEST_URL names");
    Some((base, secret))
}

/// Fields are dropped in order: the server has stopped before its directory goes.
#[derive(Debug)]
struct OwnServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    stopped: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
    _dir: TempDir,
}

impl OwnServer {
    fn start(changed: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let settings = settings(&dir, changed);
        let (stop, stop_asked) = oneshot::channel();
        let (tell_address, address) = mpsc::channel();
        let (tell_stopped, stopped) = mpsc::channel();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("test-server")
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let server = kalamdb_server::start(settings, listener).await.expect("the server starts");
                tell_address.send(server.address()).expect("the test waits for it");
                // A sender that is gone asks for a stop too.
                let _ = stop_asked.await;
                let _ = server.stop().await;
            });
            let _ = tell_stopped.send(());
        };
        let thread = std::thread::Builder::new().name("test-server".into()).spawn(serve).expect("a thread");
        let address = address.recv().expect("the server started; its panic says why not");
        Self { address, stop: Some(stop), stopped, thread: Some(thread), _dir: dir }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may have ended by a panic, which the join below reports.
            let _ = stop.send(());
        }
        // Also after a failure: a process must not end under a backend that is at work.
        let outcome = self.stopped.recv_timeout(STOP_LIMIT);
        if std::thread::panicking() {
            return;
        }
        assert!(!matches!(outcome, Err(mpsc::RecvTimeoutError::Timeout)), "the server did not stop in {STOP_LIMIT:?}");
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server's thread");
        }
    }
}

fn settings(dir: &TempDir, changed: &[(&str, &str)]) -> Settings {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (rocksdb_dir, location) = (path("rocksdb"), path("storage"));
    let fixed = [
        ("auth.jwt_secret", SECRET),
        ("storage.rocksdb_dir", rocksdb_dir.as_str()),
        ("storage.default_location", location.as_str()),
        ("logging.level", "warn"),
    ];
    let mut settings = Settings::default();
    for (name, value) in fixed.iter().chain(changed) {
        let key = SettingKey::find(name).unwrap_or_else(|| panic!("{name} is no setting"));
        let fits = key.set(&mut settings, &SettingValue::Untyped((*value).to_owned()));
        assert!(fits, "{name} = {value}: expected {}", key.allowed);
    }
    settings
}
