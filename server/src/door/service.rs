//! What surrounds every request: its id, its panic, its place among browsers' rules.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ACCEPT, CONNECTION, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use kalamdb_commons::Error;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tower::ServiceExt;
use warp::filters::BoxedFilter;

use super::context::{REQUEST_ID, RequestContext, RequestId};
use super::formats::QueryOver;
use super::routes::routes;
use super::socket::{self, UpgradeSlot};
use super::stream::{Phase, PhaseCell};
use super::{Door, answer};
use crate::auth::Caller;
use crate::task::{panic_text, spawn};

/// Answers requests. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Service {
    door: Arc<Door>,
    routes: BoxedFilter<(warp::reply::Response,)>,
}

impl Service {
    pub(super) fn new(door: Arc<Door>) -> Self {
        Self { routes: routes(&door), door }
    }

    /// Never fails: whatever happens becomes an answer.
    pub(super) async fn answer<B>(
        self,
        mut request: Request<B>,
        peer: IpAddr,
        phase: PhaseCell,
        upgrade: UpgradeSlot,
    ) -> Result<Response<PhasedBody>, Infallible>
    where
        B: Body + Send + Sync + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        phase.set(Phase::Request);
        let begun = Instant::now();
        let request_id = RequestId::of(request.headers());
        let authority = request.uri().authority().cloned();
        let (method, headers) = (request.method().clone(), request.headers().clone());
        let caller = Caller { peer, headers: &headers, authority: authority.as_ref() };
        let is_local_page = self.door.authenticator.is_local_page(caller);
        // The path alone: a query may hold a token.
        let path = request.uri().path().to_owned();
        let context = RequestContext { request_id: request_id.clone(), peer, authority };

        let mut response = match self.door.cors.preflight(&method, &headers, is_local_page) {
            Some(response) => response,
            None => {
                let handled = async {
                    if path == socket::PATH {
                        let has_body = !request.body().is_end_stream();
                        let (head, _) = request.into_parts();
                        return Ok(socket::answer(&self.door, &context, &head, has_body, &upgrade));
                    }
                    if request.version() < Version::HTTP_11 {
                        // Without chunks a client could not tell rows that were cut off from all of them.
                        request.headers_mut().remove(ACCEPT);
                    }
                    request.extensions_mut().insert(context);
                    warp::service(self.routes).oneshot(request).await
                };
                let handled = AssertUnwindSafe(handled).catch_unwind().await;
                handled.map(|Ok(response)| response).unwrap_or_else(|panic| {
                    let error = Error::internal(format_args!("panic: {}", panic_text(panic.as_ref())));
                    answer::refusal(&error, &request_id)
                })
            }
        };
        let status = response.status();
        let answer = response.headers_mut();
        answer.insert(REQUEST_ID, request_id.to_header());
        self.door.cors.decorate(&headers, is_local_page, answer);
        if self.door.is_stopping() && status != StatusCode::SWITCHING_PROTOCOLS {
            answer.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        tracing::debug!(
            request_id = request_id.as_str(),
            %method,
            path,
            status = status.as_u16(),
            took_ms = begun.elapsed().as_secs_f64() * 1000.0,
            "request answered"
        );
        let watch = response.extensions_mut().remove::<QueryOver>().map(|QueryOver(over)| {
            let phase = phase.clone();
            // What is left is the client's to take, and nobody's work: a connection that takes nothing of it is idle.
            let idle = async move {
                over.cancelled().await;
                phase.set(Phase::Idle(tokio::time::Instant::now()));
            };
            AbortOnDropHandle::new(spawn(&TaskTracker::new(), "end of a streamed answer", idle))
        });
        Ok(response.map(|body| PhasedBody { body: Box::pin(body), phase, _watch: watch }))
    }
}

type AnyBody = dyn Body<Data = Bytes, Error = warp::Error> + Send;

/// A body that says when it has been handed over: from then on the connection waits for the client.
pub(super) struct PhasedBody {
    body: Pin<Box<AnyBody>>,
    phase: PhaseCell,
    _watch: Option<AbortOnDropHandle<bool>>,
}

impl Drop for PhasedBody {
    fn drop(&mut self) {
        self.phase.set(Phase::Idle(tokio::time::Instant::now()));
    }
}

impl Body for PhasedBody {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http_body_util::{BodyExt, Empty};
    use warp::Filter;

    use super::super::testing::door;
    use super::*;

    async fn ask(service: &Service) -> (Response<()>, String) {
        let request = Request::builder().uri("/x").header("x-request-id", "seven").body(Empty::<Bytes>::new());
        let (peer, phase, upgrade) = (Ipv4Addr::LOCALHOST.into(), PhaseCell::opened(), UpgradeSlot::default());
        let answered = service.clone().answer(request.expect("a request"), peer, phase, upgrade);
        let Ok(response) = answered.await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        (Response::from_parts(head, ()), String::from_utf8_lossy(&bytes).into_owned())
    }

    #[tokio::test]
    async fn a_panic_is_the_500_of_its_request_and_of_no_other() {
        fn defect() -> warp::reply::Response {
            panic!("a defect with internals")
        }
        let service = Service { door: door().await, routes: warp::any().map(defect).boxed() };
        for _ in 0..2 {
            let (head, body) = ask(&service).await;
            assert_eq!(head.status(), 500);
            assert_eq!(head.headers()[REQUEST_ID], "seven");
            assert!(body.contains("\"INTERNAL\"") && !body.contains("internals"), "{body}");
        }
    }

    #[tokio::test]
    async fn answers_of_a_stopping_server_end_their_connection() {
        let door = door().await;
        let service = Service::new(Arc::clone(&door));
        assert!(!ask(&service).await.0.headers().contains_key(CONNECTION));
        door.begin_stop();
        assert_eq!(ask(&service).await.0.headers()[CONNECTION], "close");
    }

    #[tokio::test]
    async fn the_phase_follows_the_answer() {
        let service = Service::new(door().await);
        let phase = PhaseCell::opened();
        let request = Request::new(Empty::<Bytes>::new());
        let answered = service.answer(request, Ipv4Addr::LOCALHOST.into(), phase.clone(), UpgradeSlot::default());
        let Ok(response) = answered.await;
        assert_eq!(phase.get(), Phase::Request);
        drop(response);
        assert!(matches!(phase.get(), Phase::Idle(_)));
    }
}
