//! Who opens a connection that outlives its request: a WebSocket.
//!
//! Browsers cannot set a header on one, so the token may come in the address too, or in a first frame. A token that
//! came is always checked, and where two came the header's counts.

use hyper::header::AUTHORIZATION;
use kalamdb_commons::{Error, Identity, Result};

use super::{Authenticator, Caller, TokenClaim, bearer_token, unauthorized};

/// What a handshake says of its caller.
#[derive(Debug, Clone)]
pub enum Handshake {
    /// A good token came along.
    Token(TokenClaim),
    /// No token came, and none is needed.
    Localhost(Identity),
    /// No token came, and one is needed: why.
    Nobody(Error),
}

impl Authenticator {
    /// Who the caller claims to be, with proof, where it has said so yet; `token` is that of the address.
    ///
    /// # Errors
    /// [`kalamdb_commons::ErrorCode::Unauthorized`] for a token that is no good.
    pub fn handshake(&self, caller: Caller<'_>, token: Option<&str>) -> Result<Handshake> {
        let mut authorizations = caller.headers.get_all(AUTHORIZATION).iter();
        match (authorizations.next(), authorizations.next(), token) {
            (Some(value), None, _) => self.claim(bearer_token(value)?).map(Handshake::Token),
            (Some(_), Some(_), _) => Err(unauthorized("there is more than one Authorization header")),
            (None, _, Some(token)) => self.claim(token).map(Handshake::Token),
            (None, _, None) => Ok(self.without_token(caller).map_or_else(Handshake::Nobody, Handshake::Localhost)),
        }
    }

    /// Whom a token speaks for, and until when.
    ///
    /// # Errors
    /// [`kalamdb_commons::ErrorCode::Unauthorized`] with a message that says what is wrong.
    pub fn claim(&self, token: &str) -> Result<TokenClaim> {
        let claim = self.verifier()?.claim(token)?;
        self.check_name(&claim.identity)?;
        Ok(claim)
    }
}
