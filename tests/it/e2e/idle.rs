//! What a server costs that nobody uses.

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_idle_server_is_small() {
    use std::time::Duration;

    use kalamdb_tests::{BinaryServer, eventually};

    const LIMIT_MIB: u64 = 80;

    let server = BinaryServer::start().await;
    server.admin().sql("SELECT 1").await.ok();
    let status = format!("/proc/{}/status", server.pid().expect("it runs"));
    // What the program itself is counts only as far as it is shared with nobody: anonymous memory.
    let used_mib = || -> u64 {
        let text = std::fs::read_to_string(&status).expect("a running process");
        let line = text.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") / 1024
    };
    eventually("memory of an idle server settles", Duration::from_secs(20), async || {
        (used_mib() < LIMIT_MIB).then_some(())
    })
    .await;
}
