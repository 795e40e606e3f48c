//! The localhost rule: who needs no token.
//!
//! A program on this machine may come in without one. A web page in a browser on this machine may
//! not, unless it is served from here or its origin is listed; nor may what a proxy on this machine passes on. So the
//! peer has to be loopback, no header may speak of a proxy, `Host` has to name this machine (a page
//! elsewhere that has its name resolve to 127.0.0.1 names its own), and so has `Origin`, where there is one.

use hyper::header::{FORWARDED, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;
use kalamdb_commons::Result;
use kalamdb_commons::settings::is_loopback_host;

use super::{Caller, unauthorized};

/// Headers that a proxy adds: the request's real origin is somewhere else.
const PROXY_HEADERS: [HeaderName; 3] =
    [FORWARDED, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// See the module.
#[derive(Debug)]
pub(super) struct LocalhostRule {
    /// `server.cors_origins`, in lower case.
    origins: Vec<String>,
}

impl LocalhostRule {
    pub(super) fn new(origins: &[String]) -> Self {
        Self { origins: origins.iter().map(|origin| origin.to_ascii_lowercase()).collect() }
    }

    /// Whether the caller needs no token.
    pub(super) fn check(&self, caller: Caller<'_>) -> Result<()> {
        let refuse = |why: &str| Err(unauthorized(format!("a token is required: {why}")));
        if !caller.peer.to_canonical().is_loopback() {
            return refuse("the caller is not on this machine");
        }
        if let Some(header) = PROXY_HEADERS.iter().find(|header| caller.headers.contains_key(*header)) {
            return refuse(&format!("the request came through a proxy (header {header})"));
        }
        let mut hosts = caller.headers.get_all(HOST).iter();
        let host_is_local = match (hosts.next(), hosts.next()) {
            (Some(host), None) => parse_authority(host).is_some_and(|host| is_local(&host)),
            _ => false,
        };
        if !host_is_local || !caller.authority.is_none_or(is_local) {
            return refuse("the Host header does not name this machine by a loopback name or address");
        }
        if !caller.headers.get_all(ORIGIN).iter().all(|origin| self.may_call(origin)) {
            return refuse("the Origin header is neither loopback nor listed in server.cors_origins");
        }
        Ok(())
    }

    /// Whether the caller is a page that is served from this machine, and is let in as such.
    pub(super) fn is_local_page(&self, caller: Caller<'_>) -> bool {
        let mut origins = caller.headers.get_all(ORIGIN).iter();
        let is_local =
            |origin: &HeaderValue| origin.to_str().is_ok_and(|origin| is_local_origin(&origin.to_ascii_lowercase()));
        matches!((origins.next(), origins.next()), (Some(origin), None) if is_local(origin))
            && self.check(caller).is_ok()
    }

    fn may_call(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str().map(str::to_ascii_lowercase) else { return false };
        self.origins.contains(&origin) || is_local_origin(&origin)
    }
}

/// `http://localhost:3000` and the like.
fn is_local_origin(origin: &str) -> bool {
    // An origin has no path: what has one is none.
    let Some(("http" | "https", authority)) = origin.split_once("://") else { return false };
    Authority::try_from(authority).is_ok_and(|authority| is_local(&authority))
}

fn parse_authority(host: &HeaderValue) -> Option<Authority> {
    Authority::try_from(host.as_bytes()).ok()
}

fn is_local(authority: &Authority) -> bool {
    let port_fits = match authority.as_str().strip_prefix(authority.host()) {
        Some("" | ":") => true,
        _ => authority.port_u16().is_some(),
    };
    // `user@host` is no host; and what a browser and a parser take for the host may differ there.
    !authority.as_str().contains('@')
        && port_fits
        && is_loopback_host(authority.host().trim_start_matches('[').trim_end_matches(']'))
}
