//! Reading a request's body: bounded in size, in time, and over all requests together.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use hyper::HeaderMap;
use hyper::header::CONTENT_LENGTH;
use kalamdb_commons::settings::ServerSettings;
use kalamdb_commons::{Error, ErrorCode, Result, format_size};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use warp::Buf;

/// Bodies of all requests together may take this much, or four of the largest.
const MIN_TOTAL_BYTES: u64 = 256 << 20;
/// The unit in which the sum is counted.
const UNIT_BYTES: u64 = 1 << 10;

/// A piece of a body as it came.
pub(super) trait BodyChunk: Buf + Send {}

impl<B: Buf + Send> BodyChunk for B {}

/// A whole body. As long as it lives it counts against the sum of all bodies.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

impl Body {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads bodies.
#[derive(Debug)]
pub(super) struct BodyReader {
    max_bytes: u64,
    /// For the next piece.
    stall_timeout: Duration,
    /// For all of it.
    timeout: Duration,
    room: Arc<Semaphore>,
}

impl BodyReader {
    pub(super) fn new(settings: &ServerSettings) -> Self {
        let max_bytes = settings.max_body_bytes;
        let units = (MIN_TOTAL_BYTES.max(max_bytes.saturating_mul(4)) / UNIT_BYTES).min(Semaphore::MAX_PERMITS as u64);
        Self {
            max_bytes,
            stall_timeout: settings.header_timeout,
            timeout: settings.request_timeout,
            room: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS))),
        }
    }

    /// Reads a body to its end.
    ///
    /// # Errors
    /// [`ErrorCode::BodyTooLarge`] by its announced length before a byte is read, or as soon as it is too long;
    /// [`ErrorCode::RequestTimeout`] if the client stalls; [`ErrorCode::Overloaded`] if all bodies together are too
    /// much; [`ErrorCode::InvalidRequest`] if it breaks off.
    pub(super) async fn read<S, B>(&self, headers: &HeaderMap, body: S) -> Result<Body>
    where
        S: Stream<Item = Result<B, warp::Error>> + Send,
        B: BodyChunk,
    {
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.max_bytes) {
            return Err(self.too_large());
        }
        let end = Instant::now() + self.timeout;
        let mut body = pin!(body);
        let mut bytes = Vec::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        loop {
            let next = timeout_at(end.min(Instant::now() + self.stall_timeout), body.next());
            let mut chunk = match next.await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    return Err(Error::new(ErrorCode::InvalidRequest, format!("the request body broke off: {error}")));
                }
                Err(_) => {
                    let message = "the request body was not finished in time";
                    return Err(Error::new(ErrorCode::RequestTimeout, message));
                }
            };
            let length = bytes.len() + chunk.remaining();
            if length as u64 > self.max_bytes {
                return Err(self.too_large());
            }
            self.grow(&mut share, length as u64)?;
            // What is announced costs nothing until it comes.
            while chunk.has_remaining() {
                let piece = chunk.chunk();
                bytes.extend_from_slice(piece);
                let taken = piece.len();
                chunk.advance(taken);
            }
        }
        Ok(Body { bytes, _share: share })
    }

    /// Makes a share as large as `length` bytes need.
    pub(super) fn grow(&self, share: &mut Option<OwnedSemaphorePermit>, length: u64) -> Result<()> {
        let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let needed = usize::try_from(length.div_ceil(UNIT_BYTES)).unwrap_or(usize::MAX);
        let Some(more) = needed.checked_sub(held).filter(|&more| more > 0) else { return Ok(()) };
        let overloaded =
            || Error::new(ErrorCode::Overloaded, "the server is reading too much at the moment; try again");
        let more = u32::try_from(more).map_err(|_| overloaded())?;
        let permit = Arc::clone(&self.room).try_acquire_many_owned(more).map_err(|_| overloaded())?;
        match share {
            Some(share) => share.merge(permit),
            None => *share = Some(permit),
        }
        Ok(())
    }

    fn too_large(&self) -> Error {
        let message =
            format!("the request body is larger than {} (server.max_body_bytes)", format_size(self.max_bytes));
        Error::new(ErrorCode::BodyTooLarge, message)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn reader(max_body_bytes: u64) -> BodyReader {
        BodyReader::new(&ServerSettings { max_body_bytes, ..ServerSettings::default() })
    }

    fn pieces(pieces: &[&'static str]) -> impl Stream<Item = Result<&'static [u8], warp::Error>> + Send + use<> {
        stream::iter(pieces.iter().map(|piece| Ok(piece.as_bytes())).collect::<Vec<_>>())
    }

    #[tokio::test]
    async fn a_body_is_read_whole_and_no_further_than_its_bound() {
        let reader = reader(8);
        let body = reader.read(&HeaderMap::new(), pieces(&["1234", "", "5678"])).await.expect("fits");
        assert_eq!(body.bytes(), b"12345678");
        let error = reader.read(&HeaderMap::new(), pieces(&["1234", "56789"])).await.expect_err("too long");
        assert_eq!(error.code, ErrorCode::BodyTooLarge);
        assert!(error.message.contains("8B"), "{}", error.message);
    }

    #[tokio::test]
    async fn an_announced_length_is_believed_before_anything_is_read() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "9".parse().expect("a header"));
        let never = stream::pending::<Result<&'static [u8], warp::Error>>();
        assert_eq!(reader(8).read(&headers, never).await.expect_err("too long").code, ErrorCode::BodyTooLarge);
    }

    #[tokio::test]
    async fn a_client_that_stalls_or_dawdles_is_given_up() {
        let (stall_timeout, timeout) = (Duration::from_millis(200), Duration::from_millis(600));
        let patient = BodyReader { stall_timeout, timeout: Duration::from_hours(1), ..reader(1 << 20) };
        let begun = Instant::now();
        let stalls = pieces(&["{"]).chain(stream::pending());
        assert_eq!(patient.read(&HeaderMap::new(), stalls).await.expect_err("stalls").code, ErrorCode::RequestTimeout);
        assert!(begun.elapsed() >= stall_timeout, "{:?}", begun.elapsed());

        let reader = BodyReader { stall_timeout, timeout, ..reader(1 << 20) };
        let begun = Instant::now();
        let ticks = tokio::time::interval(Duration::from_millis(20));
        let dawdles = stream::unfold(ticks, |mut ticks| async {
            ticks.tick().await;
            Some((Ok::<_, warp::Error>(&b" "[..]), ticks))
        });
        assert_eq!(reader.read(&HeaderMap::new(), dawdles).await.expect_err("dawdles").code, ErrorCode::RequestTimeout);
        assert!(begun.elapsed() >= timeout, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded_and_give_back_their_room() {
        let reader = BodyReader { room: Arc::new(Semaphore::new(2)), ..reader(1 << 20) };
        let first = reader.read(&HeaderMap::new(), pieces(&["x", "y"])).await.expect("one unit");
        let second = reader.read(&HeaderMap::new(), pieces(&["x"])).await.expect("one unit");
        let error = reader.read(&HeaderMap::new(), pieces(&["x"])).await.expect_err("no room");
        assert_eq!(error.code, ErrorCode::Overloaded);
        drop((first, second));
        assert!(reader.read(&HeaderMap::new(), pieces(&["x"])).await.is_ok());
        assert_eq!(reader.room.available_permits(), 2);
    }
}
