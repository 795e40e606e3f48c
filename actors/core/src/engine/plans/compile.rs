//! From a query to a plan for all callers.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use kalamdb_commons::{Error, Result};
use kalamdb_sql::{ColumnType, TableRef, ast};
use parking_lot::Mutex;

use super::super::context::StatementContext;
use super::super::errors::from_datafusion;
use super::super::functions::CheckedCast;
use super::super::params::{Occurrence, Params, TypedPlan};
use super::limit::open_limits;
use super::point::PointRead;
use super::slots::{SlotFunction, SlotName, Slots, has_slots, slot_of};
use super::template::Template;
use crate::catalog::TableEntry;

/// About what a node of a plan and an expression take, compiled and planned.
const NODE_BYTES: u64 = 2 << 10;
const EXPR_BYTES: u64 = 512;

/// A table that a compiled plan reads.
#[derive(Debug)]
pub(super) struct TableUse {
    /// As it was written.
    pub(super) table: TableRef,
    pub(super) entry: Arc<TableEntry>,
}

/// What a compilation gathers on its way.
#[derive(Debug, Default)]
pub(crate) struct Compiling {
    slots: Arc<Slots>,
    tables: Mutex<Vec<TableUse>>,
    constants: Mutex<BTreeSet<String>>,
}

impl Compiling {
    /// The place of a table among those that are read.
    pub(crate) fn table(&self, table: TableRef, entry: &Arc<TableEntry>) -> usize {
        let mut tables = self.tables.lock();
        let known = tables.iter().position(|known| known.table == table && Arc::ptr_eq(&known.entry, entry));
        known.unwrap_or_else(|| {
            tables.push(TableUse { table, entry: Arc::clone(entry) });
            tables.len() - 1
        })
    }

    /// A function that is constant for a statement.
    pub(crate) fn constant(
        &self,
        name: &str,
        data_type: DataType,
    ) -> impl datafusion::logical_expr::ScalarUDFImpl + use<> {
        self.constants.lock().insert(name.to_owned());
        SlotFunction::new(SlotName::Constant(name.to_owned()), data_type, &self.slots)
    }
}

/// What a compiled plan depends on beside text and namespace: which parameters are NULL, and what those are whose type
/// nothing else says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    nulls: Vec<(usize, bool)>,
    by_json: Vec<(usize, ColumnType)>,
}

impl Shape {
    fn of(occurrences: &[Occurrence], unbounded: &[usize], params: &Params) -> Self {
        let named = occurrences.iter().map(|one| one.number).chain(unbounded.iter().copied());
        let mut nulls: Vec<(usize, bool)> = named.map(|number| (number, params.is_null(number))).collect();
        nulls.sort_unstable();
        nulls.dedup();
        let by_json = occurrences.iter().filter(|one| one.is_by_json);
        let by_json = by_json.map(|one| (one.number, params.json_type(one.number))).collect();
        Self { nulls, by_json }
    }

    /// Of all parameters, where it is not known what depends on what.
    pub(super) fn exactly(params: &Params) -> Self {
        let numbers = 1..=params.len();
        Self {
            nulls: numbers.clone().map(|number| (number, params.is_null(number))).collect(),
            by_json: numbers.map(|number| (number, params.json_type(number))).collect(),
        }
    }

    /// Whether parameters are of this shape.
    pub(super) fn fits(&self, params: &Params) -> bool {
        self.nulls.iter().all(|(number, is_null)| params.is_null(*number) == *is_null)
            && self.by_json.iter().all(|(number, json)| params.json_type(*number) == *json)
    }
}

/// Compiles a query, whose names of columns are those that it is to have; `outputs` as for [`Params::plan`].
///
/// # Errors
/// When it cannot be compiled, for a reason of its own or since the query is wrong: planning it says which.
pub(super) fn compile(
    context: &Arc<StatementContext>,
    query: ast::Query,
    params: &Params,
    outputs: &[ColumnType],
) -> Result<Template> {
    let compiling = Compiling::default();
    let TypedPlan { plan, occurrences, unbounded } = params.typed_plan(context, query, outputs, Some(&compiling))?;
    let shape = Shape::of(&occurrences, &unbounded, params);
    let plan = with_slots_for_params(plan, &occurrences, params, &compiling.slots)?;
    // With every slot empty: nothing of this statement is folded into the plan.
    let plan = context.runtime.state().optimize(&plan).map_err(from_datafusion)?;
    check(&plan, &occurrences)?;
    let bytes = size_of(&plan)?;
    let tables = compiling.tables.into_inner();
    let constants = compiling.constants.into_inner();
    let point = PointRead::of(&plan, &tables)?;
    let plan = open_limits(plan)?;
    Ok(Template::new(plan, point, tables, constants, occurrences, shape, bytes))
}

/// How a query is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By its key, without a plan.
    Lookup,
    /// By a plan that is made once for all callers.
    Compiled,
    /// By a plan of its own.
    Alone,
}

impl Way {
    /// As EXPLAIN says it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup by primary key, without a plan",
            Self::Compiled => "plan compiled once and kept for all callers",
            Self::Alone => "planned for this statement alone",
        }
    }
}

/// Which way a query takes, where its text is kept; its names of columns are those that it is to have.
pub(crate) fn way(context: &Arc<StatementContext>, query: ast::Query, params: &Params) -> Way {
    if context.is_heavy {
        return Way::Alone;
    }
    match compile(context, query, params, &[]) {
        Ok(template) if template.is_point() => Way::Lookup,
        Ok(_) => Way::Compiled,
        Err(_) => Way::Alone,
    }
}

/// The plan with slots in the places of its placeholders, and NULL where a parameter is that.
fn with_slots_for_params(
    plan: LogicalPlan,
    occurrences: &[Occurrence],
    params: &Params,
    slots: &Arc<Slots>,
) -> Result<LogicalPlan> {
    let mut values = Vec::with_capacity(occurrences.len());
    for (at, occurrence) in occurrences.iter().enumerate() {
        let scalar = params.scalar(occurrence)?;
        let is_null = scalar.is_null();
        values.push(match is_null {
            true => Expr::Literal(scalar, None),
            false => SlotFunction::new(SlotName::Param(at + 1), scalar.data_type(), slots).into_expr(),
        });
    }
    let value_of = |id: &str| {
        let place: Option<usize> = id.strip_prefix('$').and_then(|digits| digits.parse().ok());
        place.and_then(|place| values.get(place.checked_sub(1)?)).cloned()
    };
    let replaced = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let saved = names.save(&expr);
            let expr = expr.transform_up(|inner| match &inner {
                Expr::Placeholder(placeholder) => Ok(match value_of(&placeholder.id) {
                    Some(value) => Transformed::yes(value),
                    None => Transformed::no(inner),
                }),
                _ => Ok(Transformed::no(inner)),
            })?;
            Ok(expr.update_data(|expr| saved.restore(expr)))
        })?
        .map_data(|node| match node {
            LogicalPlan::Values(_) => Ok(node),
            node => node.recompute_schema(),
        })
    });
    Ok(replaced.map_err(from_datafusion)?.data)
}

/// What an optimised plan must not have: places where DataFusion takes a literal's value to plan by, or makes another type of it.
///
/// # Errors
/// [`ErrorCode::Internal`](kalamdb_commons::ErrorCode::Internal) where it has one.
fn check(plan: &LogicalPlan, occurrences: &[Occurrence]) -> Result<()> {
    let limits: BTreeSet<SlotName> =
        (1..).zip(occurrences).filter(|(_, one)| one.is_limit).map(|(place, _)| SlotName::Param(place)).collect();
    let mut seen = BTreeSet::new();
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::RecursiveQuery(_) => found = Some("a recursive query, which keeps its state in its plan"),
            LogicalPlan::Values(values) if values.values.iter().flatten().any(has_slots) => {
                found = Some("VALUES, which are evaluated when they are planned");
            }
            LogicalPlan::Limit(limit) => {
                for count in [&limit.skip, &limit.fetch].into_iter().flatten() {
                    match slot_of(count) {
                        Some(slot) if limits.contains(slot.name()) => {
                            seen.insert(slot.name().clone());
                        }
                        None if !has_slots(count) => {}
                        _ => found = Some("a count of rows that is computed"),
                    }
                }
            }
            _ => {}
        }
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if takes_literals(inner) {
                    found = Some("a function with an argument that has to be a literal");
                } else if matches!(node, LogicalPlan::Filter(_)) && is_uuid_of_slot(inner) {
                    found = Some("a condition that finds rows by a UUID, which has to be read from text first");
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    if seen != limits {
        // A limit that is no literal is left out where a literal one would have been minded.
        found = Some("a count of rows that is not minded");
    }
    found.map_or(Ok(()), |what| Err(Error::internal(what)))
}

/// Whether it is a function whose argument a slot stands for, and which takes the values of literals only, or has another type then.
fn takes_literals(expr: &Expr) -> bool {
    let beyond_first = |args: &[Expr]| args.iter().skip(1).any(has_slots);
    match expr {
        Expr::AggregateFunction(function) => beyond_first(&function.params.args),
        Expr::WindowFunction(function) => function.params.args.iter().any(has_slots),
        Expr::ScalarFunction(function) => function.name() == "round" && beyond_first(&function.args),
        _ => false,
    }
}

/// Whether it is a UUID that a parameter's text is cast to. It may be no UUID, so that no scan takes the condition.
fn is_uuid_of_slot(expr: &Expr) -> bool {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else { return false };
    let cast = func.inner().downcast_ref::<CheckedCast>();
    cast.is_some_and(|cast| cast.to() == ColumnType::Uuid) && args.iter().any(has_slots)
}

/// About what the plan takes, once it is also planned.
fn size_of(plan: &LogicalPlan) -> Result<u64> {
    let mut bytes = 0;
    plan.apply_with_subqueries(|node| {
        bytes += NODE_BYTES;
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                bytes += EXPR_BYTES;
                if let Expr::Literal(ScalarValue::Utf8View(Some(text)) | ScalarValue::Utf8(Some(text)), _) = inner {
                    bytes += text.len() as u64;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    Ok(bytes)
}
