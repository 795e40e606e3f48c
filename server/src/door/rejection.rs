//! Requests that no route takes, in the form of every other error.

use std::convert::Infallible;

use hyper::Method;
use hyper::header::{ALLOW, HeaderValue};
use kalamdb_commons::{Error, ErrorCode};
use warp::Filter;
use warp::reject::{Reject, Rejection};
use warp::reply::Response;

use super::answer;
use super::context::{RequestContext, RequestId};

/// The path exists, with other methods.
#[derive(Debug)]
struct MethodNotAllowed {
    allowed: &'static str,
}

impl Reject for MethodNotAllowed {}

/// Lets only these methods pass. `allowed` is the list as the `Allow` header has it.
pub(super) fn methods(allowed: &'static str) -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::method()
        .and_then(move |method: Method| async move {
            let is_allowed = allowed.split(", ").any(|name| name == method.as_str());
            if is_allowed { Ok(()) } else { Err(warp::reject::custom(MethodNotAllowed { allowed })) }
        })
        .untuple_one()
}

/// The last filter: whatever was rejected becomes an answer.
pub(super) async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    // The id of the request is added to every answer further out; only the log lacks it here.
    let request_id = RequestId::new();
    let refuse = |code, message: &str| answer::refusal(&Error::new(code, message), &request_id);
    if let Some(MethodNotAllowed { allowed }) = rejection.find() {
        let mut response = refuse(ErrorCode::MethodNotAllowed, &format!("this path takes {allowed} only"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return Ok(response);
    }
    if rejection.is_not_found() {
        return Ok(refuse(ErrorCode::NotFound, "there is nothing at this path"));
    }
    Ok(answer::refusal(&Error::internal(format_args!("unexpected rejection: {rejection:?}")), &request_id))
}

/// The context that the service gave the request.
pub(super) fn context() -> impl Filter<Extract = (RequestContext,), Error = Rejection> + Copy {
    warp::ext::get::<RequestContext>()
}
