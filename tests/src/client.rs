//! A client of `POST /api/sql` that makes its own tokens.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

use crate::{Answer, now_seconds};

/// The secret that test servers are started with.
pub const SECRET: &str = "a secret of the tests, longer than 32 bytes";

/// Roles that a token may claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Its own partitions.
    User,
    /// Any user's.
    Service,
    /// Everything.
    Dba,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
            Self::Dba => "dba",
        }
    }
}

/// A token with these claims, signed with this secret.
#[must_use]
pub fn signed_token(claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("HS256 signs any JSON")
}

/// A good token for an hour.
#[must_use]
pub fn token(user: &str, role: Role, secret: &str) -> String {
    signed_token(&json!({"user_id": user, "role": role.as_str(), "exp": now_seconds() + 3600}), secret)
}

/// One caller: an address, perhaps a token, a namespace, an `X-USER-ID`.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    secret: String,
    token: Option<String>,
    namespace: Option<String>,
    header_user: Option<String>,
}

impl Client {
    /// A caller without a token.
    #[must_use]
    pub fn new(base: &str, secret: &str) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(100))
            .build()
            .expect("a client without TLS needs nothing");
        Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            secret: secret.to_owned(),
            token: None,
            namespace: None,
            header_user: None,
        }
    }

    /// The server's address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The same caller with this token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same server as this user.
    #[must_use]
    pub fn as_user(&self, user: &str) -> Self {
        self.as_role(user, Role::User)
    }

    /// The same server as this user with this role.
    #[must_use]
    pub fn as_role(&self, user: &str, role: Role) -> Self {
        self.with_token(&token(user, role, &self.secret))
    }

    /// The same caller, naming this user for `.user.`.
    #[must_use]
    pub fn naming(&self, user: &str) -> Self {
        Self { header_user: Some(user.to_owned()), ..self.clone() }
    }

    /// The same caller with another default namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// Runs SQL without parameters.
    pub async fn sql(&self, sql: impl AsRef<str>) -> Answer {
        self.post(&self.body(sql.as_ref(), None)).await
    }

    /// Runs SQL with parameters, an array.
    pub async fn sql_params(&self, sql: impl AsRef<str>, params: Value) -> Answer {
        self.post(&self.body(sql.as_ref(), Some(params))).await
    }

    fn body(&self, sql: &str, params: Option<Value>) -> Value {
        let mut body = json!({"sql": sql});
        if let Some(params) = params {
            body["params"] = params;
        }
        if let Some(namespace) = &self.namespace {
            body["namespace"] = json!(namespace);
        }
        body
    }

    /// Sends a body to `/api/sql`.
    pub async fn post(&self, body: &Value) -> Answer {
        self.post_bytes("application/json", body.to_string().into_bytes()).await
    }

    /// Sends bytes to `/api/sql` as they are.
    pub async fn post_bytes(&self, content_type: &str, body: Vec<u8>) -> Answer {
        self.try_post_bytes(content_type, body).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Like [`Client::sql_params`]; an error if the connection breaks before the answer.
    ///
    /// # Errors
    /// What the HTTP client says.
    pub async fn try_sql(&self, sql: impl AsRef<str>, params: Option<Value>) -> Result<Answer, reqwest::Error> {
        let body = self.body(sql.as_ref(), params);
        self.try_post_bytes("application/json", body.to_string().into_bytes()).await
    }

    /// Like [`Client::post_bytes`]; an error if the connection breaks before the answer.
    ///
    /// # Errors
    /// What the HTTP client says.
    pub async fn try_post_bytes(&self, content_type: &str, body: Vec<u8>) -> Result<Answer, reqwest::Error> {
        let asked = String::from_utf8_lossy(&body[..body.len().min(4096)]).into_owned();
        let mut request =
            self.http.post(format!("{}/api/sql", self.base)).header("Content-Type", content_type).body(body);
        if let Some(user) = &self.header_user {
            let value = reqwest::header::HeaderValue::from_bytes(user.as_bytes()).expect("no control characters");
            request = request.header("X-USER-ID", value);
        }
        self.send(request, asked).await
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        let request = self.http.get(format!("{}{path}", self.base));
        self.send(request, format!("GET {path}")).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// Whether the server says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let request = self.http.get(format!("{}/ready", self.base));
        matches!(request.send().await, Ok(response) if response.status() == 200)
    }

    async fn send(&self, request: reqwest::RequestBuilder, asked: String) -> Result<Answer, reqwest::Error> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (request_id, retry_after) = (header("x-request-id"), header("retry-after"));
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { asked, status, request_id, retry_after, body, text })
    }
}
