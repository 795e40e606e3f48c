//! The status endpoints.

use std::sync::Arc;

use hyper::{HeaderMap, StatusCode};
use kalamdb_commons::{Error, ErrorCode, Result, Role};
use kalamdb_core::JobsQuestion;
use kalamdb_wire::{Health, Ready};
use serde::Serialize;
use warp::reply::Response;

use super::context::{RequestContext, RequestId};
use super::{Door, Handled, answer};
use crate::BUILD;

/// Children listed per group where the caller does not say.
const DEFAULT_LIMIT: usize = 100;
/// Children listed per group at most.
const MAX_LIMIT: usize = 10_000;

/// `GET /health`: a server that answers is alive.
pub(super) fn health() -> Response {
    let health = Health { status: "ok".into(), version: BUILD.version.into(), commit: BUILD.commit.into() };
    object(&health).unwrap_or_else(|error| answer::refusal(&error, &RequestId::new()))
}

/// `GET /ready`: whether statements would be answered, and what is down if not.
pub(super) async fn ready(door: Arc<Door>, context: RequestContext) -> Response {
    let result = if door.is_stopping() {
        Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"))
    } else {
        match door.engine.ready().await {
            Ok(()) => object(&Ready { status: "ready".into() }),
            Err(error) => Err(error),
        }
    };
    result.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/actors?depth=&limit=`: the supervision tree.
pub(super) async fn actors(door: Arc<Door>, context: RequestContext, headers: HeaderMap, query: String) -> Response {
    let tree = async {
        require_service(&door, &context, &headers)?;
        let question = TreeQuestion::parse(&query)?;
        object(&door.engine.actors(question.depth, question.limit))
    };
    tree.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/actors/flush`: how flushes stand.
pub(super) async fn flushes(door: Arc<Door>, context: RequestContext, headers: HeaderMap) -> Response {
    let overview = async {
        require_service(&door, &context, &headers)?;
        object(&door.engine.flushes())
    };
    overview.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/actors/live`: how live queries stand.
pub(super) async fn live(door: Arc<Door>, context: RequestContext, headers: HeaderMap) -> Response {
    let overview = async {
        require_service(&door, &context, &headers)?;
        object(&door.engine.live_overview())
    };
    overview.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/actors/plan-cache`: how the plan cache stands.
pub(super) async fn plan_cache(door: Arc<Door>, context: RequestContext, headers: HeaderMap) -> Response {
    let overview = async {
        require_service(&door, &context, &headers)?;
        object(&door.engine.plan_cache_overview())
    };
    overview.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/actors/sessions`: every session, as an array.
pub(super) async fn sessions(door: Arc<Door>, context: RequestContext, headers: HeaderMap) -> Response {
    let sessions = async {
        require_service(&door, &context, &headers)?;
        object(&door.engine.sessions())
    };
    sessions.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/jobs?status=&type=&limit=`: the newest rows of `system.jobs`, as an array.
pub(super) async fn jobs(door: Arc<Door>, context: RequestContext, headers: HeaderMap, query: String) -> Response {
    let jobs = async {
        require_service(&door, &context, &headers)?;
        let rows = door.engine.jobs(&jobs_question(&query)?).await?;
        Ok(answer::json(StatusCode::OK, rows.as_str().as_bytes().to_vec()))
    };
    jobs.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

/// `GET /api/jobs/{id}`: one row of `system.jobs`, as an object.
pub(super) async fn job(door: Arc<Door>, context: RequestContext, headers: HeaderMap, id: String) -> Response {
    let job = async {
        require_service(&door, &context, &headers)?;
        let rows = door.engine.job(&id).await?;
        let text = rows.as_str();
        let only = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        Ok(answer::json(StatusCode::OK, only.as_bytes().to_vec()))
    };
    job.await.unwrap_or_else(|error| answer::refusal(&error, &context.request_id))
}

fn jobs_question(query: &str) -> Result<JobsQuestion> {
    let mut question = JobsQuestion { limit: DEFAULT_LIMIT, ..JobsQuestion::default() };
    for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        match (name, value) {
            ("" | "status" | "type" | "limit", "") => {}
            ("status", _) => question.status = Some(value.to_owned()),
            ("type", _) => question.job_type = Some(value.to_owned()),
            ("limit", _) => {
                let limit = value.parse::<usize>().map_err(|_| {
                    Error::new(ErrorCode::InvalidRequest, "the query parameter limit is not a whole number")
                })?;
                question.limit = limit.min(MAX_LIMIT);
            }
            _ => {
                let message = format!("unknown query parameter {name:?}: expected status, type or limit");
                return Err(Error::new(ErrorCode::InvalidRequest, message));
            }
        }
    }
    Ok(question)
}

/// Status endpoints below `/api/` are for `service` and up.
fn require_service(door: &Door, context: &RequestContext, headers: &HeaderMap) -> Result<()> {
    match door.engine.identify(door.claimed_identity(context, headers)?)?.role {
        Role::Service | Role::Dba | Role::System => Ok(()),
        Role::User => Err(Error::new(ErrorCode::Forbidden, "this needs the role service, dba or system")),
    }
}

fn object<T: Serialize>(body: &T) -> Handled {
    Ok(answer::json(StatusCode::OK, serde_json::to_vec(body).map_err(Error::internal)?))
}

#[derive(Debug, PartialEq, Eq)]
struct TreeQuestion {
    depth: Option<usize>,
    limit: usize,
}

impl TreeQuestion {
    /// An empty value is as good as none; a parameter nobody knows is an error, as in a body.
    fn parse(query: &str) -> Result<Self> {
        let mut question = Self { depth: None, limit: DEFAULT_LIMIT };
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            let number = || {
                value.parse::<usize>().map_err(|_| {
                    Error::new(ErrorCode::InvalidRequest, format!("the query parameter {name} is not a whole number"))
                })
            };
            match (name, value) {
                ("" | "depth" | "limit", "") => {}
                ("depth", _) => question.depth = Some(number()?),
                ("limit", _) => question.limit = number()?.min(MAX_LIMIT),
                _ => {
                    let message = format!("unknown query parameter {name:?}: expected depth or limit");
                    return Err(Error::new(ErrorCode::InvalidRequest, message));
                }
            }
        }
        Ok(question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_how_much_of_the_tree() {
        let parse = |query| TreeQuestion::parse(query).map(|question| (question.depth, question.limit)).ok();
        assert_eq!(parse(""), Some((None, 100)));
        assert_eq!(parse("depth=&limit="), Some((None, 100)));
        assert_eq!(parse("depth=2&limit=5"), Some((Some(2), 5)));
        assert_eq!(parse("limit=99999999"), Some((None, MAX_LIMIT)));
        for bad in ["depth=x", "limit=-1", "dept=1", "depth=1&depth", "token=abc"] {
            if bad == "depth=1&depth" {
                assert_eq!(parse(bad), Some((Some(1), 100)));
            } else {
                assert_eq!(parse(bad), None, "{bad}");
            }
        }
    }
}
