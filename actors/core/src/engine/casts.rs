//! What is JSON or UUID, and what only was.
//!
//! An Arrow field says by its metadata that its text is one of the two. An analyzer rule sees to it that it says
//! the truth: casts to them read the text, casts to TEXT take the metadata away, and where values of several types
//! become one column (UNION, the default of `lead` and `lag`) it is TEXT.

use std::cell::Cell;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable as _, LogicalPlan, Projection, TryCast, Union};
use datafusion::optimizer::AnalyzerRule;
use kalamdb_sql::ColumnType;

use super::analyzer::rewrite_expressions_of;
use super::functions::CheckedCast;
use super::result::column_type_of_field;

/// The rule.
#[derive(Debug)]
pub(crate) struct TypedCasts;

impl AnalyzerRule for TypedCasts {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if !may_concern(&plan)? {
            return Ok(plan);
        }
        // From the first change on, the schemas above may be others.
        let is_changed = Cell::new(false);
        plan.transform_up_with_subqueries(|node| {
            let rewritten = rewrite_expressions_of(node, &|expr, schema| {
                let rewritten = cast(expr, schema);
                is_changed.set(is_changed.get() || rewritten.transformed);
                Ok(rewritten)
            })?;
            match rewritten.data {
                LogicalPlan::Union(union) => {
                    let (inputs, is_mended) = with_one_type(union.inputs)?;
                    is_changed.set(is_changed.get() || is_mended);
                    Ok(if is_changed.get() {
                        Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
                    } else {
                        Transformed::no(LogicalPlan::Union(Union { inputs, schema: union.schema }))
                    })
                }
                node if is_changed.get() => node.recompute_schema().map(Transformed::yes),
                node => Ok(Transformed::no(node)),
            }
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "typed_casts"
    }
}

/// Whether there is anything to look at: most plans are spared the walk with its schemas.
fn may_concern(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Union(_)) {
            found = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                found |= matches!(inner, Expr::Cast(_) | Expr::TryCast(_) | Expr::WindowFunction(_));
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

fn cast(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::Cast(Cast { expr, field }) => match target(&expr, &field, schema) {
            Some(to) => Transformed::yes(CheckedCast::call(*expr, to, false)),
            None => Transformed::no(Expr::Cast(Cast { expr, field })),
        },
        Expr::TryCast(TryCast { expr, field }) => match target(&expr, &field, schema) {
            Some(to) => Transformed::yes(CheckedCast::call(*expr, to, true)),
            None => Transformed::no(Expr::TryCast(TryCast { expr, field })),
        },
        Expr::WindowFunction(mut function) if has_other_default(&function, schema) => {
            if let Some(value) = function.params.args.first_mut() {
                *value = CheckedCast::call(std::mem::take(value), ColumnType::Text, false);
            }
            Transformed::yes(Expr::WindowFunction(function))
        }
        other => Transformed::no(other),
    }
}

/// The type that a cast is to, where it is one of ours.
fn target(from: &Expr, to: &Field, schema: &DFSchema) -> Option<ColumnType> {
    match column_type_of_field(to) {
        Some(to) if is_marked(to) => Some(to),
        Some(ColumnType::Text) if type_of(from, schema).is_some_and(is_marked) => Some(ColumnType::Text),
        _ => None,
    }
}

/// Whether it is `lead` or `lag` of such values with a default that is none.
fn has_other_default(function: &WindowFunction, schema: &DFSchema) -> bool {
    let [value, _, default] = function.params.args.as_slice() else { return false };
    let is_null = matches!(default, Expr::Literal(literal, _) if literal.is_null());
    let of = type_of(value, schema);
    matches!(function.fun.name(), "lead" | "lag")
        && !is_null
        && of.is_some_and(is_marked)
        && type_of(default, schema) != of
}

/// Whether only metadata tells it from TEXT.
fn is_marked(column_type: ColumnType) -> bool {
    matches!(column_type, ColumnType::Json | ColumnType::Uuid)
}

/// A type that cannot be told (an outer reference) is left to DataFusion.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<ColumnType> {
    expr.to_field(schema).ok().and_then(|(_, field)| column_type_of_field(&field))
}

/// The inputs of a union, with text in each column for which one has JSON or UUID and another has not; whether there was one.
fn with_one_type(inputs: Vec<Arc<LogicalPlan>>) -> Result<(Vec<Arc<LogicalPlan>>, bool)> {
    let width = inputs.first().map_or(0, |input| input.schema().fields().len());
    let mixed: Vec<bool> = (0..width).map(|at| is_mixed(&inputs, at)).collect();
    if !mixed.contains(&true) {
        return Ok((inputs, false));
    }
    let inputs = inputs.into_iter().map(|input| {
        let column = |(as_text, (qualifier, field)): (&bool, (Option<&TableReference>, &Arc<Field>))| {
            let column = Expr::Column(Column::from((qualifier, field)));
            match *as_text && column_type_of_field(field).is_some_and(is_marked) {
                true => {
                    CheckedCast::call(column, ColumnType::Text, false).alias_qualified(qualifier.cloned(), field.name())
                }
                false => column,
            }
        };
        let columns = mixed.iter().zip(input.schema().iter()).map(column).collect();
        Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, input)?)))
    });
    Ok((inputs.collect::<Result<_>>()?, true))
}

fn is_mixed(inputs: &[Arc<LogicalPlan>], at: usize) -> bool {
    let fields = inputs.iter().filter_map(|input| input.schema().fields().get(at));
    let mut types =
        fields.filter(|field| *field.data_type() != DataType::Null).map(|field| column_type_of_field(field));
    let Some(first) = types.next() else { return false };
    let (mut has_marked, mut has_other) = (first.is_some_and(is_marked), false);
    for other in types {
        has_marked |= other.is_some_and(is_marked);
        has_other |= other != first;
    }
    has_marked && has_other
}
