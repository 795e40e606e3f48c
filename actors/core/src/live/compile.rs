//! From a query's text to what is evaluated for every change.
//!
//! The query is planned as any other, and of its plan the condition and the columns are taken as expressions over the
//! table's row. What is compiled is kept by text, namespace and parameters, for all users (for one, where it asks who
//! the caller is); the caller's rights and the table are looked at each time. It stays good while the table has the columns
//! that it uses: rows are decoded by the columns' ids, whatever their version and place.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::optimizer::analyzer::Analyzer;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use kalamdb_commons::{
    Error, ErrorCode, NamespaceId, QualifiedTableName, Result, SystemColumn, TableId, TableName, TableType, UserId,
};
use kalamdb_live::{LiveCaller, LiveProgram, LiveQuery, TableState, UsedColumns};
use kalamdb_sql::{ParsedStatement, Statement, TableRef, ast};
use kalamdb_wire::{Column, SubscribeRequest};
use quick_cache::sync::Cache;
use serde_json::Value as Json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::format::{FormatArgs, TableFormat};
use super::shape;
use crate::HeaderUser;
use crate::catalog::TableEntry;
use crate::engine::context::{Action, StatementContext};
use crate::engine::{
    Caller, Params, Runtime, ScanColumn, Scope, analyzer_rules, columns_of, expose_system_columns, from_datafusion,
    is_heavy, is_virtual, name_outputs,
};

/// A shorter text nests nothing so deep that it takes long to plan.
const SURELY_LIGHT_BYTES: usize = 200;

/// The name of a row's own number among the columns that are decoded.
const ROW_NUMBER: &str = "\u{1f}row number";

/// A query as it was asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) sql: Arc<str>,
    pub(super) params: Arc<Vec<Json>>,
    namespace: NamespaceId,
    caller: LiveCaller,
    header_user: HeaderUser,
    /// All of it that a compiled query depends on.
    key: Arc<str>,
}

impl Asked {
    /// # Errors
    /// For a namespace or user that breaks the rules of names.
    pub(super) fn new(caller: &LiveCaller, request: &SubscribeRequest) -> Result<Self> {
        let namespace = match &request.namespace {
            Some(name) => NamespaceId::new(name)?,
            None => NamespaceId::default_namespace(),
        };
        let header_user = match &request.user_id {
            Some(user) => Ok(Some(UserId::new(user)?)),
            None => caller.header_user.clone(),
        };
        let params = serde_json::to_string(&request.params).map_err(Error::internal)?;
        let key = format!("{namespace}\u{0}{}\u{0}{params}", request.sql).into();
        Ok(Self {
            sql: request.sql.as_str().into(),
            params: Arc::new(request.params.clone()),
            namespace,
            caller: caller.clone(),
            header_user,
            key,
        })
    }

    /// The surroundings of a statement of this caller.
    pub(super) fn scope(&self, runtime: &Arc<Runtime>) -> Scope {
        let (identity, header_user) = (self.caller.identity.clone(), self.header_user.clone());
        let caller = Caller::new(runtime, identity, header_user, self.namespace.clone(), &CancellationToken::new());
        let limit: Duration = runtime.settings().server.request_timeout;
        Scope::light(runtime, &caller, Instant::now() + limit)
    }

    /// Whether it is worth asking [`is_heavy`](Self::is_heavy): what is short is not.
    pub(super) fn may_be_heavy(&self) -> bool {
        self.sql.len() > SURELY_LIGHT_BYTES
    }

    /// Whether planning it may take long.
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub(super) fn is_heavy(&self, runtime: &Runtime) -> Result<bool> {
        Ok(is_heavy(&self.parse(runtime)?.0))
    }

    /// The one query of the text.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`] for none or several, [`ErrorCode::Unsupported`] for another statement.
    pub(super) fn parse(&self, runtime: &Runtime) -> Result<(Arc<ParsedStatement>, Params)> {
        let mut statements = runtime.parsed().read(&self.sql);
        if statements.len() > 1 {
            return Err(Error::new(ErrorCode::InvalidSql, "a subscription has one query"));
        }
        let parsed = statements
            .next()
            .unwrap_or_else(|| Err(Error::new(ErrorCode::InvalidSql, "a subscription without a query")))?;
        let params = Params::new(&self.params, parsed.parameters)?;
        Ok((parsed, params))
    }
}

/// The query of a statement that is one.
///
/// # Errors
/// [`ErrorCode::Unsupported`].
pub(super) fn query_in(parsed: &ParsedStatement) -> Result<&ast::Query> {
    match &parsed.statement {
        Statement::Query(query) => Ok(query),
        _ => Err(Error::new(ErrorCode::Unsupported, "a subscription takes a SELECT, and no other statement")),
    }
}

/// A compiled query, for whoever may read the table.
#[derive(Debug)]
pub(super) struct Compiled {
    table: TableRef,
    name: QualifiedTableName,
    id: TableId,
    uses: Arc<UsedColumns>,
    columns: Arc<[Column]>,
    program: Arc<LiveProgram>,
    key: Arc<str>,
    /// Whose it is, where it says who the caller is.
    user: Option<UserId>,
}

/// Those that were compiled lately.
pub(super) struct CompiledQueries {
    known: Cache<(Arc<str>, Option<UserId>), Arc<Compiled>>,
}

impl fmt::Debug for CompiledQueries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledQueries").field("entries", &self.known.len()).finish()
    }
}

/// Longer texts and parameters are compiled each time: what is kept is bounded by entries.
const LONGEST_KEPT: usize = 16 << 10;

impl CompiledQueries {
    pub(super) fn new(most: usize) -> Self {
        Self { known: Cache::new(most) }
    }

    pub(super) fn get(&self, asked: &Asked) -> Option<Arc<Compiled>> {
        let of_all = (Arc::clone(&asked.key), None);
        let of_user = || (Arc::clone(&asked.key), Some(asked.caller.identity.user_id.clone()));
        self.known.get(&of_all).or_else(|| self.known.get(&of_user()))
    }

    pub(super) fn put(&self, asked: &Asked, compiled: &Arc<Compiled>) {
        if asked.key.len() <= LONGEST_KEPT {
            self.known.insert((Arc::clone(&asked.key), compiled.user.clone()), Arc::clone(compiled));
        }
    }
}

/// The query for its caller, who may read it; none if the table is another by now, to this query.
///
/// # Errors
/// When the caller may not read it.
pub(super) async fn query_of(runtime: &Arc<Runtime>, asked: &Asked, compiled: &Compiled) -> Result<Option<LiveQuery>> {
    if runtime.is_refusing() {
        return Err(Error::new(ErrorCode::ShuttingDown, "the server is shutting down"));
    }
    if runtime.store().has_failed() {
        return Err(Error::new(ErrorCode::StorageUnavailable, "the storage backend is being opened again: try again"));
    }
    let context = asked.scope(runtime).begin_unseeing(None).await?;
    let (entry, partition) = context.resolve(&compiled.table, Action::Read)?;
    if entry.id() != compiled.id || !compiled.uses.are_in(&entry.schema) {
        return Ok(None);
    }
    Ok(Some(LiveQuery {
        table: compiled.name.clone(),
        partition,
        uses: Arc::clone(&compiled.uses),
        key: Arc::clone(&compiled.key),
        sql: Arc::clone(&asked.sql),
        columns: Arc::clone(&compiled.columns),
        program: Arc::clone(&compiled.program),
    }))
}

/// What has become of a query's table.
pub(super) fn table_state(runtime: &Runtime, query: &LiveQuery) -> TableState {
    let catalog = runtime.catalog();
    let Some(entry) = catalog.table_of(query.partition.table) else { return TableState::Dropped };
    if query.uses.are_in(&entry.schema) { TableState::Same } else { TableState::Changed }
}

/// The answer to who asked for a table as it was.
pub(super) fn changed_meanwhile() -> Error {
    Error::new(ErrorCode::Conflict, "the table was changed meanwhile: try again")
}

/// Compiles what was asked for.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn compile(runtime: &Arc<Runtime>, asked: &Asked) -> Result<Compiled> {
    let (parsed, params) = asked.parse(runtime)?;
    let query = query_in(&parsed)?;
    let context = asked.scope(runtime).begin_unseeing(None).await?;
    let table = table_in(&context, query)?;
    let (entry, _) = context.resolve(&table, Action::Read)?;

    let takes_all = shape::has_wildcard(shape::check(query)?);
    let mut query = query.clone();
    name_outputs(&mut query, parsed.column_names.as_deref());
    expose_system_columns(&mut query);
    let plan = params.plan(&context, query, &[])?;
    let state = runtime.state();
    let plan = Analyzer::with_rules(analyzer_rules())
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(from_datafusion)?;
    let Parts { outputs, filter, input } = parts(&plan)?;
    let mut names_user = false;
    for expr in outputs.iter().chain(filter) {
        names_user |= check_functions(expr)?;
    }
    let uses = Arc::new(if takes_all {
        UsedColumns::every(&entry.schema)
    } else {
        UsedColumns::at(&entry.schema, named_places(&entry, input, outputs.iter().chain(filter)))
    });
    let physical = |expr: &Expr| state.create_physical_expr(expr.clone(), input).map_err(from_datafusion);
    let outputs = outputs.iter().map(physical).collect::<Result<Vec<_>>>()?;
    let filter = filter.map(physical).transpose()?;
    let decoded = Decoded::new(&entry, input.as_arrow(), outputs.iter().chain(&filter));
    let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
    let columns = columns_of(&schema);
    let on_decoded =
        |expr: Arc<dyn PhysicalExpr>| reassign_expr_columns(expr, &decoded.schema).map_err(from_datafusion);
    let program = LiveProgram {
        filter: filter.map(on_decoded).transpose()?,
        outputs: outputs.into_iter().map(on_decoded).collect::<Result<_>>()?,
        schema: Arc::clone(&schema),
        format: Arc::new(TableFormat::new(FormatArgs {
            runtime: Arc::clone(runtime),
            table: entry.id(),
            compiled_for: Arc::clone(&entry.schema),
            uses: Arc::clone(&uses),
            columns: decoded.columns,
            schema: decoded.schema,
            keys: decoded.keys,
            result: schema,
        })),
    };
    let user = names_user.then(|| asked.caller.identity.user_id.clone());
    let whose = user.as_ref().map_or("", UserId::as_str);
    Ok(Compiled {
        name: context.qualify(&table),
        table,
        columns: columns.into(),
        program: Arc::new(program),
        key: format!("{}\u{0}{}\u{0}{}\u{0}{whose}", asked.key, entry.id().0, entry.schema.version).into(),
        id: entry.id(),
        uses,
        user,
    })
}

/// The table that a query is about, which is one of those with a partition per user.
fn table_in(context: &StatementContext, query: &ast::Query) -> Result<TableRef> {
    let select = shape::check(query)?;
    let name = match select.from.first().map(|from| &from.relation) {
        Some(ast::TableFactor::Table { name, .. }) => name,
        _ => return Err(Error::internal("a live query without a table")),
    };
    let parts: Vec<String> = name
        .0
        .iter()
        .filter_map(|part| part.as_ident())
        .map(|ident| if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() })
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (namespace, user_qualifier, table) = match parts.as_slice() {
        [table] => (None, false, *table),
        [namespace, table] => (Some(*namespace), false, *table),
        [namespace, "user", table] => (Some(*namespace), true, *table),
        [catalog, namespace, table] if NamespaceId::is_in_catalog(catalog, namespace) => {
            (Some(*namespace), false, *table)
        }
        _ => {
            return Err(Error::new(
                ErrorCode::InvalidSql,
                "names of tables are namespace.table or namespace.user.table",
            ));
        }
    };
    if namespace.or_else(|| context.virtual_namespace()).is_some_and(is_virtual) {
        return Err(shape::made_by_server());
    }
    let table = TableRef {
        namespace: namespace.map(NamespaceId::new).transpose()?,
        table: TableName::new(table)?,
        user_qualifier,
    };
    let name = context.qualify(&table);
    if context.catalog.table(&name)?.table_type() == TableType::Shared {
        return Err(shape::shared(&name.to_string()));
    }
    Ok(table)
}

/// A plan taken apart.
struct Parts<'a> {
    outputs: &'a [Expr],
    filter: Option<&'a Expr>,
    /// What both are over.
    input: &'a DFSchema,
}

fn parts(plan: &LogicalPlan) -> Result<Parts<'_>> {
    let LogicalPlan::Projection(projection) = plan else { return Err(shape::of_many_rows()) };
    let (filter, input) = match projection.input.as_ref() {
        LogicalPlan::Filter(filter) => (Some(&filter.predicate), filter.input.as_ref()),
        other => (None, other),
    };
    let mut below = input;
    while let LogicalPlan::SubqueryAlias(alias) = below {
        below = &alias.input;
    }
    match below {
        LogicalPlan::TableScan(_) => Ok(Parts { outputs: &projection.expr, filter, input: input.schema() }),
        _ => Err(shape::of_many_rows()),
    }
}

/// The places of the table's own columns that are named, or in its key. What is evaluated may be less: a condition that says
/// nothing is simplified away, and cannot be written any more all the same once its column is gone.
fn named_places<'e>(entry: &TableEntry, input: &DFSchema, exprs: impl Iterator<Item = &'e Expr>) -> BTreeSet<usize> {
    let named = exprs.flat_map(Expr::column_refs).filter_map(|column| input.maybe_index_of_column(column));
    named.filter(|place| *place < entry.schema.columns.len()).chain(entry.schema.key_positions()).collect()
}

/// Refuses functions that may give something else for the same row; whether the caller's name is asked for.
fn check_functions(expr: &Expr) -> Result<bool> {
    let mut names_user = false;
    let mut refused = None;
    expr.apply(|inner| {
        match inner {
            Expr::ScalarFunction(function) => match (function.name(), function.func.signature().volatility) {
                (_, Volatility::Immutable) => {}
                ("current_user", _) => names_user = true,
                (name, _) => refused = Some(shape::not_immutable(name)),
            },
            Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::Unnest(_) => refused = Some(shape::of_many_rows()),
            _ => {}
        }
        Ok(if refused.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(from_datafusion)?;
    refused.map_or(Ok(names_user), Err)
}

/// The columns of a row that are asked for, and those of its key.
struct Decoded {
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    keys: Vec<usize>,
}

impl Decoded {
    fn new<'e>(entry: &TableEntry, all: &Schema, exprs: impl Iterator<Item = &'e Arc<dyn PhysicalExpr>>) -> Self {
        let mut places: BTreeSet<usize> = exprs.flat_map(collect_columns).map(|column| column.index()).collect();
        let key_places = entry.schema.key_positions();
        places.extend(&key_places);
        let mut columns = Vec::with_capacity(places.len() + 1);
        let mut fields = Vec::with_capacity(places.len() + 1);
        for place in &places {
            let Some(field) = all.fields().get(*place) else { continue };
            columns.push(match SystemColumn::from_name(field.name()) {
                _ if *place < entry.schema.columns.len() => ScanColumn::Declared(*place),
                Some(SystemColumn::Updated) => ScanColumn::Updated,
                Some(SystemColumn::Deleted) => ScanColumn::Deleted,
                Some(SystemColumn::Seq) | None => ScanColumn::Seq,
            });
            fields.push(Arc::clone(field));
        }
        let mut keys: Vec<usize> =
            key_places.iter().filter_map(|place| places.iter().position(|known| known == place)).collect();
        if keys.is_empty() {
            keys.push(columns.len());
            columns.push(ScanColumn::RowNumber);
            fields.push(Arc::new(Field::new(ROW_NUMBER, DataType::Int64, false)));
        }
        Self { columns, schema: Arc::new(Schema::new(fields)), keys }
    }
}
