//! Parameters: what type each occurrence expects (CONTRACT 4.6); [`json_to_value`] makes JSON into it.
//!
//! Every occurrence of `$n` is renumbered to one of its own before planning, so that a repeated parameter is
//! converted for each of its places. DataFusion infers the types it can; the rest is that of the JSON value.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan};
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::{ColumnType, Value, ast, json_to_value};
use serde_json::Value as Json;

use super::context::StatementContext;
use super::errors::from_datafusion;
use super::planning::{param_field, plan_query};
use super::plans::Compiling;
use super::values::value_to_scalar;

/// A statement's parameters.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    values: Arc<Vec<Json>>,
}

impl Params {
    /// For statements and expressions that take none.
    pub(crate) fn none() -> Self {
        Self { values: Arc::default() }
    }

    /// Checks count and kind.
    pub(crate) fn new(values: &Arc<Vec<Json>>, expected: usize) -> Result<Self> {
        if values.len() != expected {
            let noun = if expected == 1 { "parameter" } else { "parameters" };
            return Err(Error::new(
                ErrorCode::ParamCountMismatch,
                format!("Expected {expected} {noun}, got {}", values.len()),
            ));
        }
        if let Some(place) = values.iter().position(|value| value.is_array() || value.is_object()) {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("parameter ${} is an array or an object: parameters are scalars", place + 1),
            ));
        }
        Ok(Self { values: Arc::clone(values) })
    }

    /// The parameter a placeholder names, converted for a column.
    pub(crate) fn value(&self, placeholder: &str, column_type: ColumnType) -> Result<Value> {
        let (number, json) = self.get(placeholder)?;
        json_to_value(json, column_type).ok_or_else(|| mismatch(number, &column_type.to_string(), json))
    }

    fn get(&self, placeholder: &str) -> Result<(usize, &Json)> {
        let number: usize = placeholder.strip_prefix('$').and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let json = number.checked_sub(1).and_then(|place| self.values.get(place));
        json.map(|json| (number, json))
            .ok_or_else(|| Error::new(ErrorCode::InvalidSql, format!("{placeholder} names no parameter")))
    }

    /// Plans a query with its parameters bound. `outputs` are the types that its columns are meant for, where
    /// that is known: a parameter that is a column by itself is of that type.
    pub(crate) fn plan(
        &self,
        context: &Arc<StatementContext>,
        query: ast::Query,
        outputs: &[ColumnType],
    ) -> Result<LogicalPlan> {
        let TypedPlan { plan, occurrences, .. } = self.typed_plan(context, query, outputs, None)?;
        if occurrences.is_empty() {
            return Ok(plan);
        }
        let scalars = occurrences.iter().map(|occurrence| self.scalar(occurrence)).collect::<Result<Vec<_>>>()?;
        plan.with_param_values(ParamValues::from(scalars)).map_err(from_datafusion)
    }

    /// Plans a query whose parameters have types and no values yet. Those of LIMIT and OFFSET are bound here, unless the plan is
    /// compiled for all values.
    pub(super) fn typed_plan(
        &self,
        context: &Arc<StatementContext>,
        mut query: ast::Query,
        outputs: &[ColumnType],
        compiling: Option<&Compiling>,
    ) -> Result<TypedPlan> {
        let unbounded = self.bind_limits(&mut query, compiling.is_some())?;
        let mut occurrences = self.renumber(&mut query)?;
        if occurrences.is_empty() {
            return Ok(TypedPlan { plan: plan_query(context, query, Vec::new(), compiling)?, occurrences, unbounded });
        }
        // What a count is meant for is known, as is what a bare output is.
        let mut meant: HashMap<usize, ColumnType> = HashMap::new();
        // What cannot be inferred is what its JSON says; a first plan tells which.
        let inferred = match plan_query(context, query.clone(), vec![None; occurrences.len()], compiling) {
            Ok(plan) => {
                let outputs: Vec<_> = outputs.iter().copied().map(Some).collect();
                output_types(&plan, &outputs, &mut meant);
                inferred_types(&plan, occurrences.len())?
            }
            Err(_) => vec![None; occurrences.len()],
        };
        for (at, (occurrence, inferred)) in occurrences.iter_mut().zip(inferred).enumerate() {
            let known = if occurrence.is_limit {
                Some(param_field(ColumnType::BigInt))
            } else {
                meant.get(&(at + 1)).map(|column_type| param_field(*column_type)).or(inferred)
            };
            occurrence.is_by_json = known.is_none();
            let field = known.unwrap_or_else(|| param_field(json_type(self.json(occurrence.number))));
            occurrence.field = Some(field);
        }
        let types = occurrences.iter().map(|occurrence| occurrence.field.clone()).collect();
        let plan = plan_query(context, query, types, compiling)?;
        // The second plan may have settled types the first could not.
        let settled = inferred_types(&plan, occurrences.len())?;
        for (occurrence, settled) in occurrences.iter_mut().zip(settled) {
            occurrence.field = settled.or(occurrence.field.take());
        }
        Ok(TypedPlan { plan, occurrences, unbounded })
    }

    fn json(&self, number: usize) -> &Json {
        number.checked_sub(1).and_then(|place| self.values.get(place)).unwrap_or(&Json::Null)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether a parameter is NULL.
    pub(super) fn is_null(&self, number: usize) -> bool {
        self.json(number).is_null()
    }

    /// What a parameter is by its JSON alone.
    pub(super) fn json_type(&self, number: usize) -> ColumnType {
        json_type(self.json(number))
    }

    /// The value of a parameter at one of its places.
    ///
    /// # Errors
    /// [`ErrorCode::ParamTypeMismatch`].
    pub(super) fn scalar(&self, occurrence: &Occurrence) -> Result<ScalarValue> {
        let Occurrence { number, is_limit, .. } = *occurrence;
        let json = self.json(number);
        if is_limit {
            return count_in(number, json).map(ScalarValue::Int64);
        }
        let field = occurrence.field.as_ref();
        let column_type = match field {
            Some(field) => super::result::column_type_of_field(field),
            None => Some(json_type(json)),
        };
        let Some(column_type) = column_type else {
            // A type no column has (an interval, say): text is cast, the rest refused.
            let data_type = field.map_or(&DataType::Null, |field| field.data_type());
            return match json {
                Json::Null => ScalarValue::try_from(data_type).map_err(from_datafusion),
                Json::String(text) => ScalarValue::try_from_string(text.clone(), data_type)
                    .map_err(|_| mismatch(number, &data_type.to_string(), json)),
                _ => Err(mismatch(number, &data_type.to_string(), json)),
            };
        };
        let value = json_to_value(json, column_type).ok_or_else(|| mismatch(number, &column_type.to_string(), json))?;
        value_to_scalar(&value, column_type)
    }

    /// LIMIT and OFFSET take a whole number or null for none: they are bound in the syntax. Answers which were null.
    fn bind_limits(&self, query: &mut ast::Query, keep: bool) -> Result<Vec<usize>> {
        let mut binder = LimitBinder { params: self, keep, unbounded: Vec::new(), error: None };
        let _ = ast::VisitMut::visit(query, &mut binder);
        binder.error.map_or(Ok(binder.unbounded), Err)
    }

    /// Gives every occurrence a number of its own; answers which parameter each was.
    fn renumber(&self, query: &mut ast::Query) -> Result<Vec<Occurrence>> {
        let mut renumberer = Renumberer { params: self, occurrences: Vec::new(), error: None };
        let _ = ast::VisitMut::visit(query, &mut renumberer);
        match renumberer.error {
            Some(error) => Err(error),
            None => Ok(renumberer.occurrences),
        }
    }
}

/// A plan with placeholders, each numbered by its place.
pub(super) struct TypedPlan {
    pub(super) plan: LogicalPlan,
    /// By that number.
    pub(super) occurrences: Vec<Occurrence>,
    /// Parameters that would have counted rows, and are NULL: no bound is in the plan for them.
    pub(super) unbounded: Vec<usize>,
}

/// One place of a parameter in a text.
#[derive(Debug, Clone)]
pub(super) struct Occurrence {
    /// Which parameter, counted from 1.
    pub(super) number: usize,
    /// What is expected there.
    pub(super) field: Option<FieldRef>,
    /// Because of what the JSON is, for want of anything else.
    pub(super) is_by_json: bool,
    /// It counts rows.
    pub(super) is_limit: bool,
}

/// A parameter that counts rows; none for NULL, which is no bound.
fn count_in(number: usize, json: &Json) -> Result<Option<i64>> {
    if json.is_null() {
        return Ok(None);
    }
    match json_to_value(json, ColumnType::BigInt) {
        Some(Value::BigInt(count)) if count >= 0 => Ok(Some(count)),
        _ => Err(mismatch(number, "a whole number of 0 or more", json)),
    }
}

/// What each occurrence that is an output of the plan by itself is meant for, through whatever passes it on.
fn output_types(plan: &LogicalPlan, outputs: &[Option<ColumnType>], types: &mut HashMap<usize, ColumnType>) {
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
    if let (Expr::Placeholder(placeholder), Some(column_type)) = (expr, output)
        && let Some(place) = placeholder.id.strip_prefix('$').and_then(|digits| digits.parse().ok())
    {
        types.insert(place, column_type);
    }
}

/// Before the name of a parameter that counts rows.
const LIMIT: &str = "\u{1f}";

struct Renumberer<'a> {
    params: &'a Params,
    occurrences: Vec<Occurrence>,
    error: Option<Error>,
}

impl ast::VisitorMut for Renumberer<'_> {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ast::ValueWithSpan) -> ControlFlow<()> {
        if let ast::Value::Placeholder(name) = &mut value.value {
            let is_limit = name.starts_with(LIMIT);
            match self.params.get(name.strip_prefix(LIMIT).unwrap_or(name)) {
                Ok((number, _)) => {
                    self.occurrences.push(Occurrence { number, field: None, is_by_json: false, is_limit });
                    *name = format!("${}", self.occurrences.len());
                }
                Err(error) => {
                    self.error = Some(error);
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }
}

struct LimitBinder<'a> {
    params: &'a Params,
    /// Leaves them for the plan, where they are not NULL.
    keep: bool,
    /// Those that are NULL.
    unbounded: Vec<usize>,
    error: Option<Error>,
}

impl LimitBinder<'_> {
    /// The bound expression; none for "no limit".
    fn bind(&mut self, expr: ast::Expr) -> Option<ast::Expr> {
        let ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::Placeholder(name), .. }) = &expr else {
            return Some(expr);
        };
        let bound = self.params.get(name).and_then(|(number, json)| {
            let count = count_in(number, json)?;
            if count.is_none() {
                self.unbounded.push(number);
            }
            Ok(count)
        });
        if let (true, Ok(Some(_))) = (self.keep, &bound) {
            let marked = ast::Value::Placeholder(format!("{LIMIT}{name}"));
            return Some(ast::Expr::value(marked));
        }
        match bound {
            Ok(count) => count.map(|count| ast::Expr::value(ast::Value::Number(count.to_string(), false))),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

impl ast::VisitorMut for LimitBinder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        if let Some(ast::LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            *limit = limit.take().and_then(|expr| self.bind(expr));
            *offset = offset.take().and_then(|offset| {
                let rows = offset.rows;
                self.bind(offset.value).map(|value| ast::Offset { value, rows })
            });
        }
        if let Some(fetch) = &mut query.fetch
            && let Some(quantity) = fetch.quantity.take()
        {
            fetch.quantity = self.bind(quantity);
            if fetch.quantity.is_none() {
                query.fetch = None;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The types of the plan's placeholders by occurrence.
fn inferred_types(plan: &LogicalPlan, count: usize) -> Result<Vec<Option<FieldRef>>> {
    let mut types = vec![None; count];
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|inner| {
                if let Expr::Placeholder(placeholder) = inner
                    && let Some(place) =
                        placeholder.id.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok())
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

/// The type of a JSON value where nothing else is known.
fn json_type(json: &Json) -> ColumnType {
    match json {
        Json::Bool(_) => ColumnType::Boolean,
        Json::Number(number) if number.is_i64() => ColumnType::BigInt,
        Json::Number(_) => ColumnType::Double,
        _ => ColumnType::Text,
    }
}

fn mismatch(number: usize, expected: &str, json: &Json) -> Error {
    let came = match json {
        Json::Null => "null".to_owned(),
        Json::Bool(truth) => format!("boolean {truth}"),
        Json::Number(number) => format!("number {}", beginning(number.as_str())),
        Json::String(text) => format!("string {:?}", beginning(text)),
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    };
    Error::new(ErrorCode::ParamTypeMismatch, format!("Parameter ${number}: expected {expected}, got {came}"))
}

/// As much of what came as is worth showing.
fn beginning(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_checked_with_the_contracts_words() {
        let error = Params::new(&Arc::new(vec![json!(1), json!(2), json!(3)]), 2).expect_err("too many");
        assert_eq!(error.message, "Expected 2 parameters, got 3");
        let error = Params::new(&Arc::new(vec![json!([1])]), 1).expect_err("array");
        assert_eq!(error.code, ErrorCode::InvalidRequest);
    }
}
