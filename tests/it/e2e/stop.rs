//! What a stop leaves behind.

use futures::stream::{self, StreamExt as _};
use kalamdb_tests::BinaryServer;
use serde_json::json;

const TABLES: usize = 10;
const USERS: usize = 735;

/// Within `server.shutdown_timeout`, or rows would be hot after it; more than its default, which a machine that does
/// other things meanwhile may exceed.
#[tokio::test]
async fn a_stop_flushes_ten_tables_of_many_users() {
    let settings = [("flush.default_rows", "1000000"), ("server.shutdown_timeout", "50s")];
    let mut server = BinaryServer::start_with(&settings).await;
    let admin = server.admin();
    admin.sql("CREATE NAMESPACE many").await.ok();
    for table in 0..TABLES {
        admin.sql(format!("CREATE USER TABLE many.t{table} (id BIGINT PRIMARY KEY, v TEXT)")).await.ok();
    }
    let fill = |user: usize| {
        let caller = admin.as_user(&format!("user {user}"));
        async move {
            let inserts =
                (0..TABLES).map(|table| format!("INSERT INTO many.t{table} VALUES ({user}, 'one'), (-1, 'two')"));
            caller.sql(inserts.collect::<Vec<_>>().join(";")).await.ok();
        }
    };
    stream::iter((0..USERS).map(fill)).buffer_unordered(16).collect::<Vec<()>>().await;
    let status = server.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", server.logs());

    server.restart().await;
    for table in 0..TABLES {
        let stats = admin.sql(format!("SHOW TABLE STATS many.t{table}")).await.success().rows()[0].clone();
        let expected = (json!(0), json!(2 * USERS), json!(USERS));
        let found = (stats["buffered_rows"].clone(), stats["flushed_rows"].clone(), stats["segments"].clone());
        assert_eq!(found, expected, "t{table}\n{}", server.logs());
    }
    let jobs = "SELECT DISTINCT trigger, status FROM system.jobs";
    assert_eq!(admin.sql(jobs).await.success().values(), [[json!("shutdown"), json!("completed")]]);
    for user in [0, 367, USERS - 1] {
        let caller = admin.as_user(&format!("user {user}"));
        let rows = caller.sql("SELECT id, v FROM many.t7 ORDER BY id").await.success().values();
        assert_eq!(rows, [[json!(-1), json!("two")], [json!(user), json!("one")]]);
    }
}
