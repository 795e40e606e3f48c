//! `token`: a JWT from the configured secret.

use kalamdb_commons::settings::AuthSettings;
use kalamdb_server::auth::{TokenRequest, issue};

/// Why there is no token.
#[derive(Debug)]
pub(super) enum NoToken {
    /// The settings do not allow one.
    Settings(String),
    /// Anything else.
    Other(String),
}

/// Makes a token that the configured server accepts.
pub(super) fn make(settings: &AuthSettings, request: &TokenRequest) -> Result<String, NoToken> {
    if settings.localhost_bypass && request.user_id == settings.localhost_user {
        let user = &request.user_id;
        return Err(NoToken::Other(format!(
            "with auth.localhost_bypass the server refuses tokens for {user}, which is auth.localhost_user"
        )));
    }
    match issue(settings, request) {
        Ok(Some(token)) => Ok(token),
        Ok(None) => Err(NoToken::Settings(
            "auth.jwt_secret (from the default): not set; expected a text of at least 32 bytes to sign the token with"
                .to_owned(),
        )),
        Err(error) => Err(NoToken::Other(error.detail.unwrap_or(error.message))),
    }
}
