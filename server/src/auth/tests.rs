//! Every defect of a token is named, and the localhost rule lets in this machine's programs alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::header::{FORWARDED, HOST, HeaderName, HeaderValue, ORIGIN};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use kalamdb_commons::settings::Secret;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn key_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn key_text(name: &str) -> Vec<u8> {
    std::fs::read(key_path(name)).expect("the tests' keys are in the repository")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Good claims, changed by `change`; null removes a claim.
fn claims(change: Value) -> Value {
    let mut claims = json!({"user_id": "ann", "role": "service", "exp": now() + 60});
    for (name, value) in change.as_object().into_iter().flatten() {
        if value.is_null() {
            claims.as_object_mut().and_then(|claims| claims.remove(name));
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn sign(algorithm: Algorithm, claims: &Value, key: &EncodingKey) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, key).expect("it signs")
}

fn hs256(claims: &Value) -> String {
    sign(Algorithm::HS256, claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.auth.jwt_secret = Secret::new(SECRET);
    settings
}

fn with_public_key(name: &str) -> Settings {
    let mut settings = Settings::default();
    settings.auth.jwt_public_key_file = Some(key_path(name));
    settings
}

fn verify(settings: &Settings, token: &str) -> Result<Identity> {
    TokenVerifier::from_settings(settings).expect("a good key").expect("a key").verify(token)
}

#[track_caller]
fn refused(settings: &Settings, token: &str, says: &str) {
    let error = verify(settings, token).expect_err("this token is no good");
    assert_eq!(error.code, ErrorCode::Unauthorized);
    assert!(error.message.contains(says), "{says:?} is not in {:?}", error.message);
    assert!(token.is_empty() || !error.message.contains(token), "{}", error.message);
}

#[test]
fn a_good_token_says_who_and_as_what() {
    let ann = |role| Identity { user_id: UserId::new("ann").expect("an id"), role };
    assert_eq!(verify(&settings(), &hs256(&claims(json!({})))).expect("good"), ann(Role::Service));
    assert_eq!(verify(&settings(), &hs256(&claims(json!({"role": null})))).expect("good"), ann(Role::User));
    assert_eq!(verify(&settings(), &hs256(&claims(json!({"role": "dba"})))).expect("good"), ann(Role::Dba));
    assert_eq!(
        verify(&settings(), &hs256(&claims(json!({"nbf": now() - 1, "aud": "x"})))).expect("good"),
        ann(Role::Service)
    );
    let fraction = json!({"exp": now() as f64 + 30.5});
    assert!(verify(&settings(), &hs256(&claims(fraction))).is_ok());
    let odd = verify(&settings(), &hs256(&claims(json!({"user_id": "../../etc"})))).expect("harmless");
    assert_eq!(odd.user_id.as_str(), "../../etc");
}

#[test]
fn every_wrong_claim_is_named() {
    for (change, says) in [
        (json!({"exp": null}), "no exp claim"),
        (json!({"exp": "soon"}), "exp claim is not a number"),
        (json!({"exp": now() - 1}), "expired"),
        (json!({"exp": now()}), "expired"),
        (json!({"exp": -1}), "expired"),
        (json!({"nbf": now() + 30}), "not valid yet"),
        (json!({"nbf": "later"}), "nbf claim is not a number"),
        (json!({"user_id": null}), "no user_id claim"),
        (json!({"user_id": 7}), "user_id claim is not a string"),
        (json!({"user_id": ""}), "user_id claim: a user id has 1 to 128 characters"),
        (json!({"user_id": "a\u{0}b"}), "control characters"),
        (json!({"user_id": "a".repeat(129)}), "128"),
        (json!({"role": "root"}), "unknown role"),
        (json!({"role": "system"}), "unknown role"),
        (json!({"role": ["dba"]}), "role claim is not a string"),
    ] {
        refused(&settings(), &hs256(&claims(change)), says);
    }
}

#[test]
fn issuer_and_audience_are_checked_where_they_are_set() {
    let mut settings = settings();
    settings.auth.issuer = Some("https://login.example".to_owned());
    settings.auth.audience = Some("kalamdb".to_owned());
    let both = |iss: Value, aud: Value| hs256(&claims(json!({"iss": iss, "aud": aud})));
    let good = json!("https://login.example");
    assert!(verify(&settings, &both(good.clone(), json!("kalamdb"))).is_ok());
    assert!(verify(&settings, &both(good.clone(), json!(["other", "kalamdb"]))).is_ok());
    refused(&settings, &both(json!("https://evil.example"), json!("kalamdb")), "iss claim");
    refused(&settings, &both(Value::Null, json!("kalamdb")), "iss claim");
    refused(&settings, &both(good.clone(), json!("other")), "aud claim");
    refused(&settings, &both(good.clone(), json!([])), "aud claim");
    refused(&settings, &both(good, Value::Null), "aud claim");
}

#[test]
fn forged_and_broken_tokens_are_refused() {
    let good = hs256(&claims(json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let other = EncodingKey::from_secret(b"another secret that is long enough, too");
    refused(&settings(), &sign(Algorithm::HS256, &claims(json!({})), &other), "signature is not valid");
    refused(&settings(), &format!("{}.{}.", parts[0], parts[1]), "signature is not valid");
    let dba = hs256(&claims(json!({"role": "dba"})));
    let swapped = format!("{}.{}.{}", parts[0], dba.split('.').nth(1).expect("claims"), parts[2]);
    refused(&settings(), &swapped, "signature is not valid");
    let strong = sign(Algorithm::HS512, &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes()));
    refused(&settings(), &strong, "not signed with HS256");
    // {"alg":"none","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    refused(&settings(), &none, "not signed with HS256");
    for broken in ["", "x", "a.b", "a.b.c.d", "..", "ä.ö.ü"] {
        assert!(verify(&settings(), broken).is_err_and(|error| error.code == ErrorCode::Unauthorized), "{broken:?}");
    }
    let list = sign(Algorithm::HS256, &json!([1]), &EncodingKey::from_secret(SECRET.as_bytes()));
    refused(&settings(), &list, "claims are not a JSON object");
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let critical = jsonwebtoken::encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET.as_bytes()));
    refused(&settings(), &critical.expect("it signs"), "critical");
}

#[test]
fn a_public_key_decides_its_algorithm() {
    let signers = [
        ("rsa", Algorithm::RS256, EncodingKey::from_rsa_pem(&key_text("rsa_private.pem"))),
        ("ec", Algorithm::ES256, EncodingKey::from_ec_pem(&key_text("ec_private.pem"))),
        ("ed", Algorithm::EdDSA, EncodingKey::from_ed_pem(&key_text("ed_private.pem"))),
    ]
    .map(|(name, algorithm, key)| (name, sign(algorithm, &claims(json!({})), &key.expect("a private key"))));
    let pkcs1 = with_public_key("rsa_pkcs1_public.pem");
    assert!(verify(&pkcs1, &signers[0].1).is_ok(), "the same key in the older format");
    for (name, _) in &signers {
        let settings = with_public_key(&format!("{name}_public.pem"));
        for (signer, token) in &signers {
            assert_eq!(verify(&settings, token).is_ok(), name == signer, "{signer} against {name}");
        }
        // The old trick: the public key's text as an HMAC secret.
        let confused = EncodingKey::from_secret(&key_text(&format!("{name}_public.pem")));
        refused(&settings, &sign(Algorithm::HS256, &claims(json!({})), &confused), "not signed with");
        refused(&settings, &hs256(&claims(json!({}))), "not signed with");
    }
    refused(&settings(), &signers[0].1, "not signed with HS256");
}

#[test]
fn a_key_file_that_is_none_is_refused_at_once() {
    for (name, says) in [
        ("ec_private.pem", "private key"),
        ("rsa_private.pem", "private key"),
        ("p384_public.pem", "no key of a supported kind"),
        ("secp256k1_public.pem", "no key of a supported kind"),
        ("ed448_public.pem", "no key of a supported kind"),
        ("ed_short_public.pem", "no key of a supported kind"),
        ("rsa_1024_public.pem", "an RSA key of 1024 bits"),
        ("rsa_8192_public.pem", "an RSA key of 8192 bits"),
        ("certificate.pem", "no public key"),
        ("two_public.pem", "more than one PEM block"),
        ("", "cannot read"),
        ("nowhere.pem", "cannot read"),
        ("../../Cargo.toml", "no public key"),
    ] {
        let error = TokenVerifier::from_settings(&with_public_key(name)).expect_err(name).to_string();
        assert!(error.contains(says) && error.contains("PEM"), "{name}: {error}");
    }
    assert!(TokenVerifier::from_settings(&Settings::default()).is_ok_and(|verifier| verifier.is_none()));
}

#[test]
fn a_key_file_cut_off_anywhere_is_refused_and_never_a_panic() {
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let path = dir.path().join("key.pem");
    for name in ["rsa_public.pem", "rsa_pkcs1_public.pem", "ec_public.pem", "ed_public.pem"] {
        let lines: Vec<String> = String::from_utf8_lossy(&key_text(name)).lines().map(str::to_owned).collect();
        let (begin, base64, end) = (&lines[0], lines[1..lines.len() - 1].concat(), &lines[lines.len() - 1]);
        for kept in (0..base64.len()).step_by(4) {
            std::fs::write(&path, format!("{begin}\n{}\n{end}\n", &base64[..kept])).expect("a writable file");
            let mut settings = Settings::default();
            settings.auth.jwt_public_key_file = Some(path.clone());
            let error = TokenVerifier::from_settings(&settings).expect_err("half a key").to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn tokens_of_ours_are_accepted_by_us() {
    let mut settings = settings();
    settings.auth.issuer = Some("me".to_owned());
    settings.auth.audience = Some("kalamdb".to_owned());
    let request =
        TokenRequest {
            user_id: UserId::new("жанна").expect("an id"), role: Role::Dba, ttl: Duration::from_secs(60)
        };
    let token = issue(&settings.auth, &request).expect("it signs").expect("there is a secret");
    let identity = verify(&settings, &token).expect("good");
    assert_eq!((identity.user_id.as_str(), identity.role), ("жанна", Role::Dba));
    assert_eq!(issue(&Settings::default().auth, &request).expect("nothing to do"), None);
}

/// A request from this machine as programs send it, changed by `change`; an empty value removes the header.
fn local_request(change: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, HeaderValue::from_static("127.0.0.1:8080"));
    for (name, value) in change {
        headers.remove(name);
        if !value.is_empty() {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers
}

fn local_settings() -> Settings {
    let mut settings = settings();
    settings.auth.localhost_bypass = true;
    settings.server.cors_origins = vec!["https://app.example".to_owned()];
    settings
}

fn ask(settings: &Settings, peer: &str, headers: &HeaderMap, authority: Option<&Authority>) -> Result<Identity> {
    let authenticator = Authenticator::from_settings(settings).expect("good settings");
    authenticator.authenticate(Caller { peer: peer.parse().expect("an address"), headers, authority })
}

#[test]
fn programs_on_this_machine_need_no_token() {
    let settings = local_settings();
    for peer in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        let identity = ask(&settings, peer, &local_request(&[]), None).expect(peer);
        assert_eq!((identity.user_id.as_str(), identity.role), ("system", Role::System), "{peer}");
    }
    for host in ["localhost", "LOCALHOST:8080", "[::1]:8080", "127.0.0.1", "db.localhost:1"] {
        assert!(ask(&settings, "127.0.0.1", &local_request(&[(HOST, host)]), None).is_ok(), "{host}");
    }
    for origin in [
        "http://localhost:3000",
        "https://127.0.0.1",
        "http://[::1]:5173",
        "https://app.example",
        "https://APP.example",
    ] {
        assert!(ask(&settings, "127.0.0.1", &local_request(&[(ORIGIN, origin)]), None).is_ok(), "{origin}");
    }
    let mut other = local_settings();
    other.auth.localhost_user = UserId::new("me").expect("an id");
    assert_eq!(ask(&other, "::1", &local_request(&[]), None).expect("local").user_id.as_str(), "me");
}

#[test]
fn nobody_else_comes_in_without_a_token() {
    let settings = local_settings();
    let forwarded_for = HeaderName::from_static("x-forwarded-for");
    let real_ip = HeaderName::from_static("x-real-ip");
    for (peer, change, says) in [
        ("192.168.0.7", vec![], "not on this machine"),
        ("::ffff:10.0.0.1", vec![], "not on this machine"),
        ("127.0.0.1", vec![(FORWARDED, "for=127.0.0.1")], "proxy"),
        ("127.0.0.1", vec![(forwarded_for, "127.0.0.1")], "proxy"),
        ("127.0.0.1", vec![(real_ip, "127.0.0.1")], "proxy"),
        ("127.0.0.1", vec![(HOST, "evil.example")], "Host"),
        ("127.0.0.1", vec![(HOST, "localhost.evil.example:8080")], "Host"),
        ("127.0.0.1", vec![(HOST, "127.0.0.1.evil.example")], "Host"),
        ("127.0.0.1", vec![(HOST, "localhost@evil.example")], "Host"),
        ("127.0.0.1", vec![(HOST, "192.168.0.7")], "Host"),
        ("127.0.0.1", vec![(HOST, "")], "Host"),
        ("127.0.0.1", vec![(ORIGIN, "https://evil.example")], "Origin"),
        ("127.0.0.1", vec![(ORIGIN, "https://localhost.evil.example")], "Origin"),
        ("127.0.0.1", vec![(ORIGIN, "http://localhost@evil.example")], "Origin"),
        ("127.0.0.1", vec![(ORIGIN, "null")], "Origin"),
        ("127.0.0.1", vec![(ORIGIN, "file://localhost")], "Origin"),
        ("127.0.0.1", vec![(ORIGIN, "https://app.example:8443")], "Origin"),
    ] {
        let error = ask(&settings, peer, &local_request(&change), None).expect_err(says);
        assert_eq!(error.code, ErrorCode::Unauthorized);
        assert!(error.message.contains(says), "{peer} {change:?}: {}", error.message);
    }
    let elsewhere = Authority::from_static("evil.example");
    assert!(ask(&settings, "127.0.0.1", &local_request(&[]), Some(&elsewhere)).is_err());
    assert!(ask(&settings, "127.0.0.1", &local_request(&[]), Some(&Authority::from_static("localhost"))).is_ok());
    let mut twice = local_request(&[]);
    twice.append(HOST, HeaderValue::from_static("evil.example"));
    assert!(ask(&settings, "127.0.0.1", &twice, None).is_err());
    let mut strict = local_settings();
    strict.auth.localhost_bypass = false;
    assert!(ask(&strict, "127.0.0.1", &local_request(&[]), None).is_err_and(|error| error.message.contains("token")));
}

#[test]
fn an_authorization_that_is_there_is_checked() {
    let settings = local_settings();
    let with = |value: String| {
        let mut headers = local_request(&[]);
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&value).expect("a header"));
        ask(&settings, "127.0.0.1", &headers, None)
    };
    let good = hs256(&claims(json!({})));
    assert_eq!(with(format!("Bearer {good}")).expect("good").user_id.as_str(), "ann");
    assert!(with(format!("bearer   {good} ")).is_ok());
    for says in ["is empty", "no token", "not of the form", "something after"] {
        let value = match says {
            "is empty" => String::new(),
            "no token" => "Bearer ".to_owned(),
            "not of the form" => good.clone(),
            _ => format!("Bearer {good} {good}"),
        };
        assert!(with(value).is_err_and(|error| error.message.contains(says)), "{says}");
    }
    for bad in [String::new(), "Bearer".to_owned(), "Bearer x".to_owned(), format!("Basic {good}"), good.clone()] {
        let error = with(bad.clone()).expect_err(&bad);
        assert!(!error.message.contains(&good), "{}", error.message);
    }
    let error = with(format!("Bearer {}", hs256(&claims(json!({"user_id": "system"}))))).expect_err("reserved");
    assert!(error.message.contains("localhost_user"), "{}", error.message);
    let mut twice = local_request(&[]);
    for _ in 0..2 {
        twice.append(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {good}")).expect("a header"));
    }
    assert!(ask(&settings, "127.0.0.1", &twice, None).is_err());
    let mut keyless = local_settings();
    keyless.auth.jwt_secret = None;
    let mut headers = local_request(&[]);
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer a.b.c"));
    assert!(ask(&keyless, "127.0.0.1", &headers, None).is_err_and(|error| error.message.contains("no key")));
}
