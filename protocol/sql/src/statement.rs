//! What a statement says, once parsed: names checked, clauses nobody offers already refused.
//!
//! Expressions and queries stay sqlparser's syntax trees (re-exported as [`crate::ast`]): the engine
//! plans them. Nothing here knows whether a table or a column exists.

use kalamdb_commons::{ColumnName, NamespaceId, Position, QualifiedTableName, TableName, TableType, UserId};
use sqlparser::ast;

use std::sync::Arc;

use crate::{ColumnDefault, ColumnType, OptionChanges, StorageOptions, TableOptions, UserOptions};

/// One statement of a text, with what the caller needs beside its meaning.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    /// Its meaning.
    pub statement: Statement,
    /// Its own source text, from its first token to its last, without the `;`.
    pub text: Arc<str>,
    /// How many parameters it expects: `$1` to `$n`.
    pub parameters: usize,
    /// Where it begins in the whole text sent.
    pub position: Position,
    /// For a query, or a statement with RETURNING: what to call each item of the select list (of the
    /// leftmost SELECT): its alias, else its text with functions in lower case and without qualifiers.
    /// A wildcard's entry is its text and names nothing. `None` where there is no list, or its text
    /// cannot be told.
    pub column_names: Option<Vec<String>>,
    /// How many levels its syntax tree has, about: at most some 6200. What walks the tree by recursion
    /// (cloning, visiting, planning) takes its stack per level.
    pub depth: usize,
}

/// Everything that can be said to KalamDB so far.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `CREATE NAMESPACE [IF NOT EXISTS] n`
    CreateNamespace {
        /// Never a reserved one.
        name: NamespaceId,
        /// Whether an existing namespace is fine.
        if_not_exists: bool,
    },
    /// `DROP NAMESPACE [IF EXISTS] n [CASCADE]`
    DropNamespace {
        /// Never a reserved one, nor `default`.
        name: NamespaceId,
        /// Whether a missing namespace is fine.
        if_exists: bool,
        /// Whether its tables go with it.
        cascade: bool,
    },
    /// `SHOW NAMESPACES`
    ShowNamespaces,
    /// `CREATE {USER | SHARED | STREAM} TABLE …`
    CreateTable(CreateTable),
    /// `ALTER TABLE t …`
    AlterTable {
        /// Without `.user.`.
        table: TableRef,
        /// What to change.
        change: TableChange,
    },
    /// `FLUSH TABLE t`
    FlushTable {
        /// Without `.user.`.
        table: TableRef,
    },
    /// `FLUSH ALL TABLES`
    FlushAllTables,
    /// `KILL LIVE QUERY 'id'`
    KillLiveQuery {
        /// As `system.live_queries` has it.
        live_id: String,
    },
    /// `CLEAR PLAN CACHE`
    ClearPlanCache,
    /// `CLEAR SESSION CACHE ['user']`
    ClearSessionCache {
        /// Whose; of all where it is missing.
        user: Option<UserId>,
    },
    /// `SHOW TABLE STATS t`
    ShowTableStats {
        /// Without `.user.`.
        table: TableRef,
    },
    /// `DROP [USER | SHARED | STREAM] TABLE [IF EXISTS] t`
    DropTable {
        /// Without `.user.`.
        table: TableRef,
        /// The kind, where the statement names one: a table of another kind is not meant.
        table_type: Option<TableType>,
        /// Whether a missing table is fine.
        if_exists: bool,
    },
    /// `CREATE USER [IF NOT EXISTS] 'id' [WITH (…)]`
    CreateUser {
        /// Whose row.
        user: UserId,
        /// Whether an existing row is fine.
        if_not_exists: bool,
        /// What it says.
        options: UserOptions,
    },
    /// `ALTER USER 'id' SET (…)`
    AlterUser {
        /// Whose row.
        user: UserId,
        /// What it says from now on; at least one thing.
        changes: UserOptions,
    },
    /// `DROP USER [IF EXISTS] 'id'`
    DropUser {
        /// Whose row.
        user: UserId,
        /// Whether a missing row is fine.
        if_exists: bool,
    },
    /// `CREATE STORAGE [IF NOT EXISTS] name WITH (…)`
    CreateStorage {
        /// In lower case.
        name: String,
        /// Whether an existing storage is fine.
        if_not_exists: bool,
        /// What it is.
        options: StorageOptions,
    },
    /// `ALTER STORAGE name SET (…)`
    AlterStorage {
        /// In lower case.
        name: String,
        /// What it is from now on; at least one thing.
        changes: StorageOptions,
    },
    /// `DROP STORAGE [IF EXISTS] name`
    DropStorage {
        /// In lower case.
        name: String,
        /// Whether a missing storage is fine.
        if_exists: bool,
    },
    /// `SHOW STORAGES`
    ShowStorages,
    /// `SHOW TABLES [IN ns]`
    ShowTables {
        /// `None`: the request's namespace.
        namespace: Option<NamespaceId>,
    },
    /// `DESCRIBE t`
    Describe {
        /// Without `.user.`.
        table: TableRef,
    },
    /// `INSERT INTO …`
    Insert(Insert),
    /// `UPDATE … SET …`
    Update(Update),
    /// `DELETE FROM …`
    Delete(Delete),
    /// `SELECT`, `WITH … SELECT`, `VALUES`
    Query(Box<ast::Query>),
    /// `EXPLAIN [ANALYZE] [VERBOSE] statement`
    Explain {
        /// Whether it runs.
        analyze: bool,
        /// Whether the plan is shown in full.
        verbose: bool,
        /// A query, INSERT, UPDATE or DELETE.
        statement: Box<Statement>,
    },
}

impl Statement {
    /// Whether it is a query, INSERT, UPDATE or DELETE: what may carry parameters and be explained.
    #[must_use]
    pub fn is_query_or_dml(&self) -> bool {
        match self {
            Self::Insert(_) | Self::Update(_) | Self::Delete(_) | Self::Query(_) => true,
            Self::CreateNamespace { .. }
            | Self::DropNamespace { .. }
            | Self::ShowNamespaces
            | Self::CreateTable(_)
            | Self::AlterTable { .. }
            | Self::FlushTable { .. }
            | Self::FlushAllTables
            | Self::KillLiveQuery { .. }
            | Self::ClearPlanCache
            | Self::ClearSessionCache { .. }
            | Self::ShowTableStats { .. }
            | Self::DropTable { .. }
            | Self::CreateUser { .. }
            | Self::AlterUser { .. }
            | Self::DropUser { .. }
            | Self::CreateStorage { .. }
            | Self::AlterStorage { .. }
            | Self::DropStorage { .. }
            | Self::ShowStorages
            | Self::ShowTables { .. }
            | Self::Describe { .. }
            | Self::Explain { .. } => false,
        }
    }
}

/// A table as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableRef {
    /// `None`: the request's namespace.
    pub namespace: Option<NamespaceId>,
    /// Its name there.
    pub table: TableName,
    /// Whether it was `ns.user.table`: the partition of the user in `X-USER-ID`.
    pub user_qualifier: bool,
}

impl TableRef {
    /// The full name, given the request's namespace.
    #[must_use]
    pub fn resolve(&self, default_namespace: &NamespaceId) -> QualifiedTableName {
        QualifiedTableName {
            namespace: self.namespace.clone().unwrap_or_else(|| default_namespace.clone()),
            table: self.table.clone(),
        }
    }
}

/// `CREATE TABLE`. Column names are distinct and none is a system column's; options fit the kind.
#[derive(Debug, Clone)]
pub struct CreateTable {
    /// Without `.user.`.
    pub name: TableRef,
    /// Its kind, from the leading word or from `WITH (type = …)`.
    pub table_type: TableType,
    /// Whether an existing table is fine.
    pub if_not_exists: bool,
    /// At least one, in the order they were declared.
    pub columns: Vec<ColumnSpec>,
    /// Columns of the key in key order, each one declared; empty for a table without one.
    pub primary_key: Vec<ColumnName>,
    /// Its options, checked.
    pub options: TableOptions,
}

/// What ALTER TABLE changes; whether the columns are there is not known here.
#[derive(Debug, Clone)]
pub enum TableChange {
    /// `ADD [COLUMN] c TYPE [NOT NULL] [DEFAULT const]`: takes NULL or has a DEFAULT.
    AddColumn(ColumnSpec),
    /// `DROP [COLUMN] c`
    DropColumn(ColumnName),
    /// `RENAME [COLUMN] a TO b`
    RenameColumn {
        /// Its name so far.
        from: ColumnName,
        /// Its name from now on.
        to: ColumnName,
    },
    /// `SET (option = 'value', …)`
    SetOptions(OptionChanges),
}

/// One declared column.
#[derive(Debug, Clone)]
pub struct ColumnSpec {
    /// Its name.
    pub name: ColumnName,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it takes NULL; columns of the key do not.
    pub nullable: bool,
    /// Its DEFAULT clause.
    pub default: Option<DefaultClause>,
}

/// A DEFAULT clause.
#[derive(Debug, Clone)]
pub struct DefaultClause {
    /// What it says.
    pub value: DefaultSpec,
    /// The expression as it was written, for DESCRIBE.
    pub text: String,
}

/// What a DEFAULT says.
#[derive(Debug, Clone)]
pub enum DefaultSpec {
    /// Understood by the parser: a literal of the column's type, or one of the five functions.
    Known(ColumnDefault),
    /// Another constant expression (no column, subquery, parameter or one of the five functions in
    /// it), for the engine to evaluate once and to cast to the column's type.
    Expr(Box<ast::Expr>),
}

/// `INSERT`.
#[derive(Debug, Clone)]
pub struct Insert {
    /// Where to.
    pub table: TableRef,
    /// Another name for the table, in ON CONFLICT and RETURNING.
    pub alias: Option<ast::Ident>,
    /// The columns named, distinct; `None`: all declared ones.
    pub columns: Option<Vec<ColumnName>>,
    /// What to insert.
    pub source: InsertSource,
    /// What to do where the key is there already.
    pub on_conflict: Option<OnConflict>,
    /// What to answer per row.
    pub returning: Option<Vec<ast::SelectItem>>,
}

/// What an INSERT inserts.
#[derive(Debug, Clone)]
pub enum InsertSource {
    /// `VALUES (…), (…)`: rows of one width, which is that of the column list where there is one. A
    /// cell that is the word DEFAULT answers to [`is_default_keyword`].
    Values(Vec<Vec<ast::Expr>>),
    /// `DEFAULT VALUES`
    DefaultValues,
    /// `SELECT …`
    Query(Box<ast::Query>),
}

/// Whether an expression is the bare word DEFAULT: a cell of VALUES, or the right side of SET.
#[must_use]
pub fn is_default_keyword(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// `ON CONFLICT`.
#[derive(Debug, Clone)]
pub struct OnConflict {
    /// The columns named; empty where none are (allowed with DO NOTHING only).
    pub target: Vec<ColumnName>,
    /// What to do.
    pub action: OnConflictAction,
}

/// What to do with a row whose key is there already.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one per statement")]
pub enum OnConflictAction {
    /// Leave the row that is there.
    DoNothing,
    /// Change the row that is there; `excluded` is the row that was to be inserted.
    DoUpdate {
        /// Columns to set, distinct.
        assignments: Vec<(ColumnName, ast::Expr)>,
        /// Only where this holds.
        selection: Option<ast::Expr>,
    },
}

/// `UPDATE`.
#[derive(Debug, Clone)]
pub struct Update {
    /// Which table.
    pub table: TableRef,
    /// Another name for it in the expressions.
    pub alias: Option<ast::Ident>,
    /// Columns to set, distinct; a value may be the word DEFAULT, see [`is_default_keyword`].
    pub assignments: Vec<(ColumnName, ast::Expr)>,
    /// The condition.
    pub selection: Option<ast::Expr>,
    /// What to answer per row.
    pub returning: Option<Vec<ast::SelectItem>>,
}

/// `DELETE`.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Which table.
    pub table: TableRef,
    /// Another name for it in the expressions.
    pub alias: Option<ast::Ident>,
    /// The condition.
    pub selection: Option<ast::Expr>,
    /// What to answer per row.
    pub returning: Option<Vec<ast::SelectItem>>,
}
