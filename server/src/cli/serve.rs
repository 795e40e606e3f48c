//! `serve`: from bound port to last signal.

use std::process::ExitCode;
use std::time::Duration;

use kalamdb_server::settings::LoadedSettings;
use kalamdb_server::{BUILD, RunningServer, StartError, listen, logging, start};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::fail;

/// How long blocking work may hold up the end of the process after everything is closed.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Files that the server itself may have open: RocksDB's 512, logs, the listener, and a reserve.
const OWN_FILES: u64 = 800;
/// Where the limit cannot be told.
const FALLBACK_OPEN_FILES: u64 = 1024;

/// Runs a server until a signal ends it.
pub(super) fn run(loaded: LoadedSettings) -> ExitCode {
    let runtime = match build_runtime(loaded.settings.server.workers) {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &format!("cannot start the async runtime: {error}")),
    };
    let code = runtime.block_on(serve(loaded));
    runtime.shutdown_timeout(LAST_WAIT);
    code
}

fn build_runtime(workers: usize) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder.thread_name("kalamdb-door").enable_all().build()
}

/// Raises the limit of open files as far as it goes, and says how many connections it leaves room for: the
/// storage backend must never be the one that is refused a file.
fn connections_that_fit() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(FALLBACK_OPEN_FILES);
    usize::try_from(limit.saturating_sub(OWN_FILES)).unwrap_or(usize::MAX).max(1)
}

async fn serve(mut loaded: LoadedSettings) -> ExitCode {
    let server = &loaded.settings.server;
    // The port first: nothing is opened for a server that cannot be reached.
    let listener = match listen(&server.host, server.port).await {
        Ok(listener) => listener,
        Err(error) => {
            let address = format!("{} port {}", server.host, server.port);
            return fail(1, &StartError::Listen { address, error }.to_string());
        }
    };
    logging::start(&loaded.settings.logging);
    tracing::info!(version = BUILD.version, branch = BUILD.branch, commit = BUILD.commit, "KalamDB starts");
    tracing::info!(sources = loaded.sources(), "settings read");
    let most = connections_that_fit();
    if loaded.settings.server.max_connections > most {
        tracing::warn!(most, "server.max_connections is more than the limit of open files allows");
        loaded.settings.server.max_connections = most;
    }

    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(1, &format!("cannot listen for signals: {error}")),
    };
    let started = tokio::select! {
        started = start(loaded.settings, listener) => started,
        // What is open is safe to leave at any moment.
        (name, _) = signals.next() => {
            tracing::info!(signal = name, "ended while starting");
            std::process::exit(0);
        }
    };
    let mut running = match started {
        Ok(running) => running,
        Err(error) => return fail(error.exit_code(), &error.to_string()),
    };
    tokio::select! {
        (name, _) = signals.next() => tracing::info!(signal = name, "shutting down"),
        why = running.ended() => {
            tracing::error!(why, "the server ends by itself");
            // What still runs may finish, and a signal ends that, too.
            let _ = stop(running, signals).await;
            return fail(1, &why);
        }
    }
    stop(running, signals).await
}

async fn stop(running: RunningServer, mut signals: Signals) -> ExitCode {
    let report = tokio::select! {
        report = running.stop() => report,
        // Hot rows are safe in the backend.
        (name, number) = signals.next() => {
            tracing::warn!(signal = name, "second signal: ended at once");
            std::process::exit(128 + number);
        }
    };
    for warning in &report.warnings {
        tracing::warn!(warning, "not done in time");
    }
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// The signals that mean the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next one's name and number.
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = self.interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        }
    }
}
