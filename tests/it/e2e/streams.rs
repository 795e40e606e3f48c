//! Stream tables: rows in memory that nobody has to delete.

mod live;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use kalamdb_tests::{BinaryServer, Client, TestServer};

/// Longer than anything takes that is going to come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn with_events(options: &str) -> TestServer {
    let server = TestServer::start().await;
    let sql =
        format!("CREATE STREAM TABLE events (id BIGINT PRIMARY KEY, kind TEXT DEFAULT 'typing') WITH ({options})");
    server.admin().sql(sql).await.ok();
    server
}

async fn ids(client: &Client) -> Vec<Value> {
    client.sql("SELECT id FROM events ORDER BY id").await.success().column("id")
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while !is_so().await {
        ticks.tick().await;
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

#[tokio::test]
async fn rows_are_inserted_and_read_by_their_user() {
    let server = with_events("ttl = '1h'").await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    ann.sql("INSERT INTO events (id) VALUES (2), (1)").await.ok();
    bob.sql("INSERT INTO events SELECT id, 'seen' FROM (VALUES (7), (8)) AS v (id)").await.ok();
    assert_eq!(ids(&ann).await, [json!(1), json!(2)]);
    let rows = bob.sql("SELECT kind, count(*) AS n FROM events GROUP BY kind").await.success();
    assert_eq!(rows.values(), [[json!("seen"), json!(2)]]);
    let returned = ann.sql("INSERT INTO events VALUES (3, 'x') RETURNING id, kind").await.success();
    assert_eq!(returned.values(), [[json!(3), json!("x")]]);
    ann.sql("INSERT INTO events VALUES (3, 'y'), (4, 'y') ON CONFLICT DO NOTHING").await.ok();
    let kinds = ann.sql("SELECT kind FROM events WHERE id >= 3 ORDER BY id").await.success();
    assert_eq!(kinds.column("kind"), [json!("x"), json!("y")]);
    // With tables of other kinds in one statement, and by the qualifier.
    server.admin().sql("CREATE USER TABLE notes (id BIGINT PRIMARY KEY, body TEXT)").await.ok();
    ann.sql("INSERT INTO notes VALUES (1, 'one'), (9, 'nine')").await.ok();
    let joined = ann.sql("SELECT n.body FROM notes n JOIN events e ON n.id = e.id").await.success();
    assert_eq!(joined.column("body"), [json!("one")]);
    let named = server.service().naming("bob");
    let sql = format!("SELECT count(*) FROM {}.user.events", server.namespace());
    assert_eq!(named.sql(&sql).await.success().number(), 2);
    ann.naming("bob").sql(&sql).await.fails(403, "FORBIDDEN");
    ann.sql(&sql).await.fails(400, "USER_ID_REQUIRED");
    let insert = format!("INSERT INTO {}.user.events (id) VALUES (9)", server.namespace());
    named.sql(&insert).await.ok();
    ann.naming("bob").sql(&insert).await.fails(403, "FORBIDDEN");
    assert_eq!((ids(&bob).await.len(), ids(&ann).await.len()), (3, 4));
    assert_eq!(ids(&named).await, Vec::<Value>::new(), "without the qualifier it is the caller's own");
    for sql in ["UPDATE {}.user.events SET kind = 'x'", "DELETE FROM {}.user.events"] {
        named.sql(sql.replace("{}", server.namespace())).await.fails(400, "UNSUPPORTED");
    }
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let server = with_events("ttl = '1h'").await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    for sql in [
        "UPDATE events SET kind = 'x'",
        "DELETE FROM events",
        "DELETE FROM events WHERE id = 1",
        "INSERT INTO events (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET kind = 'x'",
    ] {
        let message = ann.sql(sql).await.fails(400, "UNSUPPORTED");
        assert!(message.contains("stream table"), "{sql}: {message}");
        server.admin().sql(sql).await.fails(400, "UNSUPPORTED");
    }
    server.admin().sql("FLUSH TABLE events").await.fails(400, "UNSUPPORTED");
    server.admin().sql("FLUSH ALL TABLES").await.ok();
    ann.sql("INSERT INTO events (id) VALUES (1)").await.fails(409, "DUPLICATE_KEY");
    let options = "CREATE STREAM TABLE other (id BIGINT) WITH (flush_rows = '5')";
    server.admin().sql(options).await.fails(400, "INVALID_OPTION");
    assert_eq!(ids(&ann).await, [json!(1)]);
}

#[tokio::test]
async fn rows_go_when_they_are_old_and_their_keys_are_free() {
    let server = with_events("ttl = '3s'").await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO events (id) VALUES (1), (2)").await.ok();
    assert_eq!(ids(&ann).await.len(), 2);
    until("the rows go", async || ids(&ann).await.is_empty()).await;
    ann.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    // And memory is given back without anybody asking.
    server.user("bob").sql("INSERT INTO events (id) VALUES (1)").await.ok();
    let stats = server.admin();
    until("nothing is left", async || {
        stats.sql("SHOW TABLE STATS events").await.success().column("buffered_rows") == [json!(0)]
    })
    .await;
    // A longer life holds for what comes, and for what is there.
    server.admin().sql("ALTER TABLE events SET (ttl = '1h')").await.ok();
    ann.sql("INSERT INTO events (id) VALUES (5)").await.ok();
    server.admin().sql("ALTER TABLE events ADD COLUMN room TEXT DEFAULT 'lobby'").await.ok();
    let row = ann.sql("SELECT id, room FROM events").await.success();
    assert_eq!(row.values(), [[json!(5), json!("lobby")]]);
}

#[tokio::test]
async fn the_oldest_make_room() {
    let server = with_events("ttl = '1h', max_rows = '5'").await;
    let (ann, bob) = (server.user("ann"), server.user("bob"));
    bob.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    for id in 1..=8 {
        ann.sql(format!("INSERT INTO events (id) VALUES ({id})")).await.ok();
    }
    assert_eq!(ids(&ann).await, [4, 5, 6, 7, 8].map(|id| json!(id)));
    ann.sql("INSERT INTO events (id) VALUES (1), (2)").await.ok();
    assert_eq!(ids(&ann).await, [1, 2, 6, 7, 8].map(|id| json!(id)));
    ann.sql("INSERT INTO events (id) VALUES (20), (21), (22), (23), (24), (25), (26)").await.ok();
    assert_eq!(ids(&ann).await, [22, 23, 24, 25, 26].map(|id| json!(id)));
    // A statement that fails takes nobody's room.
    ann.sql("INSERT INTO events (id) VALUES (30), (26)").await.fails(409, "DUPLICATE_KEY");
    assert_eq!(ids(&ann).await.len(), 5);
    assert_eq!(ids(&bob).await, [json!(1)], "each user has its own bound");
}

#[tokio::test]
async fn the_definition_survives_a_restart_and_the_rows_do_not() {
    let mut server = BinaryServer::start().await;
    let admin = server.admin();
    admin.sql("CREATE STREAM TABLE events (id BIGINT PRIMARY KEY) WITH (ttl = '1h')").await.ok();
    admin.sql("INSERT INTO events VALUES (1)").await.ok();
    let before = admin.sql("SELECT max(_seq) FROM events").await.success().number();
    server.kill9();
    server.restart().await;
    assert_eq!(ids(&admin).await, Vec::<Value>::new());
    admin.sql("INSERT INTO events VALUES (1)").await.ok();
    let after = admin.sql("SELECT max(_seq) FROM events").await.success().number();
    assert!(after > before, "{before}, and then {after}: one counter for all of the server");
}

#[tokio::test]
async fn dropped_with_everything_and_made_anew() {
    let server = with_events("ttl = '1h'").await;
    let ann = server.user("ann");
    ann.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    server.admin().sql("DROP STREAM TABLE events").await.ok();
    ann.sql("SELECT * FROM events").await.fails(404, "TABLE_NOT_FOUND");
    server.admin().sql("CREATE STREAM TABLE events (id BIGINT PRIMARY KEY)").await.ok();
    assert_eq!(ids(&ann).await, Vec::<Value>::new());
    ann.sql("INSERT INTO events (id) VALUES (1)").await.ok();
    server.admin().sql(format!("DROP NAMESPACE {} CASCADE", server.namespace())).await.ok();
    ann.sql("SELECT * FROM events").await.fails(404, "NAMESPACE_NOT_FOUND");
}

#[tokio::test]
async fn without_options_the_settings_bound_them() {
    let settings = [("storage.backend", "memory"), ("stream.default_ttl", "1500ms"), ("stream.max_rows_per_user", "3")];
    let server = TestServer::start_with(&settings).await;
    server.admin().sql("CREATE STREAM TABLE events (id BIGINT PRIMARY KEY, kind TEXT)").await.ok();
    let own = "CREATE STREAM TABLE own (id BIGINT PRIMARY KEY) WITH (ttl = '1h', max_rows = '7')";
    server.admin().sql(own).await.ok();
    let ann = server.user("ann");
    // In one statement: they are of one age, whatever the machine does meanwhile.
    ann.sql("INSERT INTO events (id) VALUES (1), (2), (3), (4), (5)").await.ok();
    let seen = ids(&ann).await;
    assert!(seen == [3, 4, 5].map(|id| json!(id)) || seen.is_empty(), "three of them, or too late: {seen:?}");
    ann.sql("INSERT INTO own VALUES (1), (2), (3), (4), (5)").await.ok();
    until("the rows go", async || ids(&ann).await.is_empty()).await;
    assert_eq!(ann.sql("SELECT count(*) FROM own").await.success().number(), 5, "its own options are stronger");
}
