//! JSON Web Tokens: checked with the configured key and its algorithm, made from the configured secret.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use kalamdb_commons::settings::{AuthSettings, Settings};
use kalamdb_commons::{Identity, Result, Role, UserId};
use serde_json::{Map, Value, json};

use super::unauthorized;

/// A key file that is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; expected a PEM file with a public key for RS256, ES256 (P-256) or EdDSA (Ed25519)")]
pub struct KeyError(String);

/// Checks tokens. The algorithm is the key's; what a token says about it is only compared.
pub struct TokenVerifier {
    key: DecodingKey,
    algorithm: Algorithm,
    validation: Validation,
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
        let mut validation = Validation::new(algorithm);
        // The signature is the library's part. Claims are checked below: exactly, and with a message for each defect.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Some(Self { key, algorithm, validation, issuer: auth.issuer.clone(), audience: auth.audience.clone() }))
    }

    /// Who a token speaks for.
    ///
    /// # Errors
    /// `UNAUTHORIZED`, naming the defect.
    pub fn verify(&self, token: &str) -> Result<Identity> {
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &self.key, &self.validation)
            .map_err(|error| unauthorized(self.explain(token, error.kind())))?;
        if decoded.header.crit.is_some() {
            return Err(unauthorized("the token's header has critical parameters that this server does not know"));
        }
        self.check_claims(&decoded.claims, now_seconds())
    }

    fn explain(&self, token: &str, kind: &ErrorKind) -> String {
        let expected = self.algorithm;
        match kind {
            ErrorKind::InvalidSignature => "the token's signature is not valid".to_owned(),
            ErrorKind::InvalidAlgorithm => {
                format!("the token is not signed with {expected:?}, the algorithm of this server's key")
            }
            ErrorKind::InvalidToken => "the token is not a JWT: it has not three parts".to_owned(),
            _ if jsonwebtoken::decode_header(token).is_err() => {
                format!("the token's header is not valid or names an unknown algorithm; expected {expected:?}")
            }
            _ => "the token is not a valid JWT: a part is not base64url, or the claims are no JSON object".to_owned(),
        }
    }

    fn check_claims(&self, claims: &Map<String, Value>, now: f64) -> Result<Identity> {
        let refuse = |why: String| Err(unauthorized(why));
        match claims.get("exp").map(Value::as_f64) {
            None => return refuse("the token has no exp claim".to_owned()),
            Some(None) => return refuse("the token's exp claim is not a number of seconds".to_owned()),
            Some(Some(exp)) if exp <= now => return refuse("the token has expired".to_owned()),
            Some(Some(_)) => {}
        }
        match claims.get("nbf").map(Value::as_f64) {
            Some(None) => return refuse("the token's nbf claim is not a number of seconds".to_owned()),
            Some(Some(nbf)) if nbf > now => return refuse("the token is not valid yet (nbf)".to_owned()),
            None | Some(Some(_)) => {}
        }
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
            Some(Value::String(text)) => text
                .parse::<Role>()
                .map_err(|error| unauthorized(format!("the token's role claim: {}", error.message)))?,
            Some(_) => return refuse("the token's role claim is not a string".to_owned()),
        };
        Ok(Identity { user_id, role })
    }
}

fn names_audience(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(text)) => text == audience,
        Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(audience)),
        _ => false,
    }
}

fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn read_public_key(path: &Path) -> Result<(DecodingKey, Algorithm), KeyError> {
    let text = std::fs::read(path).map_err(|error| KeyError(format!("cannot read {}: {error}", path.display())))?;
    parse_public_key(&text).map_err(|why| KeyError(format!("{} {why}", path.display())))
}

fn parse_public_key(pem: &[u8]) -> Result<(DecodingKey, Algorithm), &'static str> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY-----") {
        return Err("holds a private key, which does not belong on a server that only checks tokens");
    }
    if !text.contains("-----BEGIN PUBLIC KEY-----") && !text.contains("-----BEGIN RSA PUBLIC KEY-----") {
        return Err("holds no public key");
    }
    let (key, algorithm) = DecodingKey::from_ec_pem(pem)
        .map(|key| (key, Algorithm::ES256))
        .or_else(|_| DecodingKey::from_ed_pem(pem).map(|key| (key, Algorithm::EdDSA)))
        .or_else(|_| DecodingKey::from_rsa_pem(pem).map(|key| (key, Algorithm::RS256)))
        .map_err(|_| "holds no key of a supported kind")?;
    // A key of another curve or size shows only when it is used.
    jsonwebtoken::crypto::verify("AAAA", b"", &key, algorithm).map_err(|_| "holds no key of a supported kind")?;
    Ok((key, algorithm))
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
