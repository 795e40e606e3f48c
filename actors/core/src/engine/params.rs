//! Parameters: what type each occurrence expects (CONTRACT 4.6); [`json_to_value`] makes JSON into it.
//!
//! Every occurrence of `$n` is renumbered to one of its own before planning, so that a repeated parameter is
//! converted for each of its places. DataFusion infers the types it can; the rest is that of the JSON value, and a NULL there
//! is the word NULL.

mod inference;
mod places;
mod repeated;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use kalamdb_commons::{Error, ErrorCode, Result};
use kalamdb_sql::{ColumnType, Value, ast, json_to_value};
use serde_json::Value as Json;

use super::context::StatementContext;
use super::errors::from_datafusion;
use super::planning::{param_field, plan_query};
use super::plans::Compiling;
use super::result::column_type_of_field;
use super::values::value_to_scalar;
use inference::{inferred_types, output_types, sibling_types};
use places::{LimitBinder, Renumberer, put_nulls};
use repeated::mark_repeated;

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
        let mut siblings: HashMap<usize, ColumnType> = HashMap::new();
        let inferred = match plan_query(context, query.clone(), vec![None; occurrences.len()], compiling) {
            Ok(plan) => {
                let outputs: Vec<_> = outputs.iter().copied().map(Some).collect();
                output_types(&plan, &outputs, &mut meant);
                siblings = sibling_types(&plan)?;
                inferred_types(&plan, occurrences.len())?
            }
            Err(_) => vec![None; occurrences.len()],
        };
        let mut nulls = BTreeSet::new();
        for (place, (occurrence, inferred)) in (1..).zip(occurrences.iter_mut().zip(inferred)) {
            let json = self.json(occurrence.number);
            let known = if occurrence.is_limit {
                Some(param_field(ColumnType::BigInt))
            } else {
                // What no column can have is a guess from what stands beside it, which says nothing of a NULL.
                let inferred = inferred.filter(|field| !json.is_null() || column_type_of_field(field).is_some());
                meant.get(&place).map(|column_type| param_field(*column_type)).or(inferred)
            };
            occurrence.is_by_json = known.is_none();
            occurrence.field = match (known, json) {
                (Some(known), _) => Some(known),
                (None, Json::Null) => {
                    nulls.insert(format!("${place}"));
                    None
                }
                (None, Json::String(_)) => {
                    Some(param_field(siblings.get(&place).copied().unwrap_or_else(|| json_type(json))))
                }
                (None, _) => Some(param_field(json_type(json))),
            };
        }
        put_nulls(&mut query, &nulls);
        let types = occurrences.iter().map(|occurrence| occurrence.field.clone()).collect();
        let plan = plan_query(context, query, types, compiling).map_err(|mut error| {
            error.message = in_given_numbers(&error.message, &occurrences);
            error
        })?;
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
            Some(field) => column_type_of_field(field),
            None => Some(json_type(json)),
        };
        let Some(column_type) = column_type else {
            // A type no column has (an interval, say): text is cast, the rest refused.
            let data_type = field.map_or(&DataType::Null, |field| field.data_type());
            return match json {
                Json::Null => ScalarValue::try_from(data_type).map_err(from_datafusion),
                Json::String(text) => ScalarValue::try_from_string(text.clone(), data_type)
                    .map_err(|_| mismatch(number, &shown_type(data_type), json)),
                _ => Err(mismatch(number, &shown_type(data_type), json)),
            };
        };
        let value = json_to_value(json, column_type).ok_or_else(|| mismatch(number, &column_type.to_string(), json))?;
        value_to_scalar(&value, column_type)
    }

    /// LIMIT and OFFSET take a whole number or null for none: they are bound in the syntax. Answers which were null.
    fn bind_limits(&self, query: &mut ast::Query, keep: bool) -> Result<Vec<usize>> {
        let mut binder = LimitBinder::new(self, keep);
        let _ = ast::VisitMut::visit(query, &mut binder);
        binder.error.map_or(Ok(binder.unbounded), Err)
    }

    /// Gives every occurrence a number of its own, but those of repeated expressions; answers which parameter each was.
    fn renumber(&self, query: &mut ast::Query) -> Result<Vec<Occurrence>> {
        if !self.values.is_empty() {
            mark_repeated(query);
        }
        let mut renumberer = Renumberer::new(self);
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

/// The type of a JSON value where nothing else is known.
fn json_type(json: &Json) -> ColumnType {
    match json {
        Json::Bool(_) => ColumnType::Boolean,
        Json::Number(number) if number.is_i64() => ColumnType::BigInt,
        Json::Number(_) => ColumnType::Double,
        _ => ColumnType::Text,
    }
}

/// A type that no column has, as it is written.
fn shown_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Interval(_) | DataType::Duration(_) => "INTERVAL".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        other => other.to_string(),
    }
}

/// A planner's message with the numbers that parameters have in the statement.
fn in_given_numbers(message: &str, occurrences: &[Occurrence]) -> String {
    let mut parts = message.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        let (place, rest) = part.split_at(end);
        let place = place.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
        text.push('$');
        match place.and_then(|place| occurrences.get(place)) {
            Some(occurrence) => text.push_str(&format!("{}{rest}", occurrence.number)),
            None => text.push_str(part),
        }
    }
    text
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

    #[test]
    fn messages_have_the_numbers_that_were_given() {
        let occurrence = |number| Occurrence { number, field: None, is_by_json: false, is_limit: false };
        let text = in_given_numbers("only \"t.b + $2\" and $1, not $3 or $x", &[occurrence(7), occurrence(1)]);
        assert_eq!(text, "only \"t.b + $1\" and $7, not $3 or $x");
    }
}
