//! An S3 server for tests: a real one (signatures are checked, multipart uploads are put together), over a
//! directory that goes away with it, on a free port of the loopback interface.
//!
//! Only tests depend on this crate; no program of ours contains it.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// What the server does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// It serves them.
    #[default]
    None,
    /// It answers 500.
    InternalError,
    /// It takes them and never answers.
    Hangs,
}

/// A running server; dropped, it is gone.
pub struct Bucket {
    directory: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    service: S3Service,
    fault: Mutex<Fault>,
    requests: AtomicU64,
}

impl Bucket {
    /// The name of the bucket that is there.
    pub const NAME: &'static str = "test-bucket";
    /// The access key that the server knows.
    pub const ACCESS_KEY_ID: &'static str = "AKIDKALAMDBTESTS";
    /// Its secret.
    pub const SECRET_ACCESS_KEY: &'static str = "secret/of+tests/never+in/a/message";

    /// Starts a server with one empty bucket.
    ///
    /// # Errors
    /// When there is no port, or no directory.
    pub async fn start() -> io::Result<Self> {
        let directory = TempDir::new()?;
        std::fs::create_dir(directory.path().join(Self::NAME))?;
        let files = FileSystem::new(directory.path()).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(Self::ACCESS_KEY_ID, Self::SECRET_ACCESS_KEY));
        let shared =
            Arc::new(Shared { service: builder.build(), fault: Mutex::default(), requests: AtomicU64::new(0) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        #[expect(clippy::disallowed_methods, reason = "a panic in it fails the test that asks it")]
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Ok(Self { directory, address, shared, server })
    }

    /// Where it listens: `http://127.0.0.1:…`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory of the bucket: an object's key is a file's path in it.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.directory.path().join(Self::NAME)
    }

    /// From now on.
    pub fn set_fault(&self, fault: Fault) {
        *self.shared.fault.lock() = fault;
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the server.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(Arc::clone(&shared), request));
            // A client that goes away is none of the server's business.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
        });
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let fault = *shared.fault.lock();
    match fault {
        Fault::None => {}
        Fault::InternalError => return Ok(failure("injected")),
        Fault::Hangs => std::future::pending().await,
    }
    let answered: Result<_, HttpError> = shared.service.call(request.map(Body::from)).await;
    Ok(answered.unwrap_or_else(|error| failure(&format!("{error:?}"))))
}

fn failure(message: &str) -> Response<Body> {
    let body = format!("<Error><Code>InternalError</Code><Message>{message}</Message></Error>");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
