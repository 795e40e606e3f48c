//! What stays open in a compiled plan: parameters, the statement's time and the caller, read from slots when it runs.
//!
//! A slot is a function without arguments. It is Stable, so a scan may take it and the optimiser would put its value in its
//! place; that fails while nothing is bound, which is how plans are compiled, so it stays a slot.

use std::any::Any;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TransformedResult as _, TreeNode as _};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use parking_lot::RwLock;

use super::super::scope::Limits;

/// Which value a slot has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::engine) enum SlotName {
    /// The parameter at this occurrence, counted from 1 in the order of the text.
    Param(usize),
    /// A function that is constant for a statement.
    Constant(String),
}

/// The values of one plan's slots: none, until it is bound.
#[derive(Debug, Default)]
pub(in crate::engine) struct Slots {
    values: RwLock<BTreeMap<SlotName, ScalarValue>>,
    /// When the statement that runs the plan ends.
    limits: RwLock<Option<Limits>>,
}

impl Slots {
    /// Sets all values at once; those of an earlier run are gone.
    pub(super) fn bind(&self, values: BTreeMap<SlotName, ScalarValue>, limits: Option<Limits>) {
        *self.values.write() = values;
        *self.limits.write() = limits;
    }

    /// An error once the statement that runs the plan was called off or is out of time.
    pub(in crate::engine) fn still_wanted(&self) -> kalamdb_commons::Result<()> {
        self.limits.read().as_ref().map_or(Ok(()), Limits::check)
    }

    /// Forgets the values: they are the caller's alone.
    pub(super) fn clear(&self) {
        self.values.write().clear();
        *self.limits.write() = None;
    }

    fn get(&self, name: &SlotName) -> Option<ScalarValue> {
        self.values.read().get(name).cloned()
    }
}

/// A slot as an expression.
#[derive(Debug)]
pub(in crate::engine) struct SlotFunction {
    name: SlotName,
    /// As plans show it.
    text: String,
    data_type: DataType,
    slots: Arc<Slots>,
    signature: Signature,
}

impl SlotFunction {
    pub(in crate::engine) fn new(name: SlotName, data_type: DataType, slots: &Arc<Slots>) -> Self {
        let text = match &name {
            SlotName::Param(place) => format!("${place}"),
            SlotName::Constant(name) => name.clone(),
        };
        let signature = Signature::nullary(Volatility::Stable);
        Self { name, text, data_type, slots: Arc::clone(slots), signature }
    }

    /// The same slot of another plan.
    fn of(&self, slots: &Arc<Slots>) -> Self {
        Self::new(self.name.clone(), self.data_type.clone(), slots)
    }

    pub(super) fn name(&self) -> &SlotName {
        &self.name
    }

    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn value(&self) -> Result<ScalarValue> {
        match self.slots.get(&self.name) {
            Some(value) => Ok(value),
            None => exec_err!("slot {} is empty", self.text),
        }
    }

    pub(in crate::engine) fn into_expr(self) -> Expr {
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(self)), Vec::new()))
    }
}

impl PartialEq for SlotFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.data_type == other.data_type && Arc::ptr_eq(&self.slots, &other.slots)
    }
}

impl Eq for SlotFunction {}

impl Hash for SlotFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.data_type.hash(state);
    }
}

impl ScalarUDFImpl for SlotFunction {
    fn name(&self) -> &str {
        &self.text
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    /// Never NULL, as the literal that it stands for: a NULL parameter is compiled as one.
    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(&self.text, self.data_type.clone(), false)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.value().map(ColumnarValue::Scalar)
    }
}

/// The slot that an expression is.
pub(in crate::engine) fn slot_of(expr: &Expr) -> Option<&SlotFunction> {
    match expr {
        Expr::ScalarFunction(function) => (function.func.inner().as_ref() as &dyn Any).downcast_ref(),
        _ => None,
    }
}

/// Whether an expression has slots in it.
pub(in crate::engine) fn has_slots(expr: &Expr) -> bool {
    expr.exists(|inner| Ok(slot_of(inner).is_some())).unwrap_or(true)
}

/// The expression with the values of its slots in their places.
///
/// # Errors
/// When a slot is empty.
pub(in crate::engine) fn with_values(expr: Expr) -> Result<Expr> {
    expr.transform_up(|inner| match slot_of(&inner) {
        Some(slot) => Ok(Transformed::yes(Expr::Literal(slot.value()?, None))),
        None => Ok(Transformed::no(inner)),
    })
    .data()
}

/// The expression with the slots of another plan.
pub(super) fn with_slots(expr: Expr, slots: &Arc<Slots>) -> Result<Transformed<Expr>> {
    expr.transform_up(|inner| match slot_of(&inner).map(|slot| slot.of(slots)) {
        Some(slot) => Ok(Transformed::yes(slot.into_expr())),
        None => Ok(Transformed::no(inner)),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{col, lit};

    use super::*;

    fn slot(slots: &Arc<Slots>) -> Expr {
        SlotFunction::new(SlotName::Param(1), DataType::Int64, slots).into_expr()
    }

    #[test]
    fn values_take_the_places_of_slots_once_they_are_bound() {
        let (empty, bound): (Arc<Slots>, Arc<Slots>) = (Arc::default(), Arc::default());
        let expr = col("id").eq(slot(&empty));
        assert!(has_slots(&expr) && !has_slots(&col("id").eq(lit(1_i64))));
        assert!(with_values(expr.clone()).is_err(), "nothing is bound");
        bound.bind([(SlotName::Param(1), ScalarValue::Int64(Some(7)))].into(), None);
        let other = with_slots(expr, &bound).expect("it has slots").data;
        assert_eq!(with_values(other.clone()).expect("bound"), col("id").eq(lit(7_i64)));
        bound.clear();
        assert!(with_values(other).is_err(), "what was bound is forgotten");
    }

    #[test]
    fn slots_of_two_plans_are_two() {
        let (one, other): (Arc<Slots>, Arc<Slots>) = (Arc::default(), Arc::default());
        assert_eq!(slot(&one), slot(&one));
        assert_ne!(slot(&one), slot(&other));
    }
}
