//! Who is calling: a signed token, or nobody but this machine itself.
//!
//! An `Authorization` header that is present is always checked. Without one the localhost rule decides
//! (`auth/localhost.rs`). Nothing here logs, and no message repeats any part of a token.

mod localhost;
mod token;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::uri::Authority;
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, Identity, Result, Role, UserId};

use localhost::LocalhostRule;
pub use token::{KeyError, TokenRequest, TokenVerifier, issue};

/// What is known about a caller before it is known who it is.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The address of the other end of the connection.
    pub peer: IpAddr,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The host in the request line, where there is one; it wins over the `Host` header.
    pub authority: Option<&'a Authority>,
}

/// Decides who is calling.
#[derive(Debug)]
pub struct Authenticator {
    verifier: Option<TokenVerifier>,
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
            verifier: TokenVerifier::from_settings(settings)?,
            bypass: auth.localhost_bypass.then(|| LocalhostRule::new(&settings.server.cors_origins)),
            localhost_user: auth.localhost_user.clone(),
        })
    }

    /// The caller's identity.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`] with a message that says what is wrong.
    pub fn authenticate(&self, caller: Caller<'_>) -> Result<Identity> {
        let mut authorizations = caller.headers.get_all(AUTHORIZATION).iter();
        match (authorizations.next(), authorizations.next()) {
            (None, _) => self.without_token(caller),
            (Some(value), None) => self.with_token(value.to_str().unwrap_or_default()),
            (Some(_), Some(_)) => Err(unauthorized("there is more than one Authorization header")),
        }
    }

    fn with_token(&self, header: &str) -> Result<Identity> {
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(unauthorized("the Authorization header is not of the form Bearer and a token")),
        };
        let Some(verifier) = &self.verifier else {
            return Err(unauthorized("this server has no key to check tokens with; auth.jwt_secret sets one"));
        };
        let identity = verifier.verify(token)?;
        // Else a leaked token of that name would look like the machine itself.
        if self.bypass.is_some() && identity.user_id == self.localhost_user {
            return Err(unauthorized("the token is for auth.localhost_user, which needs none and may have none"));
        }
        Ok(identity)
    }

    fn without_token(&self, caller: Caller<'_>) -> Result<Identity> {
        let Some(rule) = &self.bypass else {
            return Err(unauthorized("a token is required: send Authorization: Bearer and a token"));
        };
        rule.check(caller)?;
        Ok(Identity { user_id: self.localhost_user.clone(), role: Role::System })
    }
}

fn unauthorized(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::Unauthorized, message)
}
