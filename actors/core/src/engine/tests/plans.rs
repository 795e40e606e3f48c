//! Plans that are kept: the same answers as plans made for their statement alone, and nobody else's.

mod counted;
mod queries;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use queries::QUERIES;

use super::*;

/// What a statement came to: names and types of columns, rows and their number; or code and message.
///
/// Whether a column may be NULL is not compared: where an expression is folded into a literal it is known better.
type Answer = std::result::Result<(String, String, u64), (ErrorCode, String)>;

fn answer(result: Result<StatementResult>) -> Answer {
    match result {
        Ok(result) => Ok((columns(&result), result.rows.as_str().to_owned(), result.row_count)),
        Err(error) => Err((error.code, error.message)),
    }
}

fn columns(result: &StatementResult) -> String {
    let all: Vec<String> =
        result.columns.iter().map(|column| format!("{} {}", column.name, column.data_type)).collect();
    all.join(", ")
}

async fn start() -> (TempDir, Server) {
    let directory = TempDir::new().expect("a directory");
    let location = directory.path().join("storage");
    let server = Server::start_with(|settings| settings.storage.default_location = location).await;
    (directory, server)
}

impl Server {
    /// By the plan that is kept, and how it was come by.
    async fn kept(&self, user: &str, sql: &str, params: &[Json]) -> (Answer, Option<kalamdb_wire::PlanCache>) {
        let outcome = self.outcome(user, Role::User, sql, params.to_vec()).await;
        match outcome.error {
            Some(failed) => (Err((failed.error.code, failed.error.message)), None),
            None => {
                let result = outcome.results.into_iter().next().expect("a result");
                let plan_cache = result.plan_cache;
                (answer(Ok(result)), plan_cache)
            }
        }
    }

    /// By a plan for this statement alone.
    async fn fresh(&self, user: &str, sql: &str, params: &[Json]) -> Answer {
        let parsed = kalamdb_sql::statements(sql).next().expect("a statement").expect("it parses");
        let scope = self.scope(user, &parsed, &CancellationToken::new());
        let result = async {
            let params = Params::new(&Arc::new(params.to_vec()), parsed.parameters)?;
            let context = scope.begin(None).await?;
            let Statement::Query(query) = parsed.statement else { panic!("a query") };
            select(&context, *query, parsed.column_names.as_deref(), &params).await
        };
        answer(result.await)
    }
}

const TABLES: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n INT, tx TEXT, x DOUBLE, m DECIMAL(10,2), \
    ts TIMESTAMP, d DATE, u UUID, b BOOLEAN, j JSON, raw BYTES); \
    CREATE USER TABLE c (a TEXT, k INT, v TEXT, PRIMARY KEY (a, k)); \
    CREATE USER TABLE ids (u UUID PRIMARY KEY, at TIMESTAMP)";

const UUID: &str = "70000000-0000-4000-8000-000000000001";

fn parameter(die: &mut StdRng) -> Json {
    let all = [
        json!(0),
        json!(1),
        json!(2),
        json!(5),
        json!(7),
        json!(-1),
        json!(1_000_000_000_000_i64),
        json!(1.5),
        json!(2.0),
        json!(true),
        json!(false),
        json!(null),
        json!(""),
        json!("a"),
        json!("b%"),
        json!("row 3"),
        json!("7"),
        json!("1.50"),
        json!("2026-01-02 03:04:05"),
        json!("2026-01-02"),
        json!(UUID),
        json!("{\"a\":1}"),
    ];
    all[die.random_range(0..all.len())].clone()
}

/// Parameters that go through more often than not: most queries want small numbers and short texts.
fn parameters(die: &mut StdRng, count: usize) -> Vec<Json> {
    let usual = [json!(1), json!(3), json!(7), json!("a"), json!("b"), json!(2)];
    (0..count)
        .map(|_| if die.random_bool(0.5) { parameter(die) } else { usual[die.random_range(0..usual.len())].clone() })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_kept_answers_as_one_made_for_the_statement() {
    let (_directory, server) = start().await;
    server.run("u", TABLES, vec![]).await;
    let mut die = StdRng::seed_from_u64(7);
    let rows: Vec<String> = (0..20)
        .map(|id| {
            format!(
                "({id}, {}, 'row {id}', {id}.5, {}.50, '2026-01-{:02} 03:04:05', '2026-01-{:02}', \
                 '{id:08x}-0000-4000-8000-000000000001', {}, '{{\"a\":{id}}}', X'0{}')",
                if id % 5 == 0 { "NULL".to_owned() } else { (id % 4).to_string() },
                id * 2,
                id + 1,
                id + 1,
                id % 2 == 0,
                id % 10
            )
        })
        .collect();
    let flushed = rows[..10].join(", ");
    server.run("u", &format!("INSERT INTO t VALUES {flushed}"), vec![]).await;
    server.run("u", "INSERT INTO c VALUES ('a', 1, 'one'), ('a', 2, 'two'), ('b', 3, 'three')", vec![]).await;
    server.run("u", &format!("INSERT INTO ids VALUES ('{UUID}', '2026-01-02 03:04:05')"), vec![]).await;
    server.run("u", "FLUSH ALL TABLES; DELETE FROM t WHERE id IN (3, 4)", vec![]).await;
    server.run("u", &format!("INSERT INTO t VALUES {}", rows[10..].join(", ")), vec![]).await;
    server.run("u", "INSERT INTO c VALUES ('a', 7, 'hot'); DELETE FROM t WHERE id = 12", vec![]).await;
    let (mut hits, mut successes) = (0, 0);
    for sql in QUERIES {
        let count = kalamdb_sql::statements(sql).next().expect("one").expect("it parses").parameters;
        for _ in 0..16 {
            let params = parameters(&mut die, count);
            let expected = server.fresh("u", sql, &params).await;
            // Twice: the second finds the plan of the first.
            for _ in 0..2 {
                let (given, plan_cache) = server.kept("u", sql, &params).await;
                match (&given, &expected) {
                    // Of two bad parameters either may be the one that is named.
                    (Err((given, _)), Err((expected, _))) if *expected == ErrorCode::ParamTypeMismatch => {
                        assert_eq!(given, expected, "{sql} {params:?}");
                    }
                    _ => assert_eq!(given, expected, "{sql} {params:?}"),
                }
                hits += usize::from(plan_cache == Some(kalamdb_wire::PlanCache::Hit));
            }
            successes += usize::from(expected.is_ok());
        }
    }
    assert!(successes > 300 && hits > successes, "most have an answer ({successes}), by a kept plan ({hits})");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_the_rows_or_the_parameters_of_another() {
    let (_directory, server) = start().await;
    server.run("admin", TABLES, vec![]).await;
    let users: Vec<String> = (0..32).map(|number| format!("user{number}")).collect();
    for user in &users {
        let rows: Vec<String> = (0..20).map(|id| format!("({id}, {id}, '{user} {id}')")).collect();
        server.run(user, &format!("INSERT INTO t (id, n, tx) VALUES {}", rows.join(", ")), vec![]).await;
    }
    let texts = [
        "SELECT tx FROM t WHERE id = $1",
        "SELECT tx FROM t WHERE n = $1 AND current_user() = current_user()",
        "SELECT a.tx FROM t AS a JOIN t AS b ON a.id = b.id WHERE b.n = $1",
        "SELECT tx FROM t WHERE n >= $1 ORDER BY n LIMIT 1",
        "SELECT max(tx) FROM t WHERE n = $1 GROUP BY n",
    ];
    let server = &server;
    let work = users.iter().enumerate().map(|(at, user)| async move {
        for round in 0..40 {
            let id = (at + round) % 20;
            let sql = texts[(at + round / 3) % texts.len()];
            if round % 7 == 3 {
                // Given up in the middle of it.
                let given_up = server.outcome(user, Role::User, sql, vec![json!(id)]);
                drop(tokio::time::timeout(Duration::from_micros(200 * (at as u64 % 5)), given_up).await);
                continue;
            }
            let (given, _) = server.kept(user, sql, &[json!(id)]).await;
            let (_, rows, count) = given.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            assert_eq!(count, 1, "{sql}");
            assert!(rows.contains(&format!("\"{user} {id}\"")), "{user} {id}: {rows}");
        }
    });
    let changes = async {
        for number in 0..6 {
            let sql = format!("ALTER TABLE t ADD COLUMN extra{number} INT");
            server.run("admin", &sql, vec![]).await;
            server.run("admin", "CLEAR PLAN CACHE", vec![]).await;
        }
    };
    tokio::join!(join_all(work), changes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_made_once_however_many_ask() {
    let (_directory, server) = start().await;
    server.run("admin", TABLES, vec![]).await;
    let before = server.runtime.plans().overview();
    let asked = (0..40).map(|number| {
        let user = format!("user{number}");
        let server = &server;
        async move { server.kept(&user, "SELECT tx FROM t WHERE n = $1", &[json!(number)]).await }
    });
    // Meanwhile the cache is looked through, as after each change of the catalog.
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let looks = {
        let (runtime, is_over) = (Arc::clone(&server.runtime), Arc::clone(&is_over));
        std::thread::spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                runtime.plans().throw_out(&runtime.catalog());
            }
        })
    };
    let outcomes = join_all(asked).await;
    is_over.store(true, Ordering::Release);
    looks.join().expect("it looks");
    let misses = outcomes.iter().filter(|(_, outcome)| *outcome == Some(kalamdb_wire::PlanCache::Miss)).count();
    let overview = server.runtime.plans().overview();
    assert_eq!((misses, overview.compilations - before.compilations), (1, 1));
    assert_eq!(overview.hits - before.hits, 39);
    assert!(overview.bytes > 0 && overview.entries > 0 && overview.capacity == 1000);

    let rows = "SELECT hits, compilations FROM system.plan_cache WHERE sql LIKE 'SELECT tx%'";
    let results = server.run("admin", rows, vec![]).await;
    assert_eq!(results[0].rows.as_str(), r#"[{"hits":39,"compilations":1}]"#);
    let cleared = server.run("admin", "CLEAR PLAN CACHE", vec![]).await;
    assert!(cleared[0].message.as_deref().is_some_and(|message| message.contains("plan cache cleared")));
    assert_eq!(server.runtime.plans().overview().entries, 0);
    let (_, outcome) = server.kept("u", "SELECT tx FROM t WHERE n = $1", &[json!(1)]).await;
    assert_eq!(outcome, Some(kalamdb_wire::PlanCache::Miss));
    let refused = server.outcome("u", Role::User, "CLEAR PLAN CACHE", vec![]).await.error.expect("refused");
    assert_eq!(refused.error.code, ErrorCode::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_skips_no_check() {
    let (_directory, server) = start().await;
    server
        .run("admin", "CREATE SHARED TABLE s (id BIGINT PRIMARY KEY, v TEXT) WITH (access = 'private'); INSERT INTO s VALUES (1, 'x')", vec![])
        .await;
    let texts = ["SELECT v FROM s WHERE id = $1", "SELECT v FROM s WHERE v > $1", "SELECT count(*) FROM s"];
    let params = |sql: &str| match sql.contains("id = ") {
        true => vec![json!(1)],
        false if sql.contains('$') => vec![json!("a")],
        false => vec![],
    };
    for sql in texts {
        for _ in 0..3 {
            server.run("admin", sql, params(sql)).await;
        }
        let refused = server.outcome("u", Role::User, sql, params(sql)).await.error.expect("refused");
        assert_eq!(refused.error.code, ErrorCode::Forbidden, "{sql}");
    }
    // The table may be read by all, then has another column, then is another one, then none.
    server.run("admin", "ALTER TABLE s SET (access = 'public')", vec![]).await;
    for sql in texts {
        assert!(server.kept("u", sql, &params(sql)).await.0.is_ok(), "{sql}");
    }
    let star = "SELECT * FROM s WHERE id = $1";
    for _ in 0..2 {
        let (answer, _) = server.kept("u", star, &[json!(1)]).await;
        assert_eq!(answer.expect("a row").1, r#"[{"id":1,"v":"x"}]"#);
    }
    server.run("admin", "ALTER TABLE s ADD COLUMN w INT DEFAULT 3", vec![]).await;
    let (given, outcome) = server.kept("u", star, &[json!(1)]).await;
    assert_eq!(
        (given.expect("a row").1.as_str(), outcome),
        (r#"[{"id":1,"v":"x","w":3}]"#, Some(kalamdb_wire::PlanCache::Miss))
    );
    server
        .run(
            "admin",
            "DROP TABLE s; CREATE SHARED TABLE s (v INT, id BIGINT PRIMARY KEY) WITH (access = 'public')",
            vec![],
        )
        .await;
    let (given, _) = server.kept("u", star, &[json!(1)]).await;
    assert_eq!(given.expect("no row").1, "[]");
    server.run("admin", "DROP TABLE s", vec![]).await;
    let (given, _) = server.kept("u", star, &[json!(1)]).await;
    assert_eq!(given.expect_err("it is gone").0, ErrorCode::TableNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_and_caller_are_those_of_each_statement() {
    let (_directory, server) = start().await;
    let sql = "SELECT now() AS at, current_user() AS who, $1 AS given";
    let mut last = String::new();
    for user in ["ann", "bob", "ann"] {
        let (given, _) = server.kept(user, sql, &[json!(user)]).await;
        let rows: Json = serde_json::from_str(&given.expect("a row").1).expect("JSON");
        let at = rows[0]["at"].as_str().expect("a time").to_owned();
        assert!(at > last, "{at} after {last}");
        last = at;
        assert_eq!((&rows[0]["who"], &rows[0]["given"]), (&json!(user), &json!(user)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_in_limits_are_planned_once_each() {
    let (_directory, server) = start().await;
    server.run("u", TABLES, vec![]).await;
    server.run("u", "INSERT INTO t (id) VALUES (1), (2), (3)", vec![]).await;
    let mut sql = "SELECT id FROM t LIMIT $1".to_owned();
    for depth in 0..40 {
        sql = format!("SELECT * FROM ({sql}) AS q{depth} LIMIT $1");
    }
    for count in [2, 0, 3] {
        let (given, _) = server.kept("u", &sql, &[json!(count)]).await;
        assert_eq!(given.expect("rows").2, count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_one_caller_costs_others_no_plan() {
    let (_directory, server) = start().await;
    server.run("u", TABLES, vec![]).await;
    for (sql, bad, good) in [
        ("SELECT id FROM t WHERE ts > $1", json!("no time"), json!("2026-01-02 03:04:05")),
        ("SELECT id FROM t WHERE n = $1", json!(3_000_000_000_i64), json!(3)),
        ("SELECT id FROM t LIMIT $1", json!(-1), json!(1)),
    ] {
        assert!(server.kept("u", sql, &[bad]).await.0.is_err(), "{sql}");
        for expected in [kalamdb_wire::PlanCache::Miss, kalamdb_wire::PlanCache::Hit] {
            assert_eq!(server.kept("u", sql, std::slice::from_ref(&good)).await.1, Some(expected), "{sql}");
        }
    }
    // Parameters that no plan reads make no other plan, NULL or not.
    server.run("u", "INSERT INTO t (id, n, tx) VALUES (1, 1, 'a')", vec![]).await;
    let before = server.runtime.plans().overview().compilations;
    for (n, tx) in
        [(json!(1), json!("x")), (json!(null), json!("y")), (json!(2), json!(null)), (json!(null), json!(null))]
    {
        server.run("u", "UPDATE t SET n = $1, tx = $2 WHERE id = $3", vec![n, tx, json!(1)]).await;
    }
    assert_eq!(server.runtime.plans().overview().compilations - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_at_rest_holds_no_memory() {
    let (_directory, server) = start().await;
    server.run("u", TABLES, vec![]).await;
    let rows: Vec<String> = (0..5000).map(|id| format!("({id}, {}, '{}')", id % 50, "x".repeat(100))).collect();
    server.run("u", &format!("INSERT INTO t (id, n, tx) VALUES {}", rows.join(", ")), vec![]).await;
    for sql in [
        "SELECT count(*) FROM t AS a JOIN t AS b ON a.id = b.id WHERE a.n > $1 AND b.tx <> 'y'",
        "SELECT count(*) FROM t AS a JOIN t AS b ON a.n < b.n AND a.n + b.n > 90 WHERE a.id < $1",
        "SELECT a.id FROM t AS a JOIN t AS b ON a.id = b.id WHERE a.n > $1 LIMIT 1",
        "SELECT tx, count(*) FROM t WHERE id > $1 GROUP BY tx",
        "SELECT id FROM t WHERE n = (SELECT max(n) FROM t WHERE id > $1) UNION ALL SELECT id FROM t LIMIT 3",
    ] {
        for _ in 0..3 {
            assert!(server.kept("u", sql, &[json!(10)]).await.0.is_ok(), "{sql}");
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while server.runtime.memory().reserved() > 0 {
            ticks.tick().await;
            assert!(Instant::now() < deadline, "{sql}: {} bytes", server.runtime.memory().reserved());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uuid_is_looked_up_as_it_is_written() {
    let (_directory, server) = start().await;
    let id = "a0ee0000-0000-4000-8000-000000000001";
    server.run("admin", "CREATE SHARED TABLE p (u UUID PRIMARY KEY, v TEXT)", vec![]).await;
    server.run("admin", &format!("INSERT INTO p VALUES ('{id}', 'own')"), vec![]).await;
    for (user, count) in [(id.to_uppercase(), 0), (id.to_owned(), 1)] {
        for _ in 0..3 {
            let (given, _) = server.kept(&user, "SELECT v FROM p WHERE u = current_user()", &[]).await;
            assert_eq!(given.expect("an answer").2, count, "{user}");
        }
    }
    // A literal and a parameter are read as a UUID, however they are written.
    let (given, _) = server.kept("u", "SELECT v FROM p WHERE u = $1", &[json!(id.to_uppercase())]).await;
    assert_eq!(given.expect("an answer").2, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_key_keep_their_plans_and_their_rows() {
    let (_directory, server) = start().await;
    server.run("admin", TABLES, vec![]).await;
    for user in ["ann", "bob"] {
        let rows: Vec<String> = (0..10).map(|id| format!("({id}, {id}, '{user}')")).collect();
        server.run(user, &format!("INSERT INTO t (id, n, tx) VALUES {}", rows.join(", ")), vec![]).await;
    }
    server.run("admin", "FLUSH TABLE t", vec![]).await;
    let run = async |user: &str, sql: &str, params: Vec<Json>| server.run(user, sql, params).await[0].row_count;
    for id in 0..5 {
        assert_eq!(run("ann", "UPDATE t SET n = n + $1 WHERE id = $2", vec![json!(100), json!(id)]).await, 1);
        assert_eq!(run("ann", "UPDATE t SET tx = $1 WHERE id = $2", vec![json!("new"), json!(id)]).await, 1);
        assert_eq!(run("bob", "DELETE FROM t WHERE id = $1", vec![json!(id)]).await, 1);
        assert_eq!(run("bob", "DELETE FROM t WHERE id = $1", vec![json!(id)]).await, 0);
        assert_eq!(run("bob", "DELETE FROM t WHERE n > $1 AND n < $2", vec![json!(50), json!(id)]).await, 0);
    }
    assert_eq!(server.scalar("ann", "SELECT sum(n) FROM t").await, json!(500 + 45));
    assert_eq!(server.scalar("ann", "SELECT count(*) FROM t WHERE tx = 'new'").await, json!(5));
    assert_eq!(server.scalar("bob", "SELECT min(id) FROM t").await, json!(5));
    assert!(server.runtime.plans().overview().hits >= 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_is_bounded() {
    let server = Server::start_with(|settings| {
        settings.query.plan_cache_entries = 50;
        settings.query.plan_cache_bytes = 4 << 20;
    })
    .await;
    for number in 0..300 {
        assert!(server.kept("u", &format!("SELECT $1 AS c{number}"), &[json!(1)]).await.0.is_ok());
    }
    let overview = server.runtime.plans().overview();
    assert!(overview.entries <= 50 && overview.bytes <= 4 << 20, "{overview:?}");
    assert!(overview.evictions >= 250, "{overview:?}");
    // Parameters of every shape are of one text: its plans are few.
    for params in 0..32_u32 {
        let given: Vec<Json> =
            (0..5).map(|bit| if params & (1 << bit) == 0 { json!(null) } else { json!(bit) }).collect();
        assert!(server.kept("u", "SELECT $1, $2, $3, $4, $5", &given).await.0.is_ok());
    }
    let overview = server.runtime.plans().overview();
    assert!(overview.bytes <= 4 << 20, "{overview:?}");
}

/// What is inserted is read by a plan for everybody; the table that it is inserted into is looked at each time.
#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_an_insert_is_planned_once() {
    let (_directory, server) = start().await;
    server.run("admin", "CREATE USER TABLE s (id BIGINT PRIMARY KEY, v TEXT); CREATE USER TABLE d (id BIGINT PRIMARY KEY, v TEXT, w INT)", vec![]).await;
    for user in ["ann", "bob"] {
        let values: Vec<String> = (0..20).map(|id| format!("({id}, '{user} {id}')")).collect();
        server.run(user, &format!("INSERT INTO s VALUES {}", values.join(", ")), vec![]).await;
    }
    let copy = "INSERT INTO d SELECT id + $1, v, $2 FROM s WHERE id < $3 ORDER BY id LIMIT $4";
    let mut outcomes = Vec::new();
    for (user, from, count) in [("ann", 0, 5), ("bob", 0, 3), ("ann", 100, 2), ("bob", 100, 50)] {
        let params = [json!(from), json!(from + 1), json!(10), json!(count)];
        let (answer, plan_cache) = server.kept(user, copy, &params).await;
        assert_eq!(answer.expect("inserted").2, count.min(10), "{user}");
        outcomes.push(plan_cache);
        let own = format!("SELECT count(*) FROM d WHERE id >= {from} AND w = {from} + 1 AND v LIKE '{user} %'");
        assert_eq!(server.scalar(user, &own).await, json!(count.min(10)), "{user}");
    }
    let (miss, hit) = (Some(kalamdb_wire::PlanCache::Miss), Some(kalamdb_wire::PlanCache::Hit));
    assert_eq!(outcomes, [miss, hit, hit, hit]);

    // Rows of the statement's own partition are those of its snapshot, and read again where they change.
    let own = "INSERT INTO s SELECT id + $1, v FROM s";
    assert_eq!(server.kept("ann", own, &[json!(1000)]).await.0.expect("inserted").2, 20);
    let (answer, plan_cache) = server.kept("ann", own, &[json!(10_000)]).await;
    assert_eq!((answer.expect("inserted").2, plan_cache), (40, hit));
    let (answer, _) = server.kept("ann", own, &[json!(0)]).await;
    assert_eq!(answer.expect_err("they are there").0, ErrorCode::DuplicateKey);

    // A column of another type by the same name: what a parameter is for it is found out anew.
    let bare = "INSERT INTO d (id, w) SELECT id + 500, $1 FROM s WHERE id = 1";
    server.kept("ann", bare, &[json!(7)]).await.0.expect("a number");
    let refused = server.kept("ann", bare, &[json!("text")]).await.0.expect_err("no number");
    assert_eq!(refused.0, ErrorCode::ParamTypeMismatch);
    server.run("admin", "ALTER TABLE d DROP COLUMN w; ALTER TABLE d ADD COLUMN w TEXT", vec![]).await;
    server.run("ann", "DELETE FROM d WHERE id = 501", vec![]).await;
    let (answer, plan_cache) = server.kept("ann", bare, &[json!("text")]).await;
    assert_eq!((answer.expect("inserted").2, plan_cache), (1, miss));
    assert_eq!(server.scalar("ann", "SELECT w FROM d WHERE id = 501").await, json!("text"));
    let width = server.kept("ann", "INSERT INTO d (id, v) SELECT id, v, $1 FROM s", &[json!(1)]).await.0;
    assert_eq!(width.expect_err("three for two").0, ErrorCode::InvalidSql);
}
