//! What it costs to know who is calling: a token seen before, against one that is verified anew.
//!
//! Run it as `cargo bench --workspace --bench tokens`: with `-p` other features are resolved, and RocksDB is built anew.
//! A cached check has to stay below 5 µs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use divan::Bencher;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kalamdb_commons::settings::Secret;
use kalamdb_server::Settings;
use kalamdb_server::auth::{Authenticator, Caller, TokenVerifier};
use serde_json::json;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ALGORITHMS: [Algorithm; 4] = [Algorithm::HS256, Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

fn main() {
    divan::main();
}

fn key_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn key_text(name: &str) -> Vec<u8> {
    std::fs::read(key_path(name)).expect("the tests' keys are in the repository")
}

/// A server's settings and a token it takes.
fn of(algorithm: Algorithm) -> (Settings, String) {
    let mut settings = Settings::default();
    let (key, public) = match algorithm {
        Algorithm::RS256 => (EncodingKey::from_rsa_pem(&key_text("rsa_private.pem")), Some("rsa_public.pem")),
        Algorithm::ES256 => (EncodingKey::from_ec_pem(&key_text("ec_private.pem")), Some("ec_public.pem")),
        Algorithm::EdDSA => (EncodingKey::from_ed_pem(&key_text("ed_private.pem")), Some("ed_public.pem")),
        _ => (Ok(EncodingKey::from_secret(SECRET.as_bytes())), None),
    };
    match public {
        Some(name) => settings.auth.jwt_public_key_file = Some(key_path(name)),
        None => settings.auth.jwt_secret = Secret::new(SECRET),
    }
    let later = SystemTime::now() + Duration::from_secs(3600);
    let expires_at = later.duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970").as_secs();
    let claims =
        json!({"user_id": "a-user-like-any-other", "role": "user", "iat": expires_at - 3600, "exp": expires_at});
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key.expect("a key")).expect("it signs");
    (settings, token)
}

/// As a request pays for it from its second time on.
#[divan::bench(args = ALGORITHMS, threads = [1, 2])]
fn cached(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (settings, token) = of(algorithm);
    let authenticator = Authenticator::from_settings(&settings).expect("a good key");
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).expect("a header"));
    let caller = Caller { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), headers: &headers, authority: None };
    authenticator.authenticate(caller).expect("a good token");
    bencher.bench(|| authenticator.authenticate(divan::black_box(caller)).expect("a good token"));
}

/// As a request pays for it the first time.
#[divan::bench(args = ALGORITHMS)]
fn verified(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let (settings, token) = of(algorithm);
    let verifier = TokenVerifier::from_settings(&settings).expect("a good key").expect("a key");
    bencher.bench(|| verifier.verify(divan::black_box(&token)).expect("a good token"));
}
