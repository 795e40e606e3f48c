//! What queries read of segments.

use std::collections::BTreeMap;

use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt as _;
use tempfile::TempDir;

use super::*;
use crate::engine::query::{plan, run};
use crate::engine::rewrite::{expose_system_columns, name_outputs};

/// What the scans of a query did, by the names of EXPLAIN ANALYZE.
type Work = BTreeMap<String, usize>;

/// A server whose segments lie in a directory of its own.
pub(super) async fn start() -> (Server, TempDir) {
    let directory = TempDir::new().expect("a directory");
    let location = directory.path().join("storage");
    (Server::start_with(|settings| settings.storage.default_location = location).await, directory)
}

impl Server {
    /// How many rows a query has, and what its scans did for them.
    async fn work(&self, sql: &str) -> (usize, Work) {
        let parsed = kalamdb_sql::statements(sql).next().expect("a statement").expect("it parses");
        let scope = self.scope("u", &parsed, &CancellationToken::new());
        let context = scope.begin(None).await.expect("a context");
        let Statement::Query(query) = parsed.statement else { panic!("a query") };
        let mut query = *query;
        name_outputs(&mut query, None);
        expose_system_columns(&mut query);
        let plan = plan(&context, query, &Params::none(), &[], None).await.expect("planned");
        let batches: Vec<_> = run(&context, Arc::clone(&plan)).expect("begun").try_collect().await.expect("run");
        let mut work = Work::new();
        add(&mut work, &plan);
        (batches.iter().map(datafusion::arrow::array::RecordBatch::num_rows).sum(), work)
    }
}

fn add(work: &mut Work, plan: &Arc<dyn ExecutionPlan>) {
    if plan.name() == "PartitionScan" {
        for metric in plan.metrics().expect("metrics").iter() {
            *work.entry(metric.value().name().to_owned()).or_default() += metric.value().as_usize();
        }
    }
    plan.children().into_iter().for_each(|child| add(work, child));
}

const SEGMENTS: usize = 4;
const SEGMENT_ROWS: usize = 5000;

/// Segments that have every fourth id each; `block` counts up with them, `stars` goes round.
async fn blocks() -> (Server, TempDir) {
    let (server, directory) = start().await;
    let columns = "id BIGINT PRIMARY KEY, block INT, stars INT, text TEXT, x DOUBLE";
    server.run("u", &format!("CREATE USER TABLE t ({columns})"), vec![]).await;
    for segment in 0..SEGMENTS {
        let rows: Vec<String> = (0..SEGMENT_ROWS)
            .map(|row| {
                let id = row * SEGMENTS + segment;
                // Wide, and nothing that compresses: bytes are read in blocks, of which this has many.
                let noise = |salt: u32| (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(salt);
                let text = [7, 19, 31, 43].map(|salt| (noise(salt) ^ noise(salt + 5)).to_string()).join(" ");
                format!("({id}, {}, {}, 'row {text}', {id}.5)", row / 1000, id % 5)
            })
            .collect();
        server.run("u", &format!("INSERT INTO t VALUES {}", rows.join(", ")), vec![]).await;
        server.run("u", "FLUSH TABLE t", vec![]).await;
    }
    (server, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_reads_what_it_needs_of_segments() {
    let (server, _directory) = blocks().await;
    let (rows, all) = server.work("SELECT * FROM t").await;
    assert_eq!((rows, all["segments_read"], all["segment_rows_read"]), (20_000, 4, 20_000));
    let whole = all["segment_bytes_read"];

    // Only the columns that are asked for; none, where it is their number that counts.
    let (_, work) = server.work("SELECT stars FROM t").await;
    assert!(work["segment_bytes_read"] < whole / 10, "{work:?} of {whole}");
    let (_, work) = server.work("SELECT count(*) FROM t").await;
    assert_eq!((work["segments_read"], work["segment_bytes_read"]), (4, 0));

    // Pages by their bounds, not only those of keys.
    let (rows, work) = server.work("SELECT text FROM t WHERE block = 2 AND stars < 3").await;
    assert_eq!(rows, 2400);
    assert!(work["segment_rows_read"] <= 4 * 2048, "{work:?}");
    assert!(work["segment_bytes_read"] < whole, "{work:?} of {whole}");
    for nothing in ["stars = 9", "block IS NULL", "stars > 4 OR block < 0", "text < 'row'", "stars IN (7, 8, 9)"] {
        let (rows, work) = server.work(&format!("SELECT * FROM t WHERE {nothing}")).await;
        assert_eq!((rows, work["segment_rows_read"], work["segment_bytes_read"]), (0, 0, 0), "{nothing}");
    }
    // Floats have no bounds that hold for NaN; but columns that are not looked at are read for matches alone.
    let (rows, work) = server.work("SELECT text FROM t WHERE x = 4242.5").await;
    assert_eq!((rows, work["segment_rows_read"]), (1, 20_000));
    assert!(work["segment_bytes_read"] < whole / 3, "{work:?} of {whole}");

    // A key is looked up, and only until it is found.
    let (rows, work) = server.work("SELECT * FROM t WHERE id = 4003").await;
    assert_eq!((rows, work["segments_read"], work["hot_rows_read"]), (1, 1, 0));
    let (rows, work) = server.work("SELECT * FROM t WHERE id = 4000 AND stars = 0").await;
    // It is the oldest that has it; the filters of the others, which are in memory, do not know the key.
    assert_eq!((rows, work["segments_read"]), (1, 1));
    assert_eq!(server.work("SELECT * FROM t WHERE id = 4000 AND stars = 1").await.0, 0);
    server.run("u", "UPDATE t SET block = 70 WHERE id = 4003; DELETE FROM t WHERE id = 4000", vec![]).await;
    let (rows, work) = server.work("SELECT * FROM t WHERE id = 4003 AND block = 70").await;
    assert_eq!((rows, work["segments_read"], work["hot_rows_read"]), (1, 0, 1));
    let (rows, work) = server.work("SELECT * FROM t WHERE id = 4000").await;
    assert_eq!((rows, work["segments_read"]), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_the_scan() {
    let (server, _directory) = blocks().await;
    let whole = server.work("SELECT * FROM t").await.1["segment_bytes_read"];
    let (rows, work) = server.work("SELECT * FROM t LIMIT 3").await;
    assert_eq!((rows, work["segments_read"]), (3, 1));
    assert!(work["segment_bytes_read"] < whole / 15, "{work:?} of {whole}");
    let (rows, work) = server.work("SELECT * FROM t LIMIT 10 OFFSET 4995").await;
    assert_eq!((rows, work["segments_read"]), (10, 2));
    // With conditions the first batch that has enough ends it.
    let (rows, work) = server.work("SELECT text FROM t WHERE stars = 2 LIMIT 3").await;
    assert_eq!((rows, work["segments_read"]), (3, 1));
    assert!(work["segment_bytes_read"] < whole / 3, "{work:?} of {whole}");
    assert_eq!(server.work("SELECT text FROM t WHERE stars + 1 = 3 LIMIT 3").await.0, 3);
    assert_eq!(server.work("SELECT id FROM t WHERE stars = 2 AND stars + 1 = 3 LIMIT 4000").await.0, 4000);
    // Hot rows come first, and are enough.
    server.run("u", "UPDATE t SET stars = 6 WHERE id < 5", vec![]).await;
    let (rows, work) = server.work("SELECT id FROM t LIMIT 5").await;
    assert_eq!((rows, work["segments_read"]), (5, 0));
    let (rows, work) = server.work("SELECT id FROM t WHERE stars = 6 LIMIT 4").await;
    assert_eq!((rows, work["segments_read"]), (4, 0));
    let (rows, work) = server.work("SELECT id FROM t LIMIT 6").await;
    assert_eq!((rows, work["segments_read"], work["hot_rows_read"]), (6, 1, 5));
    assert_eq!(server.work("SELECT id FROM t LIMIT 0").await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_what_the_scan_takes() {
    let (server, _directory) = start().await;
    server.run("u", "CREATE USER TABLE t (id BIGINT PRIMARY KEY, n INT, x DOUBLE)", vec![]).await;
    let explain = async |sql: &str| {
        let results = server.run("u", &format!("EXPLAIN {sql}"), vec![]).await;
        let rows: Vec<Json> = serde_json::from_str(results[0].rows.as_str()).expect("JSON");
        rows[1]["plan"].as_str().expect("a physical plan").to_owned()
    };
    let plan = explain("SELECT id FROM t WHERE n = 5 AND id > 3 LIMIT 2").await;
    let scan = plan.lines().find(|line| line.contains("PartitionScan")).expect("a scan");
    for part in ["key range", "filters=[n@1 = 5 AND id@0 > 3]", "n_min@"] {
        assert!(scan.contains(part), "{part} in {scan}");
    }
    // DataFusion looks once more, so the limit is its.
    assert!(plan.contains("FilterExec: n@1 = 5 AND id@0 > 3") && !scan.contains("limit"), "{plan}");
    let plan = explain("SELECT id FROM t LIMIT 2").await;
    assert!(plan.lines().any(|line| line.contains("PartitionScan") && line.contains("limit=2")), "{plan}");
    // What may fail is left to the plan alone.
    let plan = explain("SELECT id FROM t WHERE n + 1 = 5 AND x > 1 LIMIT 2").await;
    assert!(plan.contains("FilterExec") && plan.contains("filters=[x@0 > 1]"), "{plan}");
    assert!(!plan.lines().any(|line| line.contains("PartitionScan") && line.contains("limit")), "{plan}");
}
