//! What ALTER TABLE is to those who are subscribed: nothing, where their columns stay.

use kalamdb_commons::settings::Durability;
use kalamdb_faults::Machine;
use serde_json::{Value as Json, json};

use super::super::server::Server;
use super::client::Client;

/// The column that goes lies before one that stays.
const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, spare TEXT, text TEXT, rank BIGINT)";

async fn server() -> Server {
    let server = Server::start(&Machine::new(9), Durability::Sync).await;
    server.run("ann", TABLE, vec![]).await.expect("a table");
    server
}

async fn run(server: &Server, sql: &str) {
    server.run("ann", sql, vec![]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn insert(server: &Server, id: i64, text: &str) {
    let sql = "INSERT INTO t (id, text, rank) VALUES ($1, $2, 7)";
    server.run("ann", sql, vec![json!(id), json!(text)]).await.expect("a row");
}

fn shown(frame: &Json) -> (&Json, &Json, &Json) {
    (&frame["change_type"], &frame["rows"], &frame["keys"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_while_the_columns_that_it_names_are_there() {
    let server = server().await;
    let mut client = Client::new(&server, "ann");
    let sql = "SELECT text, id FROM t WHERE rank = 7";
    let start = client.subscribed(json!({"query_id": "m", "sql": sql})).await["seq"].clone();
    insert(&server, 0, "before").await;
    client.expect("change").await;
    let alterations = [
        "ALTER TABLE t SET (flush_rows = '77')",
        "ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'd'",
        "ALTER TABLE t RENAME COLUMN more TO other",
        "ALTER TABLE t DROP COLUMN spare",
        "ALTER TABLE t DROP COLUMN other",
        "ALTER TABLE t ADD COLUMN spare BIGINT",
    ];
    for (at, alteration) in alterations.iter().enumerate() {
        let (id, text) = (i64::try_from(at).expect("few") + 1, format!("row {at}"));
        run(&server, alteration).await;
        insert(&server, id, &text).await;
        let frame = client.expect("change").await;
        let expected = json!([{"text": text, "id": id}]);
        assert_eq!(shown(&frame), (&json!("INSERT"), &expected, &json!([id])), "{alteration}");
    }
    // A row of the first version, as it was and as it is.
    run(&server, "UPDATE t SET text = 'after' WHERE id = 0").await;
    let frame = client.expect("change").await;
    assert_eq!(shown(&frame), (&json!("UPDATE"), &json!([{"text": "after", "id": 0}]), &json!([0])));
    assert_eq!(frame["old_values"], json!([{"text": "before", "id": 0}]));
    // Who asks for the past gets the same: rows of seven versions.
    let mut again = Client::new(&server, "ann");
    again.subscribed(json!({"query_id": "m", "sql": sql, "options": {"from_seq": start}})).await;
    for id in 0..7 {
        assert_eq!(again.expect("change").await["keys"], json!([id]));
    }
    assert_eq!(again.expect("change").await["rows"], frame["rows"]);
    again.subscribed(json!({"query_id": "rows", "sql": sql, "options": {"last_rows": 2}})).await;
    assert_eq!(again.expect("initial_data").await["keys"], json!([6, 0]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_column_is_another_result_with_one_more_or_less() {
    let server = server().await;
    for (at, alteration) in [
        "ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'd'",
        "ALTER TABLE t RENAME COLUMN more TO other",
        "ALTER TABLE t DROP COLUMN other",
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = Client::new(&server, "ann");
        let sql = if at % 2 == 0 { "SELECT * FROM t" } else { "SELECT x.*, id + 1 AS following FROM t AS x" };
        client.subscribed(json!({"query_id": "m", "sql": sql})).await;
        run(&server, &format!("ALTER TABLE t SET (flush_rows = '{}')", at + 50)).await;
        insert(&server, i64::try_from(at).expect("few"), "x").await;
        let bookmark = client.expect("change").await["seq"].clone();
        run(&server, alteration).await;
        let expected = json!({"type": "closed", "query_id": "m", "reason": "schema_changed", "resume_seq": bookmark});
        assert_eq!(client.next().await, expected, "{alteration}");
        // It goes on where it was, with the columns of now.
        insert(&server, i64::try_from(at).expect("few") + 100, "y").await;
        client.subscribed(json!({"query_id": "m", "sql": sql, "options": {"from_seq": bookmark}})).await;
        let row = client.expect("change").await["rows"][0].clone();
        assert_eq!(row.get("more").is_some(), at == 0, "{row}");
        assert_eq!(row.get("other").is_some(), at == 1, "{row}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_a_column_that_it_names_and_others_do_not() {
    let server = server().await;
    insert(&server, 1, "x").await;
    let queries = [
        ("shown", "SELECT id, text FROM t"),
        ("compared", "SELECT id FROM t WHERE text <> 'no'"),
        ("in vain", "SELECT id FROM t WHERE text = 'no' OR true"),
    ];
    for alteration in ["ALTER TABLE t RENAME COLUMN text TO words", "ALTER TABLE t DROP COLUMN text"] {
        let mut other = Client::new(&server, "ann");
        other.subscribed(json!({"query_id": "other", "sql": "SELECT id, rank FROM t"})).await;
        let mut ending = Vec::new();
        for (name, sql) in queries {
            let mut client = Client::new(&server, "ann");
            let seq = client.subscribed(json!({"query_id": name, "sql": sql})).await["seq"].clone();
            ending.push((name, client, seq));
        }
        run(&server, alteration).await;
        for (name, client, seq) in &mut ending {
            let expected = json!({"type": "closed", "query_id": name, "reason": "schema_changed", "resume_seq": seq});
            assert_eq!(client.next().await, expected, "{alteration}");
        }
        for ((name, sql), (_, client, _)) in queries.into_iter().zip(&mut ending) {
            client.subscribe(json!({"query_id": name, "sql": sql})).await;
            assert_eq!(client.next().await["code"], "COLUMN_NOT_FOUND", "{alteration}: {sql}");
        }
        // One of the same name is another column.
        run(&server, "ALTER TABLE t ADD COLUMN text TEXT DEFAULT 'new'").await;
        for ((name, sql), (_, client, seq)) in queries.into_iter().zip(&mut ending) {
            client.subscribed(json!({"query_id": name, "sql": sql, "options": {"from_seq": seq}})).await;
        }
        run(&server, "UPDATE t SET rank = rank + 1").await;
        assert_eq!(other.expect("change").await["query_id"], "other");
        let (_, client, _) = &mut ending[0];
        assert_eq!(client.expect("change").await["rows"], json!([{"id": 1, "text": "new"}]));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_it_shares_with_who_was_there_before() {
    let server = server().await;
    let mut clients = Vec::new();
    for at in 0..4 {
        let mut client = Client::new(&server, "ann");
        client.subscribed(json!({"query_id": "m", "sql": "SELECT id, text FROM t"})).await;
        clients.push(client);
        run(&server, &format!("ALTER TABLE t ADD COLUMN c{at} TEXT")).await;
    }
    // All of them are with the actor once they were told of the first.
    let mut before = 0;
    for id in 0..2 {
        before = server.engine.live_work().evaluations;
        insert(&server, id, "x").await;
        for client in &mut clients {
            assert_eq!(client.expect("change").await["rows"], json!([{"id": id, "text": "x"}]));
        }
    }
    assert_eq!(server.engine.live_work().evaluations - before, 1);
    server.stop().await;
}
