//! One keep-alive connection over HTTP/1.1, driven by the task that asks.
//!
//! The program shares its machine with the server it measures, so a request costs as little as it can:
//! no pool, no task beside the asker's that would have to be woken, headers made once.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::failure::Failure;

/// An operation without an answer for so long has failed.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// Where to connect to.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    host: Arc<str>,
    port: u16,
    authority: HeaderValue,
    base: Arc<str>,
}

impl Address {
    /// Reads `http://host[:port][/base]`.
    ///
    /// # Errors
    /// Anything else; https in particular, which the program does not speak.
    pub(crate) fn parse(url: &str) -> Result<Self, Failure> {
        let refuse = |problem: &str| Failure::Url { url: url.to_owned(), problem: problem.to_owned() };
        let uri: Uri = url.parse().map_err(|_| refuse("it is no URL"))?;
        if uri.scheme_str() != Some("http") {
            return Err(refuse("expected http://host:port"));
        }
        let (Some(host), Some(authority)) = (uri.host(), uri.authority()) else { return Err(refuse("no host")) };
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: uri.port_u16().unwrap_or(80),
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| refuse("no host"))?,
            base: uri.path().trim_end_matches('/').into(),
        })
    }

    /// What to connect to.
    pub(crate) fn socket(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The address of a WebSocket at a path.
    pub(crate) fn websocket(&self, path: &str) -> String {
        format!("ws://{}{}{path}", self.authority.to_str().unwrap_or_default(), self.base)
    }
}

/// All of a request but its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    method: Method,
    path: Uri,
    headers: HeaderMap,
}

impl Head {
    /// `GET path`.
    ///
    /// # Errors
    /// A base path that is none.
    pub(crate) fn get(address: &Address, path: &str) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, address.authority.clone());
        Ok(Self { method: Method::GET, path: target(address, path)?, headers })
    }

    /// `POST path` with a JSON body and these headers.
    ///
    /// # Errors
    /// Like [`Head::get`].
    pub(crate) fn post(address: &Address, path: &str, mut headers: HeaderMap) -> Result<Self, Failure> {
        headers.insert(HOST, address.authority.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { method: Method::POST, path: target(address, path)?, headers })
    }

    fn with(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn target(address: &Address, path: &str) -> Result<Uri, Failure> {
    let text = format!("{}{path}", address.base);
    text.parse().map_err(|_| Failure::Url { url: text, problem: "it is no path".to_owned() })
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the connection broke: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("no answer within {} s", ANSWER_LIMIT.as_secs())]
    TooLate,
}

type Wire = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// A connection that is opened again after it broke.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Address,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    wire: Pin<Box<Wire>>,
}

impl Connection {
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn open(address: &Address) -> Result<Self, Broken> {
        let open = Open::connect(address).await?;
        Ok(Self { address: address.clone(), open: Some(open) })
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// No answer; the connection is opened anew with the next call.
    pub(crate) async fn exchange(&mut self, head: &Head, body: Bytes) -> Result<Answer, Broken> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open::connect(&self.address).await?,
        };
        let exchanged = tokio::time::timeout(ANSWER_LIMIT, open.exchange(head.with(body))).await;
        let (answer, ended) = exchanged.map_err(|_| Broken::TooLate)??;
        if !ended {
            self.open = Some(open);
        }
        Ok(answer)
    }
}

impl Open {
    async fn connect(address: &Address) -> Result<Self, Broken> {
        let stream = TcpStream::connect((&*address.host, address.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, wire) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, wire: Box::pin(wire) })
    }

    /// The answer, and whether the connection ended with it.
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<(Answer, bool), hyper::Error> {
        let Self { sender, wire } = self;
        let ask = async {
            sender.ready().await?;
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await?.to_bytes();
            Ok(Answer { status, body })
        };
        tokio::pin!(ask);
        tokio::select! {
            biased;
            answer = &mut ask => answer.map(|answer| (answer, false)),
            ended = wire => {
                ended?;
                // A last answer before the end is on its way already.
                ask.await.map(|answer| (answer, true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address = Address::parse("http://127.0.0.1:8080").unwrap();
        assert_eq!((&*address.host, address.port, &*address.base), ("127.0.0.1", 8080, ""));
        assert_eq!(address.authority, "127.0.0.1:8080");
        let address = Address::parse("http://[::1]:9/db/").unwrap();
        assert_eq!((&*address.host, address.port, &*address.base), ("::1", 9, "/db"));
        assert_eq!(target(&address, "/api/sql").unwrap().path(), "/db/api/sql");
        assert_eq!(Address::parse("http://db.example").unwrap().port, 80);
        for bad in ["https://127.0.0.1", "127.0.0.1:8080", "", "http://"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
