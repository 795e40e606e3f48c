//! What sessions keep of tables: it is of use, and never of another table than the one that is there.

use super::*;
use crate::engine::SessionRow;

impl Server {
    fn session(&self, user: &str) -> SessionRow {
        let found = self.runtime.sessions().rows().into_iter().find(|row| row.user_id.as_str() == user);
        found.expect("a session")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_known_from_their_second_use_on() {
    let server = Server::start().await;
    server.run("admin", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, v BIGINT)", vec![]).await;
    for id in 1..=3 {
        server.run("ann", "INSERT INTO t VALUES ($1, $1)", vec![json!(id)]).await;
    }
    let inserted = server.session("ann");
    assert_eq!((inserted.registrations, inserted.hits, inserted.misses), (1, 2, 1));
    let lookup = "SELECT v FROM t WHERE id = $1";
    server.run("ann", lookup, vec![json!(2)]).await;
    server.run("ann", lookup, vec![json!(3)]).await;
    let read = server.session("ann");
    assert!(read.hits > inserted.hits && read.misses == 1, "{read:?}");
    assert!(read.last_active_at >= read.created_at);
    server.run("bob", lookup, vec![json!(2)]).await;
    assert_eq!(server.session("bob").misses, 1, "each session has its own");
    assert_eq!((server.session("ann").hits, server.session("ann").misses), (read.hits, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_another_by_now_is_noticed() {
    let server = Server::start().await;
    let insert = "INSERT INTO t (id) VALUES ($1)";
    let all = "SELECT * FROM t ORDER BY id";
    server.run("admin", "CREATE USER TABLE t (id BIGINT PRIMARY KEY)", vec![]).await;
    server.run("ann", insert, vec![json!(1)]).await;
    server.run("ann", all, vec![]).await;

    server.run("admin", "ALTER TABLE t ADD COLUMN v BIGINT DEFAULT 7", vec![]).await;
    server.run("ann", insert, vec![json!(2)]).await;
    let results = server.run("ann", all, vec![]).await;
    assert_eq!(results[0].rows.as_str(), r#"[{"id":1,"v":7},{"id":2,"v":7}]"#);

    server.run("admin", "DROP TABLE t", vec![]).await;
    for sql in [all, "INSERT INTO t (id) VALUES (1)", "UPDATE t SET id = 1", "DELETE FROM t"] {
        let failed = server.outcome("ann", Role::User, sql, vec![]).await.error.expect("it is gone");
        assert_eq!(failed.error.code, ErrorCode::TableNotFound, "{sql}");
    }
    assert_eq!(server.session("ann").registrations, 0);

    server.run("admin", "CREATE SHARED TABLE t (id TEXT PRIMARY KEY) WITH (access = 'private')", vec![]).await;
    let failed = server.outcome("ann", Role::User, all, vec![]).await.error.expect("not for users");
    assert_eq!(failed.error.code, ErrorCode::Forbidden);
    // What is registered in the session says nothing of who may read it.
    assert_eq!(server.session("ann").registrations, 1);
    assert!(server.outcome("ann", Role::Dba, all, vec![]).await.error.is_none());
    let failed = server.outcome("ann", Role::User, all, vec![]).await.error.expect("still not");
    assert_eq!(failed.error.code, ErrorCode::Forbidden);
}

/// Issue and SC-011: bounds hold while statements run, and nothing fails for them.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_without_places_are_served_all_the_same() {
    let server = Server::start_with(|settings| {
        settings.session.max_registrations = 2;
        settings.session.max_registrations_total = 3;
    })
    .await;
    for table in 0..4 {
        server.run("admin", &format!("CREATE USER TABLE t{table} (id BIGINT PRIMARY KEY)"), vec![]).await;
    }
    for round in 0..3 {
        for user in ["ann", "bob", "cid"] {
            for table in 0..4 {
                server.run(user, &format!("INSERT INTO t{table} VALUES ($1)"), vec![json!(round)]).await;
                let held: u64 = server.runtime.sessions().rows().iter().map(|row| row.registrations).sum();
                assert!(held <= 3 && server.session(user).registrations <= 2);
            }
        }
    }
    for user in ["ann", "bob", "cid"] {
        assert_eq!(server.scalar(user, "SELECT count(*) FROM t3").await, json!(3));
    }
}
