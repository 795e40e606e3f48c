//! JSON Web Tokens: checked with the configured key and its algorithm, made from the configured secret.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use kalamdb_commons::settings::{AuthSettings, Settings};
use kalamdb_commons::{Identity, Result, Role, UserId};
use serde_json::{Map, Value, json};

use super::key::{KeyError, read_public_key};
use super::unauthorized;

/// Checks tokens. The algorithm is the key's; what a token says about it is only compared.
pub struct TokenVerifier {
    key: DecodingKey,
    algorithm: Algorithm,
    issuer: Option<String>,
    audience: Option<String>,
}

impl fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVerifier").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// Takes the key of the settings; `None` if they have none.
    ///
    /// # Errors
    /// When the key file cannot be read or is no public key.
    pub fn from_settings(settings: &Settings) -> Result<Option<Self>, KeyError> {
        let auth = &settings.auth;
        let (key, algorithm) = match (&auth.jwt_secret, &auth.jwt_public_key_file) {
            (Some(secret), _) => (DecodingKey::from_secret(secret.expose()), Algorithm::HS256),
            (None, Some(path)) => read_public_key(path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { key, algorithm, issuer: auth.issuer.clone(), audience: auth.audience.clone() }))
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// `UNAUTHORIZED`, naming the defect.
    pub fn verify(&self, token: &str) -> Result<Identity> {
        let claims = self.check(token)?;
        claims.check_time(now_seconds())?;
        Ok(claims.into_token_claim().identity)
    }

    /// What a token claims: everything about it is good, save perhaps its time.
    ///
    /// The signature is the library's part. The three parts are taken to pieces here, so that nothing but the rules of this
    /// server decides, and each defect has its message. Of the token's text nothing is repeated.
    pub(super) fn check(&self, token: &str) -> Result<Claims> {
        let refuse = |why: String| Err(unauthorized(why));
        let parts =
            token.rsplit_once('.').and_then(|(signed, signature)| Some((signed, signed.split_once('.')?, signature)));
        let Some((signed, (header, claims), signature)) = parts.filter(|(_, (_, claims), _)| !claims.contains('.'))
        else {
            return refuse("the token is not a JWT: it has not three parts".to_owned());
        };
        let header = json_object(header).map_err(|why| unauthorized(format!("the token's header is not {why}")))?;
        let algorithm = format!("{:?}", self.algorithm);
        match header.get("alg").map(Value::as_str) {
            Some(Some(named)) if named == algorithm => {}
            Some(_) => {
                return refuse(format!("the token is not signed with {algorithm}, the algorithm of this server's key"));
            }
            None => return refuse("the token's header names no algorithm (alg)".to_owned()),
        }
        if header.contains_key("crit") {
            return refuse("the token's header has critical parameters that this server does not know".to_owned());
        }
        match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), &self.key, self.algorithm) {
            Ok(true) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Base64(_)) => {
                return refuse("the token's signature is not base64url".to_owned());
            }
            Ok(false) | Err(_) => return refuse("the token's signature is not valid".to_owned()),
        }
        let claims = json_object(claims).map_err(|why| unauthorized(format!("the token's claims are not {why}")))?;
        self.read(&claims)
    }

    fn read(&self, claims: &Map<String, Value>) -> Result<Claims> {
        let refuse = |why: String| Err(unauthorized(why));
        let seconds = |name: &str| match claims.get(name).map(Value::as_f64) {
            Some(None) => Err(unauthorized(format!("the token's {name} claim is not a number of seconds"))),
            Some(seconds) => Ok(seconds),
            None => Ok(None),
        };
        let Some(expires_at) = seconds("exp")? else { return refuse("the token has no exp claim".to_owned()) };
        let not_before = seconds("nbf")?;
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return refuse("the token's iss claim is not the issuer this server expects".to_owned());
        }
        if let Some(audience) = &self.audience
            && !names_audience(claims.get("aud"), audience)
        {
            return refuse("the token's aud claim does not name the audience this server expects".to_owned());
        }
        let user_id = match claims.get("user_id") {
            None => return refuse("the token has no user_id claim".to_owned()),
            Some(Value::String(text)) => UserId::new(text)
                .map_err(|error| unauthorized(format!("the token's user_id claim: {}", error.message)))?,
            Some(_) => return refuse("the token's user_id claim is not a string".to_owned()),
        };
        let role = match claims.get("role") {
            None => Role::User,
            // An unknown one is not repeated: it is part of the token.
            Some(Value::String(text)) => match text.parse::<Role>() {
                Ok(role) => role,
                Err(_) => {
                    return refuse(
                        "the token's role claim is an unknown role: expected user, service or dba".to_owned(),
                    );
                }
            },
            Some(_) => return refuse("the token's role claim is not a string".to_owned()),
        };
        Ok(Claims { identity: Identity { user_id, role }, expires_at, not_before })
    }
}

/// What a verified token claims, and when that holds.
#[derive(Debug, Clone)]
pub(super) struct Claims {
    identity: Identity,
    /// Seconds since the epoch.
    expires_at: f64,
    /// Seconds since the epoch.
    not_before: Option<f64>,
}

impl Claims {
    /// Whether they hold now: there is no leeway.
    pub(super) fn check_time(&self, now: f64) -> Result<()> {
        if self.expires_at <= now {
            return Err(unauthorized("the token has expired"));
        }
        if self.not_before.is_some_and(|not_before| not_before > now) {
            return Err(unauthorized("the token is not valid yet (nbf)"));
        }
        Ok(())
    }

    pub(super) fn user_id(&self) -> &UserId {
        &self.identity.user_id
    }

    pub(super) fn into_token_claim(self) -> TokenClaim {
        TokenClaim { identity: self.identity, expires_at: self.expires_at }
    }
}

/// Whom a good token speaks for, and until when.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenClaim {
    /// The claimed user and role.
    pub identity: Identity,
    /// Seconds since the epoch.
    pub expires_at: f64,
}

/// A part of a token as the JSON object that it is; what else it should have been.
fn json_object(part: &str) -> Result<Map<String, Value>, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| "base64url")?;
    serde_json::from_slice(&bytes).map_err(|_| "a JSON object")
}

fn names_audience(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(text)) => text == audience,
        Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(audience)),
        _ => false,
    }
}

/// Seconds since the epoch, with their fraction.
pub(crate) fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// What a token should say.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// For whom.
    pub user_id: UserId,
    /// With which role.
    pub role: Role,
    /// For how long from now.
    pub ttl: Duration,
}

/// Makes a token that a server with these settings accepts; `None` if they have no secret.
///
/// # Errors
/// What the signing library says.
pub fn issue(settings: &AuthSettings, request: &TokenRequest) -> Result<Option<String>> {
    let Some(secret) = &settings.jwt_secret else { return Ok(None) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut claims = json!({
        "user_id": request.user_id.as_str(),
        "role": request.role.as_str(),
        "iat": now.as_secs(),
        "exp": (now + request.ttl).as_secs(),
    });
    for (name, value) in [("iss", &settings.issuer), ("aud", &settings.audience)] {
        if let Some(value) = value {
            claims[name] = json!(value);
        }
    }
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret.expose()))
        .map(Some)
        .map_err(kalamdb_commons::Error::internal)
}
