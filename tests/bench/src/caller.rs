//! Talking to the server: one connection pool, and who calls.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::args::ServerArgs;
use crate::failure::Failure;

/// How often a statement that was refused because too much waits is tried again.
const ATTEMPTS: u32 = 8;
/// Tokens outlive any run.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

/// Where the server itself looks for its secret.
const SECRET_VARIABLE: &str = "KALAMDB__AUTH__JWT_SECRET";

/// How callers prove who they are.
#[derive(Debug, Clone)]
enum Proof {
    /// Each user has a token of its own, made from the server's secret.
    Secret(String),
    /// One token for everything; users are named.
    Token(String),
    /// Nothing: the localhost rule.
    Localhost,
}

/// The server, and the way in.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    http: reqwest::Client,
    url: Arc<str>,
    proof: Proof,
}

impl Server {
    /// # Errors
    /// When the HTTP client cannot be made.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let url = args.url.trim_end_matches('/');
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_mins(5))
            .build()
            .map_err(|source| Failure::NoAnswer { url: url.to_owned(), source })?;
        let of_the_environment = || std::env::var(SECRET_VARIABLE).ok().filter(|secret| !secret.is_empty());
        let proof = match (&args.secret, &args.token) {
            (Some(secret), _) => Proof::Secret(secret.clone()),
            (None, Some(token)) => Proof::Token(token.clone()),
            (None, None) => of_the_environment().map_or(Proof::Localhost, Proof::Secret),
        };
        Ok(Self { http, url: url.into(), proof })
    }

    /// The caller who makes tables and fills shared ones.
    ///
    /// # Errors
    /// When no token can be made.
    pub(crate) fn admin(&self) -> Result<Caller, Failure> {
        let token = match &self.proof {
            Proof::Secret(secret) => Some(make_token("kalamdb-bench", "dba", secret)?),
            Proof::Token(token) => Some(token.clone()),
            Proof::Localhost => None,
        };
        Ok(Caller { server: self.clone(), token, named: None })
    }

    /// The caller for one user's partition.
    ///
    /// # Errors
    /// When no token can be made.
    pub(crate) fn user(&self, user: &str) -> Result<Caller, Failure> {
        match &self.proof {
            Proof::Secret(secret) => {
                Ok(Caller { server: self.clone(), token: Some(make_token(user, "user", secret)?), named: None })
            }
            Proof::Token(_) | Proof::Localhost => Ok(Caller { named: Some(user.to_owned()), ..self.admin()? }),
        }
    }
}

fn make_token(user: &str, role: &str, secret: &str) -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = json!({"user_id": user, "role": role, "exp": now + TOKEN_LIFE.as_secs()});
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}

/// Somebody who runs statements.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    server: Server,
    token: Option<String>,
    named: Option<String>,
}

impl Caller {
    /// What a user table is called by this caller: through `.user.` where it names a user.
    pub(crate) fn user_table(&self, namespace: &str, table: &str) -> String {
        if self.named.is_some() { format!("{namespace}.user.{table}") } else { format!("{namespace}.{table}") }
    }

    /// The headers that say who calls.
    ///
    /// # Errors
    /// A token or a user id that no header can carry.
    pub(crate) fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Failure::NoHeader("the token".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(user) = &self.named {
            let value = HeaderValue::from_bytes(user.as_bytes())
                .map_err(|_| Failure::NoHeader(format!("the user id {user:?}")))?;
            headers.insert(HeaderName::from_static("x-user-id"), value);
        }
        Ok(headers)
    }

    /// Runs one request; gives its results.
    ///
    /// # Errors
    /// No answer, or an error of the server. A statement that was refused unstarted because too much
    /// waits is tried again a few times.
    pub(crate) async fn run(&self, sql: &str, params: &[Value]) -> Result<Vec<Value>, Failure> {
        let mut pause = Duration::from_millis(50);
        for attempt in 1.. {
            let outcome = self.run_once(sql, params).await;
            match &outcome {
                Err(Failure::Refused { code, .. }) if code == "OVERLOADED" && attempt < ATTEMPTS => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return outcome,
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The rows of the only result, as arrays of values in column order.
    ///
    /// # Errors
    /// Like [`Caller::run`], and an answer without rows.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Vec<Value>>, Failure> {
        let malformed = |problem: &str| Failure::Malformed { asked: shorten(sql), problem: problem.to_owned() };
        let mut results = self.run(sql, &[]).await?;
        let rows = results.pop().map(|mut result| result["rows"].take());
        let Some(Value::Array(rows)) = rows else { return Err(malformed("no rows")) };
        let in_order = |row| match row {
            Value::Object(members) => Ok(members.into_iter().map(|(_, value)| value).collect()),
            _ => Err(malformed("a row is no object")),
        };
        rows.into_iter().map(in_order).collect()
    }

    /// What a path says, as JSON.
    ///
    /// # Errors
    /// No answer, or an error of the server.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.server.url);
        self.answer(self.server.http.get(&url), &url, path).await
    }

    async fn run_once(&self, sql: &str, params: &[Value]) -> Result<Vec<Value>, Failure> {
        let url = format!("{}/api/sql", self.server.url);
        let mut body = json!({"sql": sql});
        if !params.is_empty() {
            body["params"] = json!(params);
        }
        let mut answer = self.answer(self.server.http.post(&url).json(&body), &url, sql).await?;
        match answer["results"].take() {
            Value::Array(results) => Ok(results),
            _ => Err(Failure::Malformed { asked: shorten(sql), problem: "no results".to_owned() }),
        }
    }

    /// The body of an answer that is no error. What is asked is named in failures.
    async fn answer(&self, request: reqwest::RequestBuilder, url: &str, asked: &str) -> Result<Value, Failure> {
        let no_answer = |source| Failure::NoAnswer { url: url.to_owned(), source };
        let response = request.headers(self.headers()?).send().await.map_err(no_answer)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(no_answer)?;
        let answer: Value = serde_json::from_slice(&bytes).map_err(|error| Failure::Malformed {
            asked: shorten(asked),
            problem: format!("status {status}, {error}"),
        })?;
        if status != 200 {
            let text = |member: &str| answer["error"][member].as_str().unwrap_or_default().to_owned();
            return Err(Failure::Refused {
                status,
                code: text("code"),
                message: text("message"),
                asked: shorten(asked),
            });
        }
        Ok(answer)
    }
}

/// Enough of a statement to know it.
fn shorten(sql: &str) -> String {
    let start: String = sql.chars().take(160).collect();
    if start.len() < sql.len() { format!("`{start}…`") } else { format!("`{start}`") }
}
