//! Which path is whose.

use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use super::rejection::{context, methods, recover};
use super::{Door, sql, status};

/// Paths that are read.
const READ: &str = "GET, HEAD";

/// Every route, each answering by itself, and an answer for what none takes.
pub(super) fn routes(door: &Arc<Door>) -> BoxedFilter<(Response,)> {
    let with_door = {
        let door = Arc::clone(door);
        warp::any().map(move || Arc::clone(&door))
    };
    let sql = warp::path!("api" / "sql")
        .and(methods("POST"))
        .and(with_door.clone())
        .and(context())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(sql::handle)
        .boxed();
    let actors = warp::path!("api" / "actors")
        .and(methods(READ))
        .and(with_door.clone())
        .and(context())
        .and(warp::header::headers_cloned())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .then(status::actors)
        .boxed();
    let read = || methods(READ).and(with_door.clone()).and(context()).and(warp::header::headers_cloned());
    let flushes = warp::path!("api" / "actors" / "flush").and(read()).then(status::flushes).boxed();
    let live = warp::path!("api" / "actors" / "live").and(read()).then(status::live).boxed();
    let sessions = warp::path!("api" / "actors" / "sessions").and(read()).then(status::sessions).boxed();
    let plans = warp::path!("api" / "actors" / "plan-cache").and(read()).then(status::plan_cache).boxed();
    let jobs = warp::path!("api" / "jobs")
        .and(read())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .then(status::jobs)
        .boxed();
    let job = warp::path!("api" / "jobs" / String)
        .and(read())
        .then(|id: String, door, context, headers| status::job(door, context, headers, id))
        .boxed();
    let ready =
        warp::path!("ready").and(methods(READ)).and(with_door.clone()).and(context()).then(status::ready).boxed();
    let health = warp::path!("health").and(methods(READ)).map(status::health).boxed();
    let status = actors
        .or(flushes)
        .unify()
        .or(live)
        .unify()
        .or(sessions)
        .unify()
        .or(plans)
        .unify()
        .or(jobs)
        .unify()
        .or(job)
        .unify()
        .boxed();
    sql.or(status).unify().or(ready).unify().or(health).unify().recover(recover).unify().boxed()
}
