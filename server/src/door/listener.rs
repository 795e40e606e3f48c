//! The accept loop: as many connections as allowed, each in a task of its own.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Door;
use super::connection::{ConnectionArgs, serve};
use super::service::Service;
use super::socket::{self, Upgraded};
use crate::task;

/// The wait after a failed accept: first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// All connections, and the ways to end them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connections {
    tasks: TaskTracker,
    finish: CancellationToken,
    abort: CancellationToken,
}

impl Connections {
    /// Lets each connection finish its request and closes it; what is still open at `deadline` is cut. Says how many were.
    pub(crate) async fn finish(&self, deadline: Instant) -> usize {
        self.finish.cancel();
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_ok() {
            return 0;
        }
        let cut = self.tasks.len();
        self.abort.cancel();
        self.tasks.wait().await;
        cut
    }

    /// Cuts all connections.
    pub(crate) fn abort(&self) {
        self.abort.cancel();
    }
}

/// Accepts connections until `stop`; the listener is closed when the call ends.
pub(crate) async fn accept(listener: TcpListener, door: Arc<Door>, connections: Connections, stop: CancellationToken) {
    let settings = Arc::clone(&door.settings);
    let room = Arc::new(Semaphore::new(settings.server.max_connections));
    let service = Service::new(Arc::clone(&door));
    let mut backoff = BACKOFF.0;
    loop {
        // Without room connections wait in the system's queue.
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await.map_err(std::io::Error::other)?;
            listener.accept().await.map(|accepted| (permit, accepted))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = stop.cancelled() => return,
        };
        let (permit, (tcp, peer)) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors, most likely: some have to be given back first.
                tracing::warn!(%error, "cannot accept connections");
                tokio::select! {
                    () = tokio::time::sleep(backoff) => {}
                    () = stop.cancelled() => return,
                }
                backoff = (backoff * 2).min(BACKOFF.1);
                continue;
            }
        };
        backoff = BACKOFF.0;
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let args = ConnectionArgs {
            peer: peer.ip(),
            header_timeout: settings.server.header_timeout,
            finish: connections.finish.clone(),
        };
        let (service, door, connections) = (service.clone(), Arc::clone(&door), connections.clone());
        let tasks = connections.tasks.clone();
        drop(task::spawn(&tasks, "connection", async move {
            let upgraded = tokio::select! {
                upgraded = serve(tcp, service, args) => upgraded,
                () = connections.abort.cancelled() => None,
            };
            if let Some(upgraded) = upgraded {
                converse(upgraded, door, permit, connections);
            }
        }));
    }
}

/// Lets a WebSocket go on in a task of its own: what the requests took is free then.
fn converse(upgraded: Upgraded, door: Arc<Door>, permit: OwnedSemaphorePermit, connections: Connections) {
    let tasks = connections.tasks.clone();
    drop(task::spawn(&tasks, "websocket", async move {
        tokio::select! {
            () = socket::serve(upgraded, door, connections.finish) => {}
            () = connections.abort.cancelled() => {}
        }
        drop(permit);
    }));
}

/// The connection was gone before it was accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
    )
}
