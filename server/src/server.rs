//! A running server: from settings and a bound port to its last connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use kalamdb_commons::format_size;
use kalamdb_commons::settings::Settings;
use kalamdb_core::{Engine, EngineArgs, StopReport};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::door::{Connections, Door, accept};
use crate::settings::SettingsError;
use crate::shutdown::{self, Running};
use crate::{BUILD, task};

/// Why a server did not start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// The data cannot be opened, or the actor tree does not come up.
    #[error("{0}")]
    Engine(#[from] kalamdb_core::StartError),
    /// The port cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
}

impl StartError {
    /// What the process ends with: 78 for settings (`EX_CONFIG`), 1 for everything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) => 78,
            Self::Engine(_) | Self::Listen { .. } => 1,
        }
    }
}

/// A server that takes requests. Dropping it closes the door at once; [`RunningServer::stop`] is the way to end it.
pub struct RunningServer {
    address: SocketAddr,
    settings: Arc<Settings>,
    door: Arc<Door>,
    engine: Engine,
    connections: Connections,
    listening: CancellationToken,
    accepting: JoinHandle<bool>,
}

impl fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Opens the data, brings up the actor tree, then lets callers in through `listener`.
///
/// # Errors
/// [`StartError`]; nothing was touched if the settings or the data directory were the reason.
pub async fn start(settings: Settings, listener: TcpListener) -> Result<RunningServer, StartError> {
    settings.check().map_err(SettingsError::new)?;
    let authenticator = Authenticator::from_settings(&settings).map_err(SettingsError::new)?;
    let address =
        listener.local_addr().map_err(|error| StartError::Listen { address: settings.server.host.clone(), error })?;
    let has_key = settings.auth.jwt_secret.is_some() || settings.auth.jwt_public_key_file.is_some();
    if !has_key && !address.ip().to_canonical().is_loopback() {
        // The host was a name that means more than this machine.
        let message = format!(
            "server.host: {address} is beyond loopback, which needs auth.jwt_secret or auth.jwt_public_key_file"
        );
        return Err(SettingsError::new(message).into());
    }

    let settings = Arc::new(settings);
    let engine = Engine::start(EngineArgs { settings: Arc::clone(&settings), build: BUILD }).await?;
    match engine.size_on_disk().await {
        Ok(bytes) => {
            tracing::info!(backend = settings.storage.backend, bytes, size = format_size(bytes), "size on disk")
        }
        Err(error) => tracing::warn!(%error, detail = error.detail, "size on disk is not known"),
    }

    let door = Arc::new(Door::new(Arc::clone(&settings), engine.clone(), authenticator));
    let (connections, listening) = (Connections::default(), CancellationToken::new());
    let loops = TaskTracker::new();
    let accepting = accept(listener, Arc::clone(&door), connections.clone(), listening.clone());
    let accepting = task::spawn(&loops, "accept loop", accepting);
    tracing::info!(%address, "listening");
    Ok(RunningServer { address, settings, door, engine, connections, listening, accepting })
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for an end that nobody asked for, and says what it was.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ended(&mut self) -> String {
        tokio::select! {
            why = self.engine.failed() => why,
            ended = &mut self.accepting => match ended {
                Ok(true) => "the accept loop ended".to_owned(),
                Ok(false) => "the accept loop panicked".to_owned(),
                Err(error) => format!("the accept loop was lost: {error}"),
            },
        }
    }

    /// Stops in the order of [`shutdown::STEPS`], within `server.shutdown_timeout`.
    pub async fn stop(self) -> StopReport {
        let running = Running {
            door: Arc::clone(&self.door),
            engine: self.engine.clone(),
            connections: self.connections.clone(),
            listening: self.listening.clone(),
        };
        shutdown::run(running, self.settings.server.shutdown_timeout).await
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.listening.cancel();
        self.connections.abort();
    }
}
