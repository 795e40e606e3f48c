//! Live queries over `GET /ws`, one file per concern.

mod browser;
mod changes;
mod churn;
mod endings;
mod frames;
mod handshake;
mod options;
mod partitions;
mod refusals;
mod resume;
mod shown;
mod slow;
mod tokens;

use std::time::Duration;

use serde_json::Value;

use kalamdb_tests::{Client, LiveSocket, Role, TestServer, token};

/// Longer than anything takes that is going to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A user table of the test's namespace.
async fn with_messages(server: &TestServer) -> String {
    let table = format!("{}.messages", server.namespace());
    let sql = format!("CREATE USER TABLE {table} (id BIGINT PRIMARY KEY, conv TEXT, body TEXT)");
    server.admin().sql(sql).await.ok();
    table
}

/// A user's socket.
async fn socket(server: &TestServer, user: &str) -> LiveSocket {
    LiveSocket::open(server.base(), &token(user, Role::User, server.secret())).await
}

/// The members of a change frame that say what happened.
fn told(frame: &Value) -> (String, Value, Value) {
    (frame["change_type"].as_str().unwrap_or_default().to_owned(), frame["rows"].clone(), frame["keys"].clone())
}

/// The only value of a query's only row.
async fn value(client: &Client, sql: &str) -> Value {
    client.sql(sql).await.success().scalar()
}
