//! The files of segments, against what the server says of them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use kalamdb_tests::{BinaryServer, eventually};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Segments {
    most: usize,
}

impl Segments {
    /// Of a server that nobody writes to: soon its storage holds the files of its segments and nothing else, and nothing
    /// is under way that has ended with an earlier life.
    pub(super) async fn check(&mut self, server: &BinaryServer, round: usize) {
        let admin = server.admin();
        let storage = server.dir().join("storage");
        let mut last = None;
        let agree = async || {
            let segments = admin.sql("SELECT path FROM system.segments").await.success();
            let named: BTreeSet<String> =
                segments.values().iter().map(|row| row[0].as_str().expect("a path").to_owned()).collect();
            let there = files(&storage);
            let agreed = named == there;
            last = Some((named, there));
            agreed.then_some(())
        };
        let limit = Duration::from_secs(30);
        let agreed = tokio::time::timeout(limit, eventually("files are collected", limit * 2, agree)).await.is_ok();
        let (named, there) = last.expect("it was looked at");
        assert!(
            agreed,
            "round {round}: named and not there: {:?}; there and not named: {:?}",
            named.difference(&there).collect::<Vec<_>>(),
            there.difference(&named).collect::<Vec<_>>()
        );
        self.most = self.most.max(named.len());
        let unfinished = "SELECT count(*) FROM system.jobs WHERE status IN ('queued', 'running')";
        eventually("no job is unfinished", limit, async || {
            (admin.sql(unfinished).await.success().number() == 0).then_some(())
        })
        .await;
    }

    /// The most that were there at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }
}

/// Below a directory, as their paths from there; temporary ones too.
fn files(root: &Path) -> BTreeSet<String> {
    let (mut found, mut left) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.expect("a readable directory").path();
            if path.is_dir() {
                left.push(path);
            } else {
                let path = path.strip_prefix(root).expect("below the root");
                found.insert(path.display().to_string());
            }
        }
    }
    found
}
