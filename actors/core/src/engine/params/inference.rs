//! What types a plan says its placeholders have.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable as _, LogicalPlan};
use kalamdb_commons::Result;
use kalamdb_sql::ColumnType;

use super::super::errors::from_datafusion;
use super::super::result::column_type_of_field;

/// Functions whose arguments are all of one type.
const OF_ONE_TYPE: [&str; 5] = ["coalesce", "nullif", "nvl", "greatest", "least"];

/// What each occurrence that is an output of the plan by itself is meant for, through whatever passes it on.
pub(super) fn output_types(plan: &LogicalPlan, outputs: &[Option<ColumnType>], types: &mut HashMap<usize, ColumnType>) {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut below = vec![None; projection.input.schema().fields().len()];
            for (expr, output) in projection.expr.iter().zip(outputs) {
                match unaliased(expr) {
                    Expr::Column(column) => {
                        let place = projection.input.schema().maybe_index_of_column(column);
                        if let Some(slot) = place.and_then(|place| below.get_mut(place)) {
                            *slot = *output;
                        }
                    }
                    expr => note_type(expr, *output, types),
                }
            }
            output_types(&projection.input, &below, types);
        }
        LogicalPlan::Values(values) => {
            for row in &values.values {
                for (expr, output) in row.iter().zip(outputs) {
                    note_type(unaliased(expr), *output, types);
                }
            }
        }
        // These have the columns of what is below them.
        LogicalPlan::Union(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(_) => {
            for input in plan.inputs() {
                output_types(input, outputs, types);
            }
        }
        _ => {}
    }
}

fn unaliased(mut expr: &Expr) -> &Expr {
    while let Expr::Alias(alias) = expr {
        expr = &alias.expr;
    }
    expr
}

fn note_type(expr: &Expr, output: Option<ColumnType>, types: &mut HashMap<usize, ColumnType>) {
    if let (Some(place), Some(column_type)) = (place_of(expr), output) {
        types.insert(place, column_type);
    }
}

/// The occurrence that a placeholder is, counted from 1.
fn place_of(expr: &Expr) -> Option<usize> {
    let Expr::Placeholder(placeholder) = expr else { return None };
    placeholder.id.strip_prefix('$').and_then(|digits| digits.parse().ok())
}

/// The types of columns that stand beside placeholders where all have one type, and that text is no value of before it is
/// converted: a string there is meant for the column.
pub(super) fn sibling_types(plan: &LogicalPlan) -> Result<HashMap<usize, ColumnType>> {
    let mut types = HashMap::new();
    plan.apply_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                match inner {
                    Expr::ScalarFunction(function) if OF_ONE_TYPE.contains(&function.name()) => {
                        note_siblings(&function.args.iter().collect::<Vec<_>>(), &schema, &mut types);
                    }
                    // `x = ANY(ARRAY[…])`
                    Expr::ScalarFunction(function) if function.name() == "array_has" => {
                        if let [array, value] = function.args.as_slice()
                            && let Some(items) = arguments_of(array, "make_array")
                        {
                            note_siblings(&items.iter().chain([value]).collect::<Vec<_>>(), &schema, &mut types);
                        }
                    }
                    // `(a, b) = (…)`
                    Expr::BinaryExpr(BinaryExpr { left, right, .. }) => note_rows(left, right, &schema, &mut types),
                    Expr::InList(InList { expr, list, .. }) => {
                        list.iter().for_each(|item| note_rows(expr, item, &schema, &mut types));
                    }
                    Expr::Case(case) => {
                        let (whens, thens): (Vec<&Expr>, Vec<&Expr>) =
                            case.when_then_expr.iter().map(|(when, then)| (when.as_ref(), then.as_ref())).unzip();
                        let results: Vec<&Expr> = thens.into_iter().chain(case.else_expr.as_deref()).collect();
                        note_siblings(&results, &schema, &mut types);
                        if let Some(compared) = case.expr.as_deref() {
                            let compared: Vec<&Expr> = whens.into_iter().chain([compared]).collect();
                            note_siblings(&compared, &schema, &mut types);
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    Ok(types)
}

/// What is compared with one another in a comparison of rows.
fn note_rows(left: &Expr, right: &Expr, schema: &DFSchema, types: &mut HashMap<usize, ColumnType>) {
    let (Some(left), Some(right)) = (arguments_of(left, "struct"), arguments_of(right, "struct")) else { return };
    left.iter().zip(right).for_each(|(left, right)| note_siblings(&[left, right], schema, types));
}

fn arguments_of<'e>(expr: &'e Expr, name: &str) -> Option<&'e [Expr]> {
    match unaliased(expr) {
        Expr::ScalarFunction(function) if function.name() == name => Some(&function.args),
        _ => None,
    }
}

fn note_siblings(exprs: &[&Expr], schema: &DFSchema, types: &mut HashMap<usize, ColumnType>) {
    let column = exprs.iter().find(|expr| matches!(expr, Expr::Column(_) | Expr::OuterReferenceColumn(..)));
    let field = column.and_then(|column| column.to_field(schema).ok());
    let column_type = field.and_then(|(_, field)| column_type_of_field(&field)).filter(|column_type| {
        use ColumnType::{Bytes, Date, Decimal, Timestamp, Uuid};
        matches!(column_type, Timestamp | Date | Bytes | Uuid | Decimal { .. })
    });
    for expr in exprs {
        note_type(expr, column_type, types);
    }
}

/// The types of the plan's placeholders by occurrence.
pub(super) fn inferred_types(plan: &LogicalPlan, count: usize) -> Result<Vec<Option<FieldRef>>> {
    let mut types = vec![None; count];
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Expr::Placeholder(placeholder) = inner
                    && let Some(place) = place_of(inner)
                    && let Some(slot) = place.checked_sub(1).and_then(|place| types.get_mut(place))
                    && let Some(field) = &placeholder.field
                    && !field.data_type().is_null()
                {
                    *slot = Some(Arc::clone(field));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    Ok(types)
}
