//! Statements that were parsed before, by their exact text.
//!
//! A client sends the same parametrised text again and again; reading it costs about as much as writing its row.
//! A syntax tree says nothing of tables, users or roles, so an entry is never out of date. Most texts without
//! parameters come once: one is kept from its second time on. Bounded by entries and bytes; what is used least makes room.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use kalamdb_commons::Result;
use kalamdb_sql::{InsertSource, ParsedStatement, Statement, Statements, ast, is_default_keyword};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Bytes that all entries may take.
const MAX_BYTES: u64 = 16 << 20;
/// About how many entries there are.
const ENTRIES: usize = 1000;
/// Texts that are remembered to have come once.
const MOST_SEEN: usize = 10_000;
/// Longer texts are read anew each time.
const LONGEST_TEXT: usize = 4 << 10;
/// Nor is a deeper tree kept: whoever makes room would drop it.
const DEEPEST: usize = 200;
/// Most rows of a statement that is light.
const LIGHT_ROWS: usize = 16;
/// A syntax tree is at most about so many times as large as its text: `$1,` is an expression of 300 bytes.
const GROWTH: u64 = 100;
/// And takes at least so much.
const LEAST_BYTES: u64 = 4 << 10;

/// See the module.
pub(crate) struct ParsedStatements {
    known: Cache<Box<str>, Arc<ParsedStatement>, Weight>,
    /// Hashes of texts that came once.
    seen: Cache<u64, ()>,
    hasher: RandomState,
}

impl fmt::Debug for ParsedStatements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedStatements").field("entries", &self.known.len()).finish_non_exhaustive()
    }
}

impl ParsedStatements {
    pub(crate) fn new() -> Self {
        let known = Cache::with_weighter(ENTRIES, MAX_BYTES, Weight);
        Self { known, seen: Cache::new(MOST_SEEN), hasher: RandomState::new() }
    }

    /// The statements of a text, read as they are asked for.
    pub(crate) fn read<'t>(&'t self, text: &'t str) -> Reading<'t> {
        match if text.len() <= LONGEST_TEXT { self.known.get(text) } else { None } {
            Some(parsed) => Reading::Known(Some(parsed)),
            None => {
                let statements = kalamdb_sql::statements(text);
                let keep = (text.len() <= LONGEST_TEXT && statements.len() == 1).then_some((self, text));
                Reading::New { statements, keep, last: Keeping::Never }
            }
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.known.clear();
    }

    /// A text's statement, if it was read before.
    pub(crate) fn peek(&self, text: &str) -> Option<Arc<ParsedStatement>> {
        if text.len() <= LONGEST_TEXT { self.known.peek(text) } else { None }
    }

    /// Keeps it if it is to be kept.
    fn keep(&self, text: &str, parsed: &Arc<ParsedStatement>) -> Keeping {
        let keeping = match parsed.depth <= DEEPEST {
            true if parsed.parameters > 0 => Keeping::Now,
            true => self.without_parameters(text, &parsed.statement),
            false => Keeping::Never,
        };
        if keeping == Keeping::Now {
            self.known.insert(text.into(), Arc::clone(parsed));
        }
        keeping
    }

    /// A text without parameters is kept if it has come before. Of statements about rows only: others are rare, and some
    /// have secrets in them.
    fn without_parameters(&self, text: &str, statement: &Statement) -> Keeping {
        use Statement::{Delete, Insert, Query, Update};
        if !matches!(statement, Query(_) | Insert(_) | Update(_) | Delete(_)) {
            return Keeping::Never;
        }
        let hash = self.hasher.hash_one(text);
        if self.seen.get(&hash).is_some() {
            return Keeping::Now;
        }
        self.seen.insert(hash, ());
        Keeping::NextTime
    }
}

/// Whether a text is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    Never,
    /// If it comes again.
    NextTime,
    /// It was read before, or is kept for whoever sends it again.
    Now,
}

/// An INSERT of a few rows of parameters and defaults, and nothing else.
pub(crate) fn plans_nothing(statement: &Statement) -> bool {
    let Statement::Insert(insert) = statement else { return false };
    let InsertSource::Values(rows) = &insert.source else { return false };
    let is_given = |cell: &ast::Expr| {
        let is_parameter = matches!(cell, ast::Expr::Value(value) if matches!(value.value, ast::Value::Placeholder(_)));
        is_parameter || is_default_keyword(cell)
    };
    insert.on_conflict.is_none()
        && insert.returning.is_none()
        && rows.len() <= LIGHT_ROWS
        && rows.iter().flatten().all(is_given)
}

#[derive(Debug, Clone, Copy)]
struct Weight;

impl Weighter<Box<str>, Arc<ParsedStatement>> for Weight {
    fn weight(&self, text: &Box<str>, _: &Arc<ParsedStatement>) -> u64 {
        LEAST_BYTES + text.len() as u64 * GROWTH
    }
}

/// The statements of one text, one after the other.
pub(crate) enum Reading<'t> {
    /// One that was read before.
    Known(Option<Arc<ParsedStatement>>),
    /// New ones; a single one is kept.
    New {
        /// Those that are left.
        statements: Statements<'t>,
        /// Where a single one is kept, and by which text.
        keep: Option<(&'t ParsedStatements, &'t str)>,
        /// Whether the last one is.
        last: Keeping,
    },
}

impl Reading<'_> {
    /// Whether it was read before.
    pub(crate) fn was_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// Whether the last statement is kept.
    pub(crate) fn keeping(&self) -> Keeping {
        match self {
            Self::Known(_) => Keeping::Now,
            Self::New { last, .. } => *last,
        }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Known(parsed) => usize::from(parsed.is_some()),
            Self::New { statements, .. } => statements.len(),
        }
    }
}

impl Iterator for Reading<'_> {
    type Item = Result<Arc<ParsedStatement>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Known(parsed) => parsed.take().map(Ok),
            Self::New { statements, keep, last } => {
                let parsed = statements.next()?.map(Arc::new);
                if let (Ok(parsed), Some((cache, text))) = (&parsed, keep.take()) {
                    *last = cache.keep(text, parsed);
                }
                Some(parsed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cache: &ParsedStatements, sql: &str) -> Vec<String> {
        cache.read(sql).map(|parsed| parsed.expect("it parses").text.to_string()).collect()
    }

    #[test]
    fn a_statement_with_parameters_is_read_once() {
        let cache = ParsedStatements::new();
        let sql = "INSERT INTO t VALUES ($1)";
        assert_eq!(texts(&cache, sql), [sql]);
        let Reading::Known(Some(first)) = cache.read(sql) else { panic!("not kept") };
        let Reading::Known(Some(again)) = cache.read(sql) else { panic!("not kept") };
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(texts(&cache, sql), [sql]);
    }

    #[test]
    fn a_text_about_rows_without_parameters_is_kept_from_its_second_time_on() {
        let cache = ParsedStatements::new();
        for sql in ["SELECT 1", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t"] {
            assert_eq!(texts(&cache, sql), [sql]);
            assert!(cache.peek(sql).is_none(), "{sql}");
            assert_eq!(texts(&cache, sql), [sql]);
            assert!(cache.peek(sql).is_some(), "{sql}");
        }
        let secret = "CREATE STORAGE s WITH (type = 's3', location = 's3://b', secret_access_key = 'x')";
        for _ in 0..3 {
            assert_eq!(texts(&cache, secret).len(), 1);
            assert!(cache.peek(secret).is_none());
        }
    }

    #[test]
    fn only_inserts_that_plan_nothing_are_light() {
        let cache = ParsedStatements::new();
        let light = ["INSERT INTO t VALUES ($1, DEFAULT)", "INSERT INTO t (a) VALUES ($1), ($2)"];
        let many = format!("INSERT INTO t VALUES {}", vec!["($1)"; 17].join(", "));
        let heavy = [
            "INSERT INTO t VALUES ($1, 1 + 1)",
            "INSERT INTO t VALUES ($1, '5')",
            "INSERT INTO t SELECT $1",
            "INSERT INTO t VALUES ($1) RETURNING a",
            "INSERT INTO t VALUES ($1) ON CONFLICT (a) DO NOTHING",
            "SELECT $1",
            many.as_str(),
        ];
        for (sql, expected) in light.map(|sql| (sql, true)).into_iter().chain(heavy.map(|sql| (sql, false))) {
            assert!(cache.peek(sql).is_none(), "unknown yet: {sql}");
            assert_eq!(texts(&cache, sql).len(), 1);
            let parsed = cache.peek(sql).expect("kept");
            assert_eq!(plans_nothing(&parsed.statement), expected, "{sql}");
        }
    }

    #[test]
    fn nothing_else_is_kept() {
        let cache = ParsedStatements::new();
        let deep = format!("SELECT {}$1{}", "(".repeat(300), ")".repeat(300));
        let long = format!("SELECT $1 AS \"{}\"", "x".repeat(LONGEST_TEXT));
        for sql in ["SELECT 1", "SELECT $1; SELECT $1", deep.as_str(), long.as_str()] {
            let count = texts(&cache, sql).len();
            assert!(matches!(cache.read(sql), Reading::New { .. }), "{sql}");
            assert_eq!(texts(&cache, sql).len(), count);
        }
        assert!(cache.read("SELECT $1 FROM").next().is_some_and(|parsed| parsed.is_err()));
        assert!(matches!(cache.read("SELECT $1 FROM"), Reading::New { .. }), "an error is none");
    }

    #[test]
    fn entries_are_bounded() {
        let cache = ParsedStatements::new();
        for number in 0..20_000 {
            assert_eq!(texts(&cache, &format!("SELECT $1 AS c{number}")).len(), 1);
        }
        assert!(cache.known.weight() <= MAX_BYTES);
        assert!(cache.known.len() as u64 <= MAX_BYTES / LEAST_BYTES);
    }
}
