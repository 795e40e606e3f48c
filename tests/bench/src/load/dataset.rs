//! The input: gzipped files of one JSON object a line, kept in memory by user.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// One line of the commits.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Commit {
    pub(crate) user_id: String,
    pub(crate) id: i64,
    pub(crate) commit: String,
    /// Kept as the server answers it: UTC with microseconds.
    #[serde(deserialize_with = "timestamp")]
    pub(crate) created_at: String,
    pub(crate) subject: String,
    pub(crate) body: String,
}

/// One line of the changes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Change {
    pub(crate) user_id: String,
    pub(crate) id: i64,
    pub(crate) commit_id: i64,
    pub(crate) path: String,
    pub(crate) kind: String,
}

fn timestamp<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let moment = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
    Ok(moment.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A line that belongs to a user.
pub(crate) trait Line: DeserializeOwned {
    /// Whose it is.
    fn user(&self) -> &str;
    /// Its key, unique in the whole file.
    fn id(&self) -> i64;
}

impl Line for Commit {
    fn user(&self) -> &str {
        &self.user_id
    }

    fn id(&self) -> i64 {
        self.id
    }
}

impl Line for Change {
    fn user(&self) -> &str {
        &self.user_id
    }

    fn id(&self) -> i64 {
        self.id
    }
}

/// The rows of one file by user, each user's by id.
pub(crate) type ByUser<T> = BTreeMap<String, Vec<T>>;

/// Reads a file, at most `limit` lines of it.
///
/// # Errors
/// A file that cannot be read, a line that is not such an object, a repeated id, no line at all.
pub(crate) fn read<T: Line>(path: &Path, limit: Option<usize>) -> Result<ByUser<T>, Failure> {
    let broken_file = |source| Failure::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(broken_file)?;
    let mut by_user: ByUser<T> = BTreeMap::new();
    let mut ids = std::collections::HashSet::new();
    for (number, line) in BufReader::new(MultiGzDecoder::new(file)).lines().enumerate() {
        if limit.is_some_and(|limit| number >= limit) {
            break;
        }
        let broken_line = |problem: String| Failure::Line { path: path.to_owned(), line: number + 1, problem };
        let row: T =
            serde_json::from_str(&line.map_err(broken_file)?).map_err(|error| broken_line(error.to_string()))?;
        if !ids.insert(row.id()) {
            return Err(broken_line(format!("id {} was there before", row.id())));
        }
        by_user.entry(row.user().to_owned()).or_default().push(row);
    }
    if by_user.is_empty() {
        return Err(Failure::Empty(path.to_owned()));
    }
    for rows in by_user.values_mut() {
        rows.sort_by_key(Line::id);
    }
    Ok(by_user)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A file of this test alone, removed at its end.
    struct Written(std::path::PathBuf);

    impl Written {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kalamdb-bench-{}-{name}.gz", std::process::id()));
            let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
            Self(path)
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    const LINES: &str = concat!(
        r#"{"user_id": "b", "id": 2, "commit": "x", "created_at": "2013-04-11T16:33:27+02:00", "subject": "s", "body": ""}"#,
        "\n",
        r#"{"user_id": "a", "id": 3, "commit": "y", "created_at": "2013-04-11T14:33:27Z", "subject": "s", "body": ""}"#,
        "\n",
        r#"{"user_id": "b", "id": 1, "commit": "z", "created_at": "2013-04-11T14:33:27.5Z", "subject": "s", "body": ""}"#,
        "\n",
    );

    #[test]
    fn rows_are_grouped_by_user_and_ordered_by_id() {
        let file = Written::new("grouped", LINES);
        let rows: ByUser<Commit> = read(&file.0, None).unwrap();
        let ids: Vec<(&str, Vec<i64>)> =
            rows.iter().map(|(user, rows)| (user.as_str(), rows.iter().map(Line::id).collect())).collect();
        assert_eq!(ids, [("a", vec![3]), ("b", vec![1, 2])]);
        assert_eq!(rows["b"][0].created_at, "2013-04-11T14:33:27.500000Z");
        assert_eq!(rows["b"][1].created_at, "2013-04-11T14:33:27.000000Z");
        let limited: ByUser<Commit> = read(&file.0, Some(1)).unwrap();
        assert_eq!(limited.values().map(Vec::len).sum::<usize>(), 1);
    }

    #[test]
    fn broken_input_names_its_line() {
        let good = LINES.lines().next().unwrap();
        for (name, text, expected) in [
            ("json", format!("{good}\n{{\n"), "line 2"),
            ("member", format!("{good}\n{{\"user_id\": \"a\", \"id\": 9}}\n"), "missing field"),
            ("repeated", format!("{good}\n{good}\n"), "id 2 was there before"),
            ("empty", String::new(), "holds no row"),
        ] {
            let file = Written::new(name, &text);
            let failure = read::<Commit>(&file.0, None).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        }
        assert!(matches!(read::<Commit>(Path::new("/nonexistent/file.gz"), None), Err(Failure::File { .. })));
    }
}
