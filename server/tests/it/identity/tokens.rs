//! Tokens as nobody should make them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::key_path;
use crate::harness::{SECRET, now};

/// `ann`'s claims for ten minutes, changed by `change`; null takes a claim away, `{"is": null}` sets it to null.
pub(super) fn claims_with(change: Value) -> Value {
    let mut claims = json!({"user_id": "ann", "exp": now() + 600});
    for (name, value) in change.as_object().into_iter().flatten() {
        if value.is_null() {
            claims.as_object_mut().and_then(|claims| claims.remove(name));
        } else {
            claims[name] = if value.get("is").is_some() { Value::Null } else { value.clone() };
        }
    }
    claims
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes())
}

fn key(name: &str) -> EncodingKey {
    let text = std::fs::read(key_path(name)).expect("a key");
    let key = match name.split('_').next() {
        Some("rsa") => EncodingKey::from_rsa_pem(&text),
        Some("ec") => EncodingKey::from_ec_pem(&text),
        _ => EncodingKey::from_ed_pem(&text),
    };
    key.expect("a private key")
}

/// A token by this algorithm and key.
pub(super) fn by(algorithm: Algorithm, key: &EncodingKey, change: Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), &claims_with(change), key).expect("it signs")
}

/// By the servers' secret.
pub(super) fn hs(change: Value) -> String {
    by(Algorithm::HS256, &secret(), change)
}

/// By the servers' secret, which is meant for another algorithm.
pub(super) fn hs_as(algorithm: Algorithm) -> String {
    by(algorithm, &secret(), json!({}))
}

/// By another secret.
pub(super) fn hs_by(secret: &[u8]) -> String {
    by(Algorithm::HS256, &EncodingKey::from_secret(secret), json!({}))
}

/// By a private key of the tests.
pub(super) fn signed(algorithm: Algorithm, key_name: &str, change: Value) -> String {
    by(algorithm, &key(key_name), change)
}

/// By HS256 with a public key as the secret: the old trick.
pub(super) fn hs_by_public(name: &str) -> String {
    hs_by(&std::fs::read(key_path(name)).expect("a key"))
}

/// Header and claims as they are given, signed with the servers' secret.
pub(super) fn raw(header: &str, claims: &str) -> String {
    signed_text(&format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims)))
}

/// Two parts as they are given, signed with the servers' secret.
pub(super) fn signed_text(signed: &str) -> String {
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &secret(), Algorithm::HS256).expect("it signs");
    format!("{signed}.{signature}")
}

/// Good claims behind this header.
pub(super) fn with_header(header: &str) -> String {
    raw(header, &claims_with(json!({})).to_string())
}

/// These claims behind a good header; `EXP` is in ten minutes.
pub(super) fn with_claims(claims: &str) -> String {
    raw(r#"{"alg":"HS256"}"#, &claims.replace("EXP", &(now() + 600).to_string()))
}

/// A good token whose parts are changed.
pub(super) fn changed(change: impl FnOnce(&mut Vec<String>)) -> String {
    let mut parts = hs(json!({})).split('.').map(str::to_owned).collect();
    change(&mut parts);
    parts.join(".")
}

/// The claims of another token, as they are in it.
pub(super) fn part(token: &str, at: usize) -> String {
    token.split('.').nth(at).expect("three parts").to_owned()
}
