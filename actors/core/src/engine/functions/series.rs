//! Functions that stand in FROM: DataFusion's series of whole numbers, each batch made when it is read.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, TableSource};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

/// The table that a function in FROM makes of its arguments. Series of times are left out: DataFusion's are of nanoseconds,
/// which no column here has.
pub(crate) fn series(state: &SessionState, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
    let name = name.to_ascii_lowercase();
    let Some(function) = state.table_functions().get(&name) else {
        return plan_err!("table function '{name}' does not exist");
    };
    let context = SimplifyContext::builder().with_config_options(Arc::clone(state.config_options())).build();
    let simplifier = ExprSimplifier::new(context);
    let schema = DFSchema::empty();
    let not_whole =
        || plan_datafusion_err!("{name} takes one to three whole numbers, which are neither columns nor parameters");
    let whole = |arg: Expr| -> Result<Expr> {
        let arg = simplifier.simplify(simplifier.coerce(arg, &schema)?)?;
        let Expr::Literal(value, metadata) = arg else { return Err(not_whole()) };
        let value = match value {
            value if value.is_null() => ScalarValue::Null,
            value if value.data_type().is_integer() => value.cast_to(&DataType::Int64)?,
            _ => return Err(not_whole()),
        };
        Ok(Expr::Literal(value, metadata))
    };
    let args = args.into_iter().map(whole).collect::<Result<Vec<_>>>()?;
    if !(1..=3).contains(&args.len()) {
        return Err(not_whole());
    }
    Ok(provider_as_source(function.create_table_provider_with_args(TableFunctionArgs::new(&args, state))?))
}
