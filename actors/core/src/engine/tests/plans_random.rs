//! Random statements and many users: what kept plans come to is what plans made for each statement come to.

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;

use super::*;
use crate::engine::plans::{self, Part};

const TABLE: &str = "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n INT, tx TEXT, m DECIMAL(10,2))";
/// Ids lie below it, so that statements meet the same rows again and again.
const IDS: i64 = 40;

async fn start() -> (TempDir, Server) {
    let directory = TempDir::new().expect("a directory");
    let location = directory.path().join("storage");
    let server = Server::start_with(|settings| settings.storage.default_location = location).await;
    server.run("admin", TABLE, vec![]).await;
    (directory, server)
}

/// A statement made of random parts. Its values are the parameters, or stand in it.
struct Statement {
    text: String,
    params: Vec<Json>,
}

impl Statement {
    fn random(die: &mut StdRng) -> Self {
        let mut statement = Self { text: String::new(), params: Vec::new() };
        let make = match die.random_range(0..10) {
            0..3 => Self::insert,
            3..5 => Self::update,
            5 => Self::delete,
            _ => Self::select,
        };
        make(&mut statement, die);
        statement
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn value(&mut self, value: Json) {
        self.params.push(value);
        self.text.push_str(&format!("${}", self.params.len()));
    }

    fn insert(&mut self, die: &mut StdRng) {
        self.push("INSERT INTO t (id, n, tx, m) VALUES ");
        for row in 0..die.random_range(1..4) {
            self.push(if row == 0 { "(" } else { ", (" });
            self.value(json!(die.random_range(0..IDS)));
            for value in [number(die), text(die), decimal(die)] {
                self.push(", ");
                self.value(value);
            }
            self.push(")");
        }
        self.push(match die.random_range(0..4) {
            0 => "",
            1 => " ON CONFLICT (id) DO NOTHING",
            _ => " ON CONFLICT (id) DO UPDATE SET n = excluded.n, tx = excluded.tx",
        });
    }

    fn update(&mut self, die: &mut StdRng) {
        self.push("UPDATE t SET n = ");
        match die.random_range(0..3) {
            0 => self.value(number(die)),
            1 => {
                self.push("n + ");
                self.value(json!(die.random_range(0..9)));
            }
            _ => self.push("CAST(id AS INT)"),
        }
        if die.random_bool(0.5) {
            self.push(", tx = tx || ");
            self.value(text(die));
        }
        self.condition(die);
    }

    fn delete(&mut self, die: &mut StdRng) {
        self.push("DELETE FROM t");
        self.condition(die);
    }

    fn select(&mut self, die: &mut StdRng) {
        let outputs =
            ["id, n, tx, m", "tx", "id + n AS sum, m", "*", "upper(tx) AS u, id", "count(*) AS c, sum(n) AS s"];
        let outputs = outputs[die.random_range(0..outputs.len())];
        self.push("SELECT ");
        self.push(outputs);
        self.push(" FROM t");
        self.condition(die);
        if !outputs.starts_with("count") {
            self.push(" ORDER BY id");
            if die.random_bool(0.3) {
                self.push(" LIMIT ");
                self.value(json!(die.random_range(0..6)));
            }
        }
    }

    fn condition(&mut self, die: &mut StdRng) {
        self.push(" WHERE ");
        for part in 0..die.random_range(1..3) {
            if part > 0 {
                self.push(if die.random_bool(0.6) { " AND " } else { " OR " });
            }
            match die.random_range(0..7) {
                0..3 => {
                    self.push("id = ");
                    self.value(json!(die.random_range(0..IDS)));
                }
                3 => {
                    self.push(if die.random_bool(0.5) { "id > " } else { "id <= " });
                    self.value(json!(die.random_range(0..IDS)));
                }
                4 => {
                    self.push("n < ");
                    self.value(number(die));
                }
                5 => {
                    self.push("tx LIKE ");
                    self.value(json!(format!("%{}%", ["a", "b", "'"][die.random_range(0..3)])));
                }
                _ => {
                    self.push("m = ");
                    self.value(decimal(die));
                }
            }
        }
    }

    /// The same with its values in it: a text that hardly comes twice.
    fn with_literals(&self) -> String {
        let mut text = self.text.clone();
        for (at, value) in self.params.iter().enumerate().rev() {
            let literal = match value {
                Json::String(given) => format!("'{}'", given.replace('\'', "''")),
                other => other.to_string(),
            };
            text = text.replace(&format!("${}", at + 1), &literal);
        }
        text
    }
}

fn number(die: &mut StdRng) -> Json {
    if die.random_bool(0.1) { Json::Null } else { json!(die.random_range(-50..50)) }
}

fn text(die: &mut StdRng) -> Json {
    let texts = [json!("a"), json!("ab"), json!("it's"), json!(""), json!("ä"), Json::Null];
    texts[die.random_range(0..texts.len())].clone()
}

fn decimal(die: &mut StdRng) -> Json {
    json!(["1.50", "-0.01", "7", "7.00"][die.random_range(0..4)])
}

/// Rows as text and how many, or the code of the error.
type Answer = std::result::Result<(String, u64), ErrorCode>;

async fn answer(
    server: &Server,
    user: &str,
    sql: &str,
    params: Vec<Json>,
) -> (Answer, Option<kalamdb_wire::PlanCache>) {
    let outcome = server.outcome(user, Role::User, sql, params).await;
    match outcome.error {
        Some(failed) => (Err(failed.error.code), None),
        None => {
            let result = outcome.results.into_iter().next().expect("a result");
            (Ok((result.rows.as_str().to_owned(), result.row_count)), result.plan_cache)
        }
    }
}

/// One user's statements are sent with parameters and run by what is kept, the other's with literals and are planned each time.
/// The two have the same rows all the time, hot and flushed.
#[tokio::test(flavor = "multi_thread")]
async fn statements_with_kept_plans_do_what_others_do() {
    let (_directory, server) = start().await;
    let (mut hits, mut changed, mut refused) = (0, 0, 0);
    for seed in 0..4 {
        let mut die = StdRng::seed_from_u64(seed);
        // Few shapes, each often, so that what is kept is used.
        let shapes: Vec<u64> = (0..40).map(|_| die.random()).collect();
        for step in 0..250 {
            let shape = shapes[die.random_range(0..shapes.len())];
            let mut statement = Statement::random(&mut StdRng::seed_from_u64(shape));
            // The shape's parts, with other ids.
            for value in &mut statement.params {
                if value.as_i64().is_some_and(|id| (0..IDS).contains(&id)) && !statement.text.contains("LIMIT") {
                    *value = json!(die.random_range(0..IDS));
                }
            }
            let literals = statement.with_literals();
            let (kept, outcome) = answer(&server, "kept", &statement.text, statement.params.clone()).await;
            let (fresh, _) = answer(&server, "fresh", &literals, vec![]).await;
            assert_eq!(kept, fresh, "seed {seed}, step {step}: {} with {:?}", statement.text, statement.params);
            hits += usize::from(outcome == Some(kalamdb_wire::PlanCache::Hit));
            changed += usize::from(!statement.text.starts_with("SELECT") && kept.is_ok());
            refused += usize::from(kept.is_err());
            if die.random_range(0..40) == 0 {
                server.run("admin", "FLUSH TABLE t", vec![]).await;
            }
            if step % 50 == 49 {
                let all = "SELECT id, n, tx, m FROM t ORDER BY id";
                let rows = server.run("kept", all, vec![]).await;
                let others = server.run("fresh", all, vec![]).await;
                assert_eq!(rows[0].rows.as_str(), others[0].rows.as_str(), "seed {seed}, step {step}");
            }
        }
    }
    assert!(hits > 400 && changed > 200 && refused > 0, "{hits} hits, {changed} changes, {refused} refused");
}

/// SC-007, SC-008: no error, and no more compilations than there are texts.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_share_a_few_plans() {
    let (_directory, server) = start().await;
    let before = server.runtime.plans().overview().compilations;
    let texts = [
        "SELECT tx FROM t WHERE id = $1",
        "SELECT count(*) FROM t WHERE n > $1",
        "UPDATE t SET n = n + 1 WHERE id = $1",
        "SELECT id FROM t WHERE tx LIKE '%u%' AND id >= $1 ORDER BY id DESC LIMIT 1",
    ];
    let users = (0..1000).map(|number| {
        let server = &server;
        async move {
            let user = format!("u{number}");
            let insert = "INSERT INTO t (id, n, tx) VALUES ($1, $2, $3)";
            server.run(&user, insert, vec![json!(number), json!(number), json!(user)]).await;
            let mut rows = Vec::new();
            for text in texts {
                let param = if text.contains("n >") { number - 1 } else { number };
                rows.push(server.run(&user, text, vec![json!(param)]).await[0].rows.as_str().to_owned());
            }
            let id = format!(r#"[{{"id":{number}}}]"#);
            assert_eq!(rows, [&format!(r#"[{{"tx":"{user}"}}]"#), r#"[{"count(*)":1}]"#, "[]", &id]);
        }
    });
    join_all(users).await;
    assert_eq!(server.runtime.plans().overview().compilations - before, texts.len() as u64);
    let sessions = server.runtime.sessions().rows();
    assert_eq!(sessions.iter().filter(|session| session.registrations == 1).count(), 1000);
}

impl Server {
    /// How many keys a query by a plan that is kept looks at.
    async fn keys_read_kept(&self, user: &str, sql: &str, params: Vec<Json>) -> (u64, usize) {
        let parsed = kalamdb_sql::statements(sql).next().expect("a statement").expect("it parses");
        let text: Arc<str> = sql.into();
        let scope = self.scope(user, &parsed, &CancellationToken::new()).keeping_plans(&text);
        let context = scope.begin(None).await.expect("a context");
        let super::Statement::Query(query) = parsed.statement else { panic!("a query") };
        let params = Params::new(&Arc::new(params), parsed.parameters).expect("they fit");
        let prepared = plans::prepare(&context, Part::Query, || Ok(*query), &params, &[]).await.expect("it begins");
        let mut rows = 0;
        let count = |batch: datafusion::arrow::array::RecordBatch| {
            rows += batch.num_rows();
            Ok(())
        };
        prepared.expect("a plan that is kept").run.each(count).await.expect("it runs");
        (context.snapshot().expect("it reads").keys_read(), rows)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_parameters_narrow_what_is_read() {
    let (_directory, server) = start().await;
    for part in 0..4 {
        let rows: Vec<String> = (part * 2500..(part + 1) * 2500).map(|id| format!("({id}, {id})")).collect();
        server.run("u", &format!("INSERT INTO t (id, n) VALUES {}", rows.join(", ")), vec![]).await;
    }
    for _ in 0..2 {
        let (keys, rows) = server.keys_read_kept("u", "SELECT n FROM t WHERE id = $1", vec![json!(7777)]).await;
        assert_eq!((keys, rows), (1, 1));
        let range = "SELECT n FROM t WHERE id >= $1 AND id < $2";
        let (keys, rows) = server.keys_read_kept("u", range, vec![json!(5000), json!(5010)]).await;
        assert_eq!((keys, rows), (RECORD + 10, 10));
        let first = "SELECT n FROM t WHERE id > $1 LIMIT $2";
        let (keys, rows) = server.keys_read_kept("u", first, vec![json!(2000), json!(3)]).await;
        assert_eq!(rows, 3);
        assert!(keys <= RECORD + 256, "it stops after its first chunk: {keys}");
    }
}
