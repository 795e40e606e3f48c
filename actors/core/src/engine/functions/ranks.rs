//! `row_number`, `rank`, `dense_rank` and `ntile` as BIGINT, as everywhere else: DataFusion's count unsigned.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawWindowExpr};
use datafusion::logical_expr::{Cast, Expr, WindowFunctionDefinition};

/// See the module.
#[derive(Debug)]
pub(crate) struct SignedRanks;

impl ExprPlanner for SignedRanks {
    fn plan_window(&self, window: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let counts = matches!(&window.func_def, WindowFunctionDefinition::WindowUDF(function)
            if matches!(function.name(), "row_number" | "rank" | "dense_rank" | "ntile"));
        if !counts {
            return Ok(PlannerResult::Original(window));
        }
        let function = WindowFunction {
            fun: window.func_def,
            params: WindowFunctionParams {
                args: window.args,
                partition_by: window.partition_by,
                order_by: window.order_by,
                window_frame: window.window_frame,
                filter: window.filter,
                null_treatment: window.null_treatment,
                distinct: window.distinct,
            },
        };
        Ok(PlannerResult::Planned(Expr::Cast(Cast::new(Box::new(Expr::from(function)), DataType::Int64))))
    }
}
