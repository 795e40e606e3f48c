//! The real server program over a data directory of its own: to stop, kill and start again.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Client, Role, SECRET, eventually};

/// Where the build put the program of this name: beside the running test.
///
/// # Panics
/// When it is not there, saying how to build it.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile_dir = test.parent().and_then(Path::parent).expect("tests lie in target/<profile>/deps");
    let path = profile_dir.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is missing: build it first with `cargo build --workspace --all-targets` (`make test` does)",
        path.display()
    );
    path
}

/// The path of the repository's root, for tests that read its files.
#[must_use]
pub fn repository_path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative)
}

/// A `kalamdb-server` process. Dropping it kills the process and removes its files.
#[derive(Debug)]
pub struct BinaryServer {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
    settings: Vec<(String, String)>,
    program: PathBuf,
    /// Another user than the test's own.
    #[cfg(unix)]
    uid: Option<u32>,
}

impl BinaryServer {
    /// An empty directory and a port; [`BinaryServer::restart`] starts the server.
    #[must_use]
    pub fn prepare() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        Self {
            dir,
            port: free_port(),
            child: None,
            settings: Vec::new(),
            program: program("kalamdb-server"),
            #[cfg(unix)]
            uid: None,
        }
    }

    /// From the next start on the server runs as a user without privileges, whom permissions stop; where the
    /// test itself runs as one, that is so already. The server's directory becomes that user's.
    #[cfg(unix)]
    pub fn drop_privileges(&mut self) {
        const NOBODY: u32 = 65_534;
        let own_files = std::fs::metadata(self.dir.path()).expect("a temporary directory");
        if std::os::unix::fs::MetadataExt::uid(&own_files) != 0 {
            return;
        }
        // The build's directory may be closed to that user.
        let copy = self.dir.path().join("kalamdb-server");
        if std::fs::hard_link(&self.program, &copy).is_err() {
            std::fs::copy(&self.program, &copy).expect("a copy of the program");
        }
        self.program = copy;
        let files = std::fs::read_dir(self.dir.path()).expect("the server's directory");
        for path in files.map(|entry| entry.expect("an entry").path()).chain([self.dir.path().to_owned()]) {
            if path != self.program {
                std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("given to another user");
            }
        }
        self.uid = Some(NOBODY);
    }

    /// Starts a server over an empty directory and waits until it is ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with settings, `("section.key", value)`.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare();
        for (key, value) in settings {
            server.change_setting(key, value);
        }
        server.restart().await;
        server
    }

    /// From its next start on the server has this setting, `"section.key"`.
    pub fn change_setting(&mut self, key: &str, value: &str) {
        let variable = format!("KALAMDB__{}", key.to_uppercase().replace('.', "__"));
        self.settings.retain(|(known, _)| *known != variable);
        self.settings.push((variable, value.to_owned()));
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A caller who may do everything.
    #[must_use]
    pub fn admin(&self) -> Client {
        Client::new(&self.url(), SECRET).as_role("admin", Role::Dba)
    }

    /// The directory with the server's data and its log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The most memory that the process ever had, in bytes; none where the system does not tell.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
        let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kibibytes << 10)
    }

    /// All that the server wrote so far, over all its lives.
    #[must_use]
    pub fn logs(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// The program with this server's settings, to be given arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        #[cfg(unix)]
        if let Some(uid) = self.uid {
            std::os::unix::process::CommandExt::uid(&mut command, uid);
        }
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env("KALAMDB__SERVER__HOST", "127.0.0.1")
            .env("KALAMDB__SERVER__PORT", self.port.to_string())
            .env("KALAMDB__AUTH__JWT_SECRET", SECRET)
            .env("KALAMDB__STORAGE__ROCKSDB_DIR", self.dir.path().join("rocksdb"))
            .env("KALAMDB__STORAGE__DEFAULT_LOCATION", self.dir.path().join("storage"));
        for (key, value) in &self.settings {
            command.env(key, value);
        }
        command
    }

    /// Starts the server over what is there, after making sure that it does not run.
    pub async fn restart(&mut self) {
        self.kill9();
        let log = || -> File {
            OpenOptions::new().create(true).append(true).open(self.log_path()).expect("a writable log file")
        };
        let mut command = self.command();
        command.arg("serve").stdout(log()).stderr(log());
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let probe = Client::new(&self.url(), SECRET);
        eventually("the server is ready", Duration::from_secs(60), async || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                panic!("the server ended with {status}\n{}", self.logs());
            }
            probe.is_ready().await.then_some(())
        })
        .await;
    }

    /// Ends the process at once, as a power cut of the process would.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to stop and waits for its end.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        // The standard library sends no SIGTERM; every shell does.
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", child.id())).status();
        assert!(sent.expect("a shell").success(), "no signal sent");
        eventually("the server stops", Duration::from_secs(60), async || child.try_wait().ok().flatten()).await
    }
}

impl Drop for BinaryServer {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let logs = self.logs();
            let tail: Vec<&str> = logs.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            // A failing test shows what its server said.
            #[expect(clippy::print_stderr, reason = "the test's own output")]
            {
                eprintln!("the server's last lines:\n{}", tail.join("\n"));
            }
        }
    }
}

/// A port that was free a moment ago. It lies below the range that the system gives to outgoing
/// connections, so that a server that is killed finds its port free when it comes back.
#[must_use]
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| rand::random_range(20_000..30_000))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
