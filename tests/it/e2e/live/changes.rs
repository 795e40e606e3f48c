//! What a subscription is told of every kind of statement.

use serde_json::{Value, json};

use kalamdb_tests::{Credentials, LiveClient, LiveSocket, Subscription, TestServer, token};

use super::{PATIENCE, socket, told, value, with_messages};

#[tokio::test]
async fn inserts_updates_and_deletes_are_told_in_their_order() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("m", &format!("SELECT id, body FROM {table} WHERE conv = 'a'")).await;
    let subscribed = ann.expect("subscribed").await;
    assert_eq!(subscribed["query_id"], "m");
    assert_eq!(subscribed["resumed"], false);
    let names: Vec<&Value> = subscribed["columns"].as_array().expect("columns").iter().map(|c| &c["name"]).collect();
    assert_eq!(names, ["id", "body"]);
    assert_eq!(subscribed["columns"][0], json!({"name": "id", "type": "BIGINT", "nullable": false}));
    let live_id = subscribed["subscription_id"].as_str().expect("an id");
    assert!(live_id.ends_with("-m"), "{live_id}");

    let client = server.user("ann");
    let mut last = subscribed["seq"].as_u64().expect("a number");
    for (sql, expected) in [
        // Nothing of it matches.
        ("INSERT INTO t VALUES (9, 'b', 'other')", vec![]),
        (
            "INSERT INTO t VALUES (1, 'a', 'x'), (2, 'b', 'y'), (3, 'a', 'z')",
            vec![json!(["INSERT", [{"id": 1, "body": "x"}, {"id": 3, "body": "z"}], null, [1, 3]])],
        ),
        (
            "UPDATE t SET body = 'X' WHERE id = 1",
            vec![json!(["UPDATE", [{"id": 1, "body": "X"}], [{"id": 1, "body": "x"}], [1]])],
        ),
        // A column that is not shown.
        (
            "UPDATE t SET conv = 'a' WHERE id = 1",
            vec![json!(["UPDATE", [{"id": 1, "body": "X"}], [{"id": 1, "body": "X"}], [1]])],
        ),
        // Comes into the result, and leaves it.
        ("UPDATE t SET conv = 'a' WHERE id = 2", vec![json!(["INSERT", [{"id": 2, "body": "y"}], null, [2]])]),
        ("UPDATE t SET conv = 'c' WHERE id = 3", vec![json!(["DELETE", [{"id": 3, "body": "z"}], null, [3]])]),
        ("DELETE FROM t WHERE id IN (1, 3, 9)", vec![json!(["DELETE", [{"id": 1, "body": "X"}], null, [1]])]),
        (
            "INSERT INTO t VALUES (2, 'a', 'new') ON CONFLICT (id) DO UPDATE SET body = 'newer'",
            vec![json!(["UPDATE", [{"id": 2, "body": "newer"}], [{"id": 2, "body": "y"}], [2]])],
        ),
    ] {
        client.sql(sql.replace(" t ", &format!(" {table} "))).await.ok();
        for [kind, rows, old, keys] in expected.iter().map(|frame| [&frame[0], &frame[1], &frame[2], &frame[3]]) {
            let frame = ann.expect("change").await;
            assert_eq!((&frame["change_type"], &frame["rows"], &frame["keys"]), (kind, rows, keys), "{sql}: {frame}");
            assert_eq!(frame.get("old_values").unwrap_or(&Value::Null), old, "{sql}: {frame}");
            assert_eq!(frame["subscription_id"], live_id, "{frame}");
            assert!(frame.get("more").is_none() && frame.get("old_keys").is_none(), "{frame}");
            let seq = frame["seq"].as_u64().expect("a number");
            assert!(seq > last, "{sql}: {frame}");
            last = seq;
        }
    }
    let newest = value(&client, &format!("SELECT max(_seq) FROM {table}")).await;
    assert_eq!(newest, json!(last), "the last change is the last number");
}

#[tokio::test]
async fn one_statement_with_changes_of_all_kinds_comes_whole() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES (1, 'a', '1'), (2, 'a', '2'), (3, 'b', '3')")).await.ok();
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("m", &format!("SELECT id, conv FROM {table} WHERE conv < 'm'")).await;
    ann.expect("subscribed").await;
    let all = "CASE id WHEN 1 THEN 'z' WHEN 2 THEN 'c' ELSE conv END";
    client.sql(format!("INSERT INTO {table} VALUES (4, 'y', '4')")).await.ok();
    client
        .sql(format!("UPDATE {table} SET conv = CASE id WHEN 4 THEN 'd' ELSE {all} END WHERE id IN (1, 2, 4)"))
        .await
        .ok();
    let mut kinds = Vec::new();
    let mut seqs = Vec::new();
    loop {
        let frame = ann.expect("change").await;
        kinds.push(told(&frame));
        seqs.push(frame["seq"].as_u64().expect("a number"));
        if frame["more"] != true {
            break;
        }
    }
    kinds.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("DELETE".to_owned(), json!([{"id": 1, "conv": "a"}]), json!([1])),
        ("INSERT".to_owned(), json!([{"id": 4, "conv": "d"}]), json!([4])),
        ("UPDATE".to_owned(), json!([{"id": 2, "conv": "c"}]), json!([2])),
    ];
    assert_eq!(kinds, expected);
    assert!(seqs.is_sorted_by(|one, other| one < other), "{seqs:?}");
}

#[tokio::test]
async fn keys_that_change_are_told_with_what_they_were() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES (1, 'a', '1'), (2, 'a', '2'), (3, 'a', '3')")).await.ok();
    let credentials = Credentials::token(token("ann", kalamdb_tests::Role::User, server.secret()));
    let mut live = LiveClient::new(server.base(), credentials);
    live.subscribe(Subscription::whole("m", &format!("SELECT id, body FROM {table}"))).await;
    client.sql(format!("UPDATE {table} SET id = id + 1")).await.ok();
    let moved = |id: u64, body: &str| (id.to_string(), json!({"id": id, "body": body}));
    let expected = [moved(2, "1"), moved(3, "2"), moved(4, "3")].into();
    live.until("m", PATIENCE, |replay| *replay.rows() == expected).await;
    assert_eq!(client.sql(format!("SELECT id FROM {table} ORDER BY id")).await.success().column("id"), [2, 3, 4]);
}

#[tokio::test]
async fn tables_without_a_key_have_keys_of_their_own() {
    let server = TestServer::start_in_memory().await;
    let table = format!("{}.notes", server.namespace());
    server.admin().sql(format!("CREATE USER TABLE {table} (body TEXT)")).await.ok();
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("n", &format!("SELECT body FROM {table}")).await;
    ann.expect("subscribed").await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES ('same'), ('same')")).await.ok();
    let inserted = ann.expect("change").await;
    assert_eq!(inserted["rows"], json!([{"body": "same"}, {"body": "same"}]));
    let keys = inserted["keys"].as_array().expect("keys").clone();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{inserted}");
    client.sql(format!("DELETE FROM {table}")).await.ok();
    let deleted = ann.expect("change").await;
    assert_eq!((&deleted["change_type"], &deleted["keys"]), (&json!("DELETE"), &json!(keys)));
}

#[tokio::test]
async fn large_statements_come_in_parts() {
    let settings = [("storage.backend", "memory"), ("live.max_frame_bytes", "20000")];
    let server = TestServer::start_with(&settings).await;
    let table = with_messages(&server).await;
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("m", &format!("SELECT id, body FROM {table}")).await;
    ann.expect("subscribed").await;
    let rows: Vec<String> = (0..100).map(|id| format!("({id}, 'a', '{}')", "x".repeat(1000))).collect();
    server.user("ann").sql(format!("INSERT INTO {table} VALUES {}", rows.join(", "))).await.ok();
    let (mut ids, mut seqs) = (Vec::new(), Vec::new());
    loop {
        let frame = ann.expect("change").await;
        assert!(frame.to_string().len() < 21_000, "{} bytes", frame.to_string().len());
        ids.extend(frame["keys"].as_array().expect("keys").iter().filter_map(Value::as_u64));
        seqs.push(frame["seq"].as_u64().expect("a number"));
        if frame["more"] != true {
            break;
        }
    }
    assert!(seqs.len() > 4 && seqs.is_sorted_by(|one, other| one < other), "{seqs:?}");
    assert_eq!(ids, (0..100).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_is_unsubscribed_is_silent_and_its_name_free() {
    let server = TestServer::start_in_memory().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id FROM {table}");
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("m", &sql).await;
    ann.expect("subscribed").await;
    ann.subscribe("m", &sql).await;
    ann.fails("CONFLICT").await;
    ann.subscribe("other", &sql).await;
    ann.expect("subscribed").await;
    ann.send(&json!({"type": "unsubscribe", "query_id": "m"})).await;
    assert_eq!(ann.expect("unsubscribed").await, json!({"type": "unsubscribed", "query_id": "m"}));
    ann.send(&json!({"type": "unsubscribe", "query_id": "m"})).await;
    let error = ann.expect("error").await;
    assert_eq!((&error["query_id"], &error["code"]), (&json!("m"), &json!("SUBSCRIPTION_NOT_FOUND")));
    for id in 1..=3 {
        server.user("ann").sql(format!("INSERT INTO {table} (id) VALUES ({id})")).await.ok();
        let frame = ann.expect("change").await;
        assert_eq!((&frame["query_id"], &frame["keys"]), (&json!("other"), &json!([id])));
    }
    ann.subscribe("m", &sql).await;
    ann.expect("subscribed").await;
}

#[tokio::test]
async fn every_type_of_value_looks_as_in_an_answer() {
    let server = TestServer::start_in_memory().await;
    let table = format!("{}.types", server.namespace());
    server
        .admin()
        .sql(format!(
            "CREATE USER TABLE {table} (id BIGINT PRIMARY KEY, b BOOLEAN, s SMALLINT, i INT, f FLOAT, d DOUBLE, \
             n DECIMAL(10,2), t TEXT, y BYTES, a DATE, w TIMESTAMP, u UUID, j JSON)"
        ))
        .await
        .ok();
    let mut ann = socket(&server, "ann").await;
    let sql = format!("SELECT * FROM {table}");
    ann.subscribe("t", &sql).await;
    ann.expect("subscribed").await;
    let client = server.user("ann");
    let full = "1, true, -5, 7, 1.5, 2.25, 12.30, 'text\u{1F600}', X'00FF', '2025-10-21', '2025-10-21T14:30:00Z', \
        '0192f0c1-2345-7abc-8def-0123456789ab', '{\"a\": [1]}'";
    let empty = "2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";
    client.sql(format!("INSERT INTO {table} VALUES ({full}), ({empty})")).await.ok();
    let answer = client.sql(format!("{sql} ORDER BY id")).await.success();
    assert_eq!(ann.expect("change").await["rows"], json!(answer.rows()));
}

#[tokio::test]
async fn two_users_with_one_text_and_different_parameters_see_their_own() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let sql = format!("SELECT id, body FROM {table} WHERE conv = $1 AND id > $2");
    let users = ["ann", "bob"];
    let runs = users.iter().enumerate().map(|(at, user)| {
        let (server, sql, table) = (&server, &sql, &table);
        async move {
            let other = users[1 - at];
            let mut socket: LiveSocket = socket(server, user).await;
            // Both users' parameters on each connection, under one text.
            for (name, conv) in [("own", *user), ("others", other)] {
                socket.subscribe_with(json!({"query_id": name, "sql": sql, "params": [conv, 10]})).await;
                socket.expect("subscribed").await;
            }
            let client = server.user(user);
            for id in 11..=40 {
                let rows = format!("({id}, '{user}', '{user}'), ({}, '{other}', '{user}')", id + 1000);
                client.sql(format!("INSERT INTO {table} VALUES {rows}")).await.ok();
                // Below the bound.
                client.sql(format!("INSERT INTO {table} VALUES ({}, '{user}', 'none')", -id)).await.ok();
            }
            let mut seen = (Vec::new(), Vec::new());
            while seen.0.len() + seen.1.len() < 60 {
                let frame = socket.expect("change").await;
                assert_eq!(frame["rows"][0]["body"], json!(user), "another user's row: {frame}");
                let id = frame["keys"][0].as_u64().expect("a key");
                if frame["query_id"] == "own" { seen.0.push(id) } else { seen.1.push(id) }
            }
            assert_eq!(seen.0, (11..=40).collect::<Vec<u64>>());
            assert_eq!(seen.1, (1011..=1040).collect::<Vec<u64>>());
        }
    });
    futures::future::join_all(runs).await;
}

#[tokio::test]
async fn a_flush_is_not_seen() {
    let server = TestServer::start().await;
    let table = with_messages(&server).await;
    let client = server.user("ann");
    client.sql(format!("INSERT INTO {table} VALUES (1, 'a', 'x'), (2, 'a', 'y')")).await.ok();
    let mut ann = socket(&server, "ann").await;
    ann.subscribe("m", &format!("SELECT id, body FROM {table}")).await;
    ann.expect("subscribed").await;
    server.admin().sql(format!("FLUSH TABLE {table}")).await.ok();
    // Rows of a segment have their old values.
    client.sql(format!("UPDATE {table} SET body = 'X' WHERE id = 1")).await.ok();
    let frame = ann.expect("change").await;
    assert_eq!(told(&frame), ("UPDATE".to_owned(), json!([{"id": 1, "body": "X"}]), json!([1])), "{frame}");
    assert_eq!(frame["old_values"], json!([{"id": 1, "body": "x"}]));
    client.sql(format!("DELETE FROM {table} WHERE id = 2")).await.ok();
    assert_eq!(told(&ann.expect("change").await), ("DELETE".to_owned(), json!([{"id": 2, "body": "y"}]), json!([2])));
}
