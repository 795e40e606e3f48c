//! One connection from its first byte to its last.

use std::net::IpAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kalamdb_commons::{Error, ErrorCode};
use kalamdb_wire::ErrorBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::context::RequestId;
use super::service::Service;
use super::socket::{UpgradeSlot, Upgraded};
use super::stream::{Phase, PhaseCell, WatchedStream};

/// A request's head, in bytes, and what hyper buffers of a body at a time.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// How long a connection may wait for its next request, or refuse to read its answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may go on sending after its answer, so that it is not lost by a reset.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// How much of that is read.
const LINGER_BYTES: usize = 64 << 20;

/// What a connection is served with.
#[derive(Debug, Clone)]
pub(super) struct ConnectionArgs {
    /// The other end.
    pub(super) peer: IpAddr,
    /// For a request's head.
    pub(super) header_timeout: Duration,
    /// Cancelled: finish the request at hand, then close.
    pub(super) finish: CancellationToken,
}

/// Why a connection is no longer served.
enum End {
    /// Closed by either side, or handed on.
    Closed,
    /// Broken.
    Broken,
    /// The client was too slow.
    TooSlow(Phase),
    /// The server is stopping, and nothing whole was asked.
    Stopping(Phase),
}

/// Serves a connection to its end, or until it is no longer HTTP. Dropping the call closes the socket at once.
pub(super) async fn serve(tcp: TcpStream, service: Service, args: ConnectionArgs) -> Option<Upgraded> {
    let upgrade = UpgradeSlot::default();
    let phase = PhaseCell::opened();
    let mut phases = phase.subscribe();
    let stream = TokioIo::new(WatchedStream::new(tcp, phase.clone()));
    let answer = {
        let (phase, upgrade) = (phase.clone(), upgrade.clone());
        service_fn(move |request| service.clone().answer(request, args.peer, phase.clone(), upgrade.clone()))
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Ours knows an idle connection from a slow request.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(stream, answer);

    let mut finishing = false;
    let end = loop {
        let now = *phases.borrow_and_update();
        tokio::select! {
            // What has come already is read before it is found to be late: the server may be what was slow.
            biased;
            ended = &mut connection => {
                break match ended {
                    Ok(()) => End::Closed,
                    Err(error) => {
                        tracing::debug!(%error, "connection ended");
                        End::Broken
                    }
                };
            }
            // The phase may have moved on while this was found out.
            () = too_slow(now, args.header_timeout) => if phase.get() == now {
                break End::TooSlow(now);
            },
            _ = phases.changed() => {}
            () = args.finish.cancelled(), if !finishing => {
                let now = phase.get();
                if let Phase::Opened(_) | Phase::Head(_) = now {
                    break End::Stopping(now);
                }
                finishing = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let (tcp, held_back) = parts.io.into_inner().into_inner();
    if let (End::Closed, Some(accepted)) = (&end, upgrade.take()) {
        return Some(Upgraded { tcp, ahead: parts.read_buf, accepted });
    }
    let farewell = match end {
        End::TooSlow(Phase::Head(_)) => {
            Some((ErrorCode::RequestTimeout, "the request's head was not finished in time"))
        }
        End::Stopping(Phase::Head(_)) => Some((ErrorCode::ShuttingDown, "the server is shutting down")),
        End::Closed | End::Broken if held_back => {
            Some((ErrorCode::InvalidRequest, "this is not an HTTP/1.1 request, or its head is larger than 64 KiB"))
        }
        End::Closed | End::Broken | End::TooSlow(_) | End::Stopping(_) => None,
    };
    close(tcp, farewell, &args.finish).await;
    None
}

/// Ends when a client has kept the connection waiting for too long.
async fn too_slow(phase: Phase, header_timeout: Duration) {
    match deadline(phase, header_timeout) {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn deadline(phase: Phase, header_timeout: Duration) -> Option<Instant> {
    match phase {
        Phase::Opened(since) | Phase::Head(since) => Some(since + header_timeout),
        Phase::Idle(since) => Some(since + IDLE_TIMEOUT),
        // A statement has its own bound, and so has the body.
        Phase::Request => None,
    }
}

/// Says the last word, if there is one, and closes so that the client can read what was said.
pub(super) async fn close(mut tcp: TcpStream, farewell: Option<(ErrorCode, &str)>, finish: &CancellationToken) {
    let last_word = async {
        if let Some((code, message)) = farewell {
            tcp.write_all(&raw_refusal(code, message)).await?;
        }
        tcp.shutdown().await
    };
    if !matches!(timeout(LINGER_TIMEOUT, last_word).await, Ok(Ok(()))) {
        // A client that is gone already needs no goodbye.
        return;
    }
    let linger = async {
        let mut rest = vec![0; 16 << 10];
        let mut read = 0;
        while read < LINGER_BYTES {
            match tcp.read(&mut rest).await? {
                0 => break,
                length => read += length,
            }
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        _ = timeout(LINGER_TIMEOUT, linger) => {}
        () = finish.cancelled() => {}
    }
}

fn raw_refusal(code: ErrorCode, message: &str) -> Vec<u8> {
    let body = ErrorBody::new(&Error::new(code, message), None, Vec::new()).to_json();
    let reason = hyper::StatusCode::from_u16(code.http_status()).ok().and_then(|status| status.canonical_reason());
    let retry = if code.http_status() == 503 { "retry-after: 1\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncache-control: no-store\r\nx-request-id: {}\r\n\
         {retry}content-length: {}\r\nconnection: close\r\n\r\n",
        code.http_status(),
        reason.unwrap_or_default(),
        RequestId::new().as_str(),
        body.len(),
    );
    let mut answer = head.into_bytes();
    answer.extend_from_slice(&body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_patience() {
        let (now, header_timeout) = (Instant::now(), Duration::from_secs(10));
        assert_eq!(deadline(Phase::Opened(now), header_timeout), Some(now + header_timeout));
        assert_eq!(deadline(Phase::Head(now), header_timeout), Some(now + header_timeout));
        assert_eq!(deadline(Phase::Idle(now), header_timeout), Some(now + IDLE_TIMEOUT));
        assert_eq!(deadline(Phase::Request, header_timeout), None);
    }

    #[test]
    fn a_raw_refusal_is_a_whole_answer() {
        let text = String::from_utf8(raw_refusal(ErrorCode::RequestTimeout, "slow")).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(head.contains("x-request-id: ") && head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("\"REQUEST_TIMEOUT\"") && !head.contains("retry-after"), "{text}");
        let text = String::from_utf8(raw_refusal(ErrorCode::ShuttingDown, "stopping")).expect("UTF-8");
        assert!(text.contains("\r\nretry-after: 1\r\n"), "{text}");
    }
}
