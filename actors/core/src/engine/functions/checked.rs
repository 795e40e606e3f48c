//! Integer `+`, `-`, `*` that fail on overflow.
//!
//! DataFusion's wrap; PostgreSQL's fail, and so do ours (`EVALUATION_ERROR`). An analyzer rule, after types
//! are coerced and before constants are folded, replaces them with a function that checks.

use std::sync::Arc;

use datafusion::arrow::array::Datum;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::super::analyzer::rewrite_expressions;

/// The rule.
#[derive(Debug)]
pub(crate) struct CheckedArithmetic;

impl AnalyzerRule for CheckedArithmetic {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite_expressions(plan, |expr, schema| Ok(check(expr, schema)))
    }

    fn name(&self) -> &str {
        "checked_arithmetic"
    }
}

/// Replaces one operator, if it is over integers. A type that cannot be told (an outer reference of a
/// subquery planned apart) leaves the operator as it is.
///
/// A chain becomes one function of many arguments: whoever asks for the type of a nested expression walks all
/// of it, at each level anew, and chains may have thousands.
fn check(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Plus | Operator::Minus | Operator::Multiply), right }) =
        expr
    else {
        return Transformed::no(expr);
    };
    if !is_integer(&left, schema) || !is_integer(&right, schema) {
        return Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    let (mut ops, mut args) = match *left {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match chain_of(&func) {
            Some(chain) => (chain.ops.clone(), args),
            None => (Vec::new(), vec![Expr::ScalarFunction(ScalarFunction { func, args })]),
        },
        other => (Vec::new(), vec![other]),
    };
    ops.push(op);
    args.push(*right);
    let function = Arc::new(ScalarUDF::from(CheckedChain::new(ops)));
    Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

fn is_integer(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::ScalarFunction(function) if chain_of(&function.func).is_some() => true,
        expr => expr.get_type(schema).is_ok_and(|data_type| data_type.is_integer()),
    }
}

fn chain_of(function: &ScalarUDF) -> Option<&CheckedChain> {
    function.inner().downcast_ref::<CheckedChain>()
}

/// `a op b op c …`, from the left, over integers of one type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedChain {
    ops: Vec<Operator>,
    signature: Signature,
}

impl CheckedChain {
    fn new(ops: Vec<Operator>) -> Self {
        Self { ops, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for CheckedChain {
    fn name(&self) -> &'static str {
        "checked"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [first, rest @ ..] if rest.len() == self.ops.len() && rest.iter().all(|other| other == first) => {
                Ok(first.clone())
            }
            _ => plan_err!("checked arithmetic needs integers of one type, got {arg_types:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut values = args.args.into_iter();
        let Some(mut result) = values.next() else {
            return plan_err!("checked arithmetic needs arguments");
        };
        for (op, value) in self.ops.iter().zip(values) {
            let kernel = match op {
                Operator::Plus => numeric::add,
                Operator::Minus => numeric::sub,
                _ => numeric::mul,
            };
            let array = kernel(datum(&result)?.as_ref(), datum(&value)?.as_ref())?;
            let scalars = matches!((&result, &value), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
            result = if scalars {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
            } else {
                ColumnarValue::Array(array)
            };
        }
        Ok(result)
    }
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}
