//! EXISTS in a select list: DataFusion has it in conditions only.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, col, lit, not};

/// Makes every EXISTS of a select list that names no column of the query around it a scalar subquery, which counts to one.
pub(super) fn count_in_lists(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_any(&plan)? {
        return Ok(plan);
    }
    let rewritten = plan.transform_up_with_subqueries(|node| {
        let node = if matches!(node, LogicalPlan::Projection(_)) {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let saved = names.save(&expr);
                let expr = expr.transform_up(counted)?;
                Ok(expr.update_data(|expr| saved.restore(expr)))
            })?
        } else {
            Transformed::no(node)
        };
        // A scalar subquery may be NULL for all the planner knows, so what is above it may be, too.
        node.map_data(|node| match node {
            LogicalPlan::Values(_) => Ok(node),
            node => node.recompute_schema(),
        })
    })?;
    Ok(rewritten.data)
}

fn stands_alone(expr: &Expr) -> bool {
    matches!(expr, Expr::Exists(exists) if exists.subquery.outer_ref_columns.is_empty())
}

fn has_any(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Projection(projection) = node {
            for expr in &projection.expr {
                found |= expr.exists(|inner| Ok(stands_alone(inner)))?;
            }
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn counted(expr: Expr) -> Result<Transformed<Expr>> {
    if !stands_alone(&expr) {
        return Ok(Transformed::no(expr));
    }
    let Expr::Exists(Exists { subquery, negated }) = expr else { return Ok(Transformed::no(expr)) };
    let plan = LogicalPlanBuilder::new_from_arc(subquery.subquery)
        .limit(0, Some(1))?
        .aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64)).alias("n")])?
        .project(vec![col("n").gt(lit(0_i64))])?
        .build()?;
    let scalar =
        Expr::ScalarSubquery(Subquery { subquery: plan.into(), outer_ref_columns: Vec::new(), spans: subquery.spans });
    Ok(Transformed::yes(if negated { not(scalar) } else { scalar }))
}
