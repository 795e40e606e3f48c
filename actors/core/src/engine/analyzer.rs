//! The analyzer's rules: DataFusion's with ours around them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::Analyzer;

use super::casts::TypedCasts;
use super::functions::CheckedArithmetic;
use super::literals::TypedLiterals;

/// Casts say what their types are before anything asks, literals get theirs before any are coerced, arithmetic is looked at when all
/// types are known.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(TypedCasts), Arc::new(TypedLiterals)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(CheckedArithmetic));
    rules
}

/// Rewrites every expression of a plan, subqueries included, from the leaves up; names of outputs stay.
pub(crate) fn rewrite_expressions(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| rewrite_expressions_of(node, &rewrite)).data()
}

/// The same in one node alone, whose inputs are rewritten already.
pub(crate) fn rewrite_expressions_of(
    node: LogicalPlan,
    rewrite: &impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&node.inputs());
    if let LogicalPlan::TableScan(scan) = &node {
        schema.merge(scan.projected_schema.as_ref());
    }
    let names = NamePreserver::new(&node);
    let rewritten = |expr: Expr| {
        let saved = names.save(&expr);
        let rewritten = expr.transform_up(|inner| rewrite(inner, &schema))?;
        Ok(rewritten.update_data(|inner| saved.restore(inner)))
    };
    node.map_expressions(|expr| match expr {
        // Its parts have names, it has none: with one it would be no set any more.
        set @ Expr::GroupingSet(_) => set.map_children(rewritten),
        expr => rewritten(expr),
    })
}
