//! SQL to DataFusion plans, with names resolved by us: catalog, roles and partitions are checked here, and
//! DataFusion's own catalog stays empty.

mod exists;

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, Result as DfResult, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry as _, SessionState};
use datafusion::logical_expr::planner::{ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ContextProvider, NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use kalamdb_commons::settings::Settings;
use kalamdb_commons::{Error, ErrorCode, NamespaceId, Result, TableName};
use kalamdb_sql::{ColumnType, TableRef, ast, column_type_of};

use super::analyzer::analyzer_rules;
use super::context::{Action, StatementContext};
use super::errors::from_datafusion;
use super::functions::{
    BOUNDED, BoundedText, CheckedSum, IdFunction, SignedRanks, SnowflakeGenerator, exact_number, may_be_null, series,
    statement_constant, statement_function,
};
use super::interrupt::InterruptibleJoins;
use super::memory::{QueryMemory, merge_bytes};
use super::plans::Compiling;
use super::rewrite::{
    ExposedColumns, balance_chains, keep_decimals_exact, make_subqueries_nullable, order_distinct_by_items,
};
use super::scan::{Binding, PartitionTable};

/// Rows per Arrow batch.
const BATCH_ROWS: usize = 8192;

/// The state all statements plan with: functions and rules, no tables. Operators write to a directory below `spill_below`.
pub(crate) fn session_state(
    settings: &Settings,
    memory: &QueryMemory,
    spill_below: Option<&Path>,
    snowflakes: &Arc<SnowflakeGenerator>,
) -> Result<SessionState> {
    let limit = usize::try_from(settings.query.memory_limit).unwrap_or(usize::MAX);
    let config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(1)
        .with_sort_spill_reservation_bytes(merge_bytes(limit))
        .set_bool("datafusion.optimizer.enable_dynamic_filter_pushdown", false)
        .set_str("datafusion.sql_parser.default_null_ordering", "nulls_max");
    let environment = memory.environment(spill_below)?;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_default_features()
        .with_analyzer_rules(analyzer_rules())
        .with_physical_optimizer_rule(Arc::new(InterruptibleJoins))
        .with_type_planner(Arc::new(DialectTypes))
        .build();
    for function in IdFunction::all(snowflakes).into_iter().chain([may_be_null(), exact_number()]) {
        state.register_udf(Arc::new(function)).map_err(from_datafusion)?;
    }
    for name in BOUNDED {
        let function = state.udf(name).map_err(from_datafusion)?;
        state.register_udf(Arc::new(ScalarUDF::from(BoundedText::new(function)))).map_err(from_datafusion)?;
    }
    let sum = state.udaf("sum").map_err(from_datafusion)?;
    state.register_udaf(Arc::new(AggregateUDF::from(CheckedSum::new(sum)))).map_err(from_datafusion)?;
    state.register_expr_planner(Arc::new(SignedRanks)).map_err(from_datafusion)?;
    Ok(state)
}

/// The dialect's types where SQL names one (CAST): microseconds, UUID and JSON, and nothing else.
#[derive(Debug)]
struct DialectTypes;

impl TypePlanner for DialectTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DfResult<Option<FieldRef>> {
        if matches!(sql_type, ast::DataType::Time(..) | ast::DataType::Interval { .. }) {
            // No column has them, results may.
            return Ok(None);
        }
        let column_type = column_type_of(sql_type).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Some(Arc::new(column_type.to_field("", true))))
    }
}

/// Plans one query; `param_types` are those of `$1`, `$2`, … where known. With `compiling` the plan is one for all
/// callers: it is bound to nothing of this statement.
pub(crate) fn plan_query(
    context: &Arc<StatementContext>,
    mut query: ast::Query,
    param_types: Vec<Option<FieldRef>>,
    compiling: Option<&Compiling>,
) -> Result<LogicalPlan> {
    order_distinct_by_items(&mut query);
    make_subqueries_nullable(&mut query);
    balance_chains(&mut query);
    keep_decimals_exact(&mut query);
    let provider = Names { context, compiling };
    let options = ParserOptions {
        map_string_types_to_utf8view: true,
        default_null_ordering: NullOrdering::NullsMax,
        ..ParserOptions::default()
    };
    let mut planner_context = PlannerContext::new().with_prepare_param_data_types(param_types);
    SqlToRel::new_with_options(&provider, options)
        .sql_statement_to_plan_with_context(ast::Statement::Query(Box::new(query)), &mut planner_context)
        .and_then(exists::count_in_lists)
        .map_err(from_datafusion)
}

/// An Arrow field for a parameter of a type.
pub(crate) fn param_field(column_type: ColumnType) -> FieldRef {
    Arc::new(column_type.to_field("", true))
}

struct Names<'a> {
    context: &'a Arc<StatementContext>,
    compiling: Option<&'a Compiling>,
}

impl Names<'_> {
    fn table(&self, name: &TableReference) -> Result<Arc<dyn TableSource>> {
        let (text, exposed) = ExposedColumns::split_name(name.table());
        let (namespace, user_qualifier) = match (name.catalog(), name.schema()) {
            (None, None) => (None, false),
            (None, Some(schema)) => (Some(schema), false),
            (Some(catalog), Some("user")) => (Some(catalog), true),
            (Some(catalog), Some(schema)) if NamespaceId::is_in_catalog(catalog, schema) => (Some(schema), false),
            (Some(catalog), _) => {
                return Err(Error::new(
                    ErrorCode::InvalidSql,
                    format!(
                        "'{catalog}.{}' is not a namespace: names are namespace.table or namespace.user.table",
                        name.schema().unwrap_or_default()
                    ),
                ));
            }
        };
        if namespace.is_none()
            && let Some(changed) = self.context.changed_rows(text)
        {
            self.for_this_statement()?;
            return changed.source(exposed);
        }
        if let Some(namespace) = namespace.or_else(|| self.context.virtual_namespace())
            && super::show::is_virtual(namespace)
        {
            if user_qualifier {
                return Err(Error::new(
                    ErrorCode::InvalidSql,
                    format!(
                        "the tables of '{namespace}' are made by the server: the user qualifier is for user and stream \
                         tables"
                    ),
                ));
            }
            self.for_this_statement()?;
            return super::show::virtual_table(self.context, namespace, text);
        }
        let namespace = namespace.map(NamespaceId::new).transpose()?;
        let table = TableRef { namespace, table: TableName::new(text)?, user_qualifier };
        let (entry, partition) = self.context.resolve(&table, Action::Read)?;
        let binding = match self.compiling {
            Some(compiling) => Binding::Execution(compiling.table(table, &entry)),
            None => Binding::Statement(Arc::clone(self.context), partition),
        };
        Ok(provider_as_source(Arc::new(PartitionTable::new(binding, entry, exposed))))
    }

    /// # Errors
    /// When a plan for all callers is asked for: this table is made for one statement.
    fn for_this_statement(&self) -> Result<()> {
        match self.compiling {
            Some(_) => Err(Error::internal("a table of one statement in a compiled plan")),
            None => Ok(()),
        }
    }
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        self.table(&name).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.context.runtime.state().expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(DialectTypes))
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<datafusion::logical_expr::Expr>,
    ) -> DfResult<Arc<dyn TableSource>> {
        self.for_this_statement().map_err(|error| DataFusionError::External(Box::new(error)))?;
        series(self.context.runtime.state(), name, args)
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: datafusion::arrow::datatypes::SchemaRef,
    ) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(value) = statement_constant(name, self.context.now, &self.context.identity.user_id) {
            let function = match self.compiling {
                Some(compiling) => ScalarUDF::from(compiling.constant(name, value.data_type())),
                None => statement_function(name, value),
            };
            return Some(Arc::new(function));
        }
        self.context.runtime.state().scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.context.runtime.state().higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.context.runtime.state().aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.context.runtime.state().window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn get_variable_field(&self, _variable_names: &[String]) -> Option<Arc<Field>> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.context.runtime.state().config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.context.runtime.state().scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.context.runtime.state().higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.context.runtime.state().aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.context.runtime.state().window_functions().keys().cloned().collect()
    }
}
