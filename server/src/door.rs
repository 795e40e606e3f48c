//! HTTP and WebSocket: the accept loop, the filters, how an answer looks, and live connections (`socket`).
//!
//! A request goes connection → `service` (request id, CORS, panics) → `routes` (warp filters) → a
//! handler, which asks the engine and nothing else. A client that goes away takes its handler with it: the
//! dropped call cancels the statement. A panic in one request is that request's 500 and nobody else's.
//!
//! What a client can hold is bounded: connections, the time and size of a request's head, the time, size
//! and sum of all bodies, the time a connection may idle or refuse to read its answer.

mod answer;
mod body;
mod connection;
mod context;
mod cors;
mod formats;
mod listener;
mod rejection;
mod routes;
mod service;
mod socket;
mod sql;
mod status;
mod stream;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use hyper::HeaderMap;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Identity, Result};
use kalamdb_core::Engine;
use tokio_util::sync::CancellationToken;

use crate::auth::{Authenticator, Caller};
use body::BodyReader;
use context::RequestContext;
use cors::Cors;

pub(crate) use listener::{Connections, accept};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Door {
    settings: Arc<Settings>,
    engine: Engine,
    authenticator: Authenticator,
    bodies: BodyReader,
    cors: Cors,
    stopping: CancellationToken,
}

impl Door {
    pub(crate) fn new(settings: Arc<Settings>, engine: Engine, authenticator: Authenticator) -> Self {
        Self {
            bodies: BodyReader::new(&settings.server),
            cors: Cors::new(&settings.server.cors_origins, authenticator.has_localhost_rule()),
            settings,
            engine,
            authenticator,
            stopping: CancellationToken::new(),
        }
    }

    /// From now on no statement is taken, no body is waited for, and connections end with their answer.
    pub(crate) fn begin_stop(&self) {
        self.stopping.cancel();
        self.engine.refuse_new();
    }

    /// Who calls, as its headers claim; refused at once where the engine refuses the user. What the user may do is the
    /// engine's word at the moment it is asked: [`Engine::identify`].
    fn claimed_identity(&self, context: &RequestContext, headers: &HeaderMap) -> Result<Identity> {
        let caller = Caller { peer: context.peer, headers, authority: context.authority.as_ref() };
        let claimed = self.authenticator.authenticate(caller)?;
        self.engine.identify(claimed.clone())?;
        Ok(claimed)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }
}

/// What a handler gives: an answer, or an error to be answered in the one way errors are.
type Handled = Result<warp::reply::Response>;
