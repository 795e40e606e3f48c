//! The identity table: who gets in, as whom and with which role, and what everybody else is told.
//!
//! One line a case: the server, what is sent, the answer. Every case is asked at two doors (`POST /api/sql`, `GET
//! /api/actors`) over HTTP, a caller who gets in several times, so that its token is verified once and then known. What a
//! role may do tells which one the caller has. `server/src/auth/tests.rs` has what cannot be sent from this machine.

mod table;
mod tokens;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use kalamdb_server::{RunningServer, Settings};

use crate::harness::{Reply, Request, claims, serve, settings, token};

/// The servers of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// A secret, and the localhost rule for `system`; pages of `https://app.example` may call.
    Local,
    /// The localhost rule and no key.
    Keyless,
    /// A secret, and no localhost rule.
    Strict,
    /// The same, with `auth.issuer` and `auth.audience`.
    Named,
    /// An RSA key.
    Rsa,
    /// A P-256 key.
    Ec,
    /// An Ed25519 key.
    Ed,
}

const ISSUER: &str = "https://login.example";
const AUDIENCE: &str = "kalamdb";

/// Rows of `system.users` that every server with a secret has.
const ROWS: &str = "CREATE USER 'raised' WITH (role = 'dba'); CREATE USER 'served' WITH (role = 'service');
    CREATE USER 'lowered' WITH (role = 'user'); CREATE USER 'plain' WITH (username = 'No role');
    CREATE USER 'off' WITH (role = 'dba', disabled = 'true'); CREATE USER 'on' WITH (role = 'dba', disabled = 'true');
    ALTER USER 'on' SET (disabled = 'false'); CREATE USER 'gone' WITH (role = 'dba', disabled = 'true');
    DROP USER 'gone'";

/// What is sent, `None` for a header that is left out; a name that occurs twice is sent twice.
type Headers = Vec<(&'static str, Option<Vec<u8>>)>;

/// What comes back.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// The caller is this user with this role.
    Is(&'static str, &'static str),
    /// 401 `UNAUTHORIZED` with a message that says this.
    Refused(&'static str),
}

/// A line of the table.
struct Case {
    name: &'static str,
    at: At,
    headers: Headers,
    answer: Answer,
}

fn key_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn settings_of(at: At) -> Settings {
    let mut settings = settings();
    settings.auth.localhost_bypass = matches!(at, At::Local | At::Keyless);
    let public_key = match at {
        At::Rsa => Some("rsa_public.pem"),
        At::Ec => Some("ec_public.pem"),
        At::Ed => Some("ed_public.pem"),
        At::Local | At::Keyless | At::Strict | At::Named => None,
    };
    if public_key.is_some() || at == At::Keyless {
        settings.auth.jwt_secret = None;
        settings.auth.jwt_public_key_file = public_key.map(key_path);
    }
    if at == At::Named {
        settings.auth.issuer = Some(ISSUER.to_owned());
        settings.auth.audience = Some(AUDIENCE.to_owned());
    }
    settings.server.cors_origins = vec!["https://app.example".to_owned()];
    settings
}

async fn server_at(at: At) -> RunningServer {
    let server = serve(settings_of(at)).await;
    if matches!(at, At::Local | At::Strict) {
        let admin = token(&claims("admin", "dba"));
        Request::sql(ROWS).with_token(&admin).ask(server.address()).await.succeeds();
    }
    server
}

fn with_headers(request: Request, headers: &Headers) -> Request {
    // The request's own Host makes room for the ones of the case.
    let request = if headers.iter().any(|(name, _)| *name == "host") { request.without("host") } else { request };
    headers.iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.and(name, value),
        None => request,
    })
}

/// Asserts a refusal that says why, and nothing of what was sent.
fn check_refused(case: &Case, reply: &Reply, says: &str) {
    let told = reply.message();
    assert_eq!((reply.status, reply.body["error"]["code"].as_str()), (401, Some("UNAUTHORIZED")), "{}", case.name);
    assert!(told.contains(says), "{}: {says:?} is not in {told:?}", case.name);
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{}", case.name);
    for (_, value) in case.headers.iter().filter(|(name, _)| *name == "authorization") {
        let sent = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
        let parts = sent.split(['.', ' ']).filter(|part| part.len() > 8);
        assert!(!parts.into_iter().any(|part| reply.text.contains(part)), "{}: {}", case.name, reply.text);
    }
}

#[tokio::test]
async fn the_identity_table() {
    let mut servers: HashMap<At, RunningServer> = HashMap::new();
    let cases = table::cases();
    assert!(cases.len() >= 60);
    for case in &cases {
        let address = match servers.entry(case.at) {
            Entry::Occupied(server) => server.get().address(),
            Entry::Vacant(place) => place.insert(server_at(case.at).await).address(),
        };
        let sql = async |sql: &str| with_headers(Request::sql(sql), &case.headers).ask(address).await;
        let actors = with_headers(Request::new("GET", "/api/actors?depth=0"), &case.headers);
        match case.answer {
            Answer::Refused(says) => {
                check_refused(case, &sql("SELECT 1").await, says);
                check_refused(case, &actors.ask(address).await, says);
            }
            Answer::Is(user, role) => {
                let me = sql("SELECT CURRENT_USER() AS me").await;
                assert_eq!(me.body["results"][0]["rows"][0]["me"], user, "{}: {}", case.name, me.text);
                let statuses = [
                    actors.ask(address).await.status,
                    sql("SELECT count(*) FROM system.users").await.status,
                    sql("CREATE NAMESPACE IF NOT EXISTS made").await.status,
                ];
                let expected = match role {
                    "user" => [403, 403, 403],
                    "service" => [200, 200, 403],
                    "dba" | "system" => [200, 200, 200],
                    other => panic!("{other} is no role"),
                };
                assert_eq!(statuses, expected, "{}: {user} is no {role}", case.name);
            }
        }
    }
}
