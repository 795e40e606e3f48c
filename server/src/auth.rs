//! Who is calling: a signed token, or nobody but this machine itself.
//!
//! An `Authorization` header that is present is always checked. Without one the localhost rule decides
//! (`auth/localhost.rs`). Nothing here logs, and no message repeats any part of a token. What comes out is a
//! claim: the engine knows the rows of `system.users` and has the last word.

mod cache;
mod handshake;
mod key;
mod localhost;
mod token;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use hyper::http::uri::Authority;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, Identity, Result, Role, UserId};

use cache::CachingVerifier;
pub use handshake::Handshake;
pub use key::KeyError;
use localhost::LocalhostRule;
pub(crate) use token::now_seconds;
pub use token::{TokenClaim, TokenRequest, TokenVerifier, issue};

/// What is known about a caller before it is known who it is.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The address of the other end of the connection.
    pub peer: IpAddr,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The host in the request line, where there is one; it wins over the `Host` header.
    pub authority: Option<&'a Authority>,
}

impl std::fmt::Debug for Caller<'_> {
    /// Without the headers: a token is among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("peer", &self.peer).field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// Decides who is calling.
#[derive(Debug)]
pub struct Authenticator {
    verifier: Option<CachingVerifier>,
    bypass: Option<LocalhostRule>,
    localhost_user: UserId,
}

impl Authenticator {
    /// Reads the key that the settings name.
    ///
    /// # Errors
    /// When it cannot be read or is no key.
    pub fn from_settings(settings: &Settings) -> Result<Self, KeyError> {
        let auth = &settings.auth;
        Ok(Self {
            verifier: TokenVerifier::from_settings(settings)?.map(CachingVerifier::new),
            bypass: auth.localhost_bypass.then(|| LocalhostRule::new(&settings.server.cors_origins)),
            localhost_user: auth.localhost_user.clone(),
        })
    }

    /// Who the caller claims to be, with proof.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] with a message that says what is wrong.
    pub fn authenticate(&self, caller: Caller<'_>) -> Result<Identity> {
        let mut authorizations = caller.headers.get_all(AUTHORIZATION).iter();
        match (authorizations.next(), authorizations.next()) {
            (None, _) => self.without_token(caller),
            (Some(value), None) => self.with_token(bearer_token(value)?),
            (Some(_), Some(_)) => Err(unauthorized("there is more than one Authorization header")),
        }
    }

    /// Whether the localhost rule holds for the caller, and its `Origin` is this machine: what lets such a page in lets it read.
    pub(crate) fn is_local_page(&self, caller: Caller<'_>) -> bool {
        self.bypass.as_ref().is_some_and(|rule| rule.is_local_page(caller))
    }

    /// Whether there is a localhost rule.
    pub(crate) fn has_localhost_rule(&self) -> bool {
        self.bypass.is_some()
    }

    fn with_token(&self, token: &str) -> Result<Identity> {
        let identity = self.verifier()?.verify(token)?;
        self.check_name(&identity)?;
        Ok(identity)
    }

    fn verifier(&self) -> Result<&CachingVerifier> {
        self.verifier.as_ref().ok_or_else(|| {
            unauthorized(
                "this server has no key to check tokens with; auth.jwt_secret or auth.jwt_public_key_file sets one",
            )
        })
    }

    /// Else a leaked token of that name would look like the machine itself.
    fn check_name(&self, identity: &Identity) -> Result<()> {
        if self.bypass.is_some() && identity.user_id == self.localhost_user {
            return Err(unauthorized("the token is for auth.localhost_user, which needs none and may have none"));
        }
        Ok(())
    }

    fn without_token(&self, caller: Caller<'_>) -> Result<Identity> {
        let Some(rule) = &self.bypass else {
            return Err(unauthorized("a token is required: send Authorization: Bearer and a token"));
        };
        rule.check(caller)?;
        Ok(Identity { user_id: self.localhost_user.clone(), role: Role::System })
    }
}

/// The token of an Authorization header; the scheme may be in any case (RFC 9110, 11.1).
fn bearer_token(header: &HeaderValue) -> Result<&str> {
    let refuse = |why: &str| Err(unauthorized(format!("the Authorization header {why}")));
    let Ok(text) = header.to_str() else { return refuse("holds something else than ASCII text") };
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    match (scheme, token.trim()) {
        ("", _) => refuse("is empty"),
        (scheme, _) if !scheme.eq_ignore_ascii_case("bearer") => refuse("is not of the form Bearer and a token"),
        (_, "") => refuse("has no token after Bearer"),
        (_, token) if token.contains([' ', '\t']) => refuse("has something after the token"),
        (_, token) => Ok(token),
    }
}

fn unauthorized(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Unauthorized, message)
}
