//! `POST /api/sql`.

use std::sync::Arc;

use futures::Stream;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, StatusCode};
use kalamdb_commons::{Error, ErrorCode, NamespaceId, Result, UserId};
use kalamdb_core::{HeaderUser, SqlRequest, milliseconds};
use kalamdb_wire::{SqlRequestBody, SqlResponse};
use warp::reply::Response;

use super::body::{Body, BodyChunk};
use super::context::RequestContext;
use super::{Door, Handled, answer, formats};

/// Names the user of `.user.`.
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// Larger bodies are parsed where they keep no other request waiting.
const PARSE_IN_PLACE_BYTES: usize = 256 << 10;

/// Runs the statements of a request. `Accept` decides how the rows of a single SELECT are sent; all else is JSON.
pub(super) async fn handle<S, B>(door: Arc<Door>, context: RequestContext, headers: HeaderMap, body: S) -> Response
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: BodyChunk,
{
    match run(&door, &context, &headers, body).await {
        Ok(response) => response,
        Err(error) => answer::refusal(&error, &context.request_id),
    }
}

async fn run<S, B>(door: &Door, context: &RequestContext, headers: &HeaderMap, body: S) -> Handled
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: BodyChunk,
{
    // Everything that the head alone decides comes before the first byte of the body is asked for.
    let claimed = door.claimed_identity(context, headers)?;
    let header_user = header_user(headers);
    check_content_type(headers)?;

    let body = tokio::select! {
        body = door.bodies.read(headers, body) => body?,
        () = door.stopping.cancelled() => return Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down")),
    };
    // What was read from it counts from here on, by the engine's rules.
    let asked = parse(body).await?;
    let namespace = match asked.namespace {
        Some(name) => namespace(&name)?,
        None => NamespaceId::default_namespace(),
    };
    let request = SqlRequest {
        // Only now: the body may have been long on its way, and the user's row changed meanwhile.
        identity: door.engine.identify(claimed)?,
        header_user,
        sql: asked.sql,
        params: Arc::new(asked.params),
        namespace,
        request_id: context.request_id.as_str().to_owned(),
    };
    let format = formats::accepted(headers);
    let mut outcome = door.engine.execute_as(request, format).await;
    if let (Some(rows), Some(format)) = (outcome.stream.take(), format) {
        return Ok(formats::stream(rows, format, &context.request_id));
    }
    if let Some(failed) = outcome.error {
        let (results, memory) = (outcome.results, outcome.memory);
        return Ok(answer::failure(&failed.error, failed.statement, results, memory, &context.request_id));
    }
    let took_ms = door.settings.query.report_timing.then_some(milliseconds(outcome.took));
    let response = SqlResponse { results: outcome.results, took_ms, ..SqlResponse::default() };
    Ok(answer::json(StatusCode::OK, answer::counted(response.to_json(), outcome.memory)))
}

/// A name as SQL reads one: in lower case, unless it stands in double quotes.
fn namespace(name: &str) -> Result<NamespaceId> {
    match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(exact) => NamespaceId::new(exact),
        None => NamespaceId::new(name.to_ascii_lowercase()),
    }
}

async fn parse(body: Body) -> Result<SqlRequestBody> {
    if body.bytes().len() <= PARSE_IN_PLACE_BYTES {
        return SqlRequestBody::from_json(body.bytes());
    }
    // With its share, whoever still waits for it.
    tokio::task::spawn_blocking(move || SqlRequestBody::from_json(body.bytes())).await.map_err(Error::internal)?
}

/// What `X-USER-ID` says.
pub(super) fn header_user(headers: &HeaderMap) -> HeaderUser {
    let refuse = |why: &str| Err(Error::new(ErrorCode::InvalidRequest, format!("the header X-USER-ID {why}")));
    let mut values = headers.get_all(USER_ID).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return refuse("occurs more than once"),
    };
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else { return refuse("is not UTF-8") };
    match UserId::new(text) {
        Ok(user) => Ok(Some(user)),
        Err(error) => refuse(&format!("holds no user id: {}", error.message)),
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let refuse = |why: &str| Err(Error::new(ErrorCode::UnsupportedMediaType, why));
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let expected = "send the body as Content-Type: application/json";
    let Some(content_type) = text(CONTENT_TYPE) else { return refuse(expected) };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json")) {
        return refuse(expected);
    }
    for parameter in parts {
        let charset = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
        if charset.is_some_and(|(_, value)| !value.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
            return refuse("send the body in UTF-8");
        }
    }
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return refuse("send the body without Content-Encoding");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &[u8])]) -> HeaderMap {
        let pair =
            |(name, value): &(HeaderName, &[u8])| (name.clone(), HeaderValue::from_bytes(value).expect("a header"));
        let mut map = HeaderMap::new();
        map.extend(pairs.iter().map(pair));
        map
    }

    #[test]
    fn json_in_utf8_is_taken_and_nothing_else() {
        for good in ["application/json", "Application/JSON ; charset=\"UTF-8\"", "application/json; x=y"] {
            assert!(check_content_type(&headers(&[(CONTENT_TYPE, good.as_bytes())])).is_ok(), "{good}");
        }
        for bad in ["text/plain", "application/jsonx", "application/json; charset=latin1", ""] {
            let error = check_content_type(&headers(&[(CONTENT_TYPE, bad.as_bytes())])).expect_err(bad);
            assert_eq!(error.code, ErrorCode::UnsupportedMediaType, "{bad}");
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
        let packed = headers(&[(CONTENT_TYPE, b"application/json"), (CONTENT_ENCODING, b"gzip")]);
        assert!(check_content_type(&packed).is_err());
    }

    #[test]
    fn the_named_user_is_text_by_the_rules() {
        assert_eq!(header_user(&HeaderMap::new()).expect("optional"), None);
        for good in ["ann", "../../etc", "жанна"] {
            let user = header_user(&headers(&[(USER_ID, good.as_bytes())])).expect(good);
            assert_eq!(user.as_ref().map(UserId::as_str), Some(good));
        }
        for bad in [&b""[..], b"\xff\xfe", &[b'a'; 129]] {
            assert_eq!(header_user(&headers(&[(USER_ID, bad)])).expect_err("bad").code, ErrorCode::InvalidRequest);
        }
        assert!(header_user(&headers(&[(USER_ID, b"a"), (USER_ID, b"b")])).is_err());
    }
}
