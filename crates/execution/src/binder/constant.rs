//! Evaluating expressions that read no column.

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::create_physical_expr;

use crate::error::{Error, Result};

/// The value of an immutable expression without columns; `None` if it has columns, is not immutable, or fails.
pub(crate) fn fold(expr: &Expr) -> Option<ScalarValue> {
    if let Expr::Literal(value, _) = expr {
        return Some(value.clone());
    }
    if expr.is_volatile() || !expr.column_refs().is_empty() || has_subquery_or_parameter(expr) {
        return None;
    }
    let physical =
        create_physical_expr(expr, &DFSchema::empty(), &ExecutionProps::new(), &PhysicalPlanningContext::default())
            .ok()?;
    match physical.evaluate(&one_row()).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok(),
    }
}

fn has_subquery_or_parameter(expr: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode as _;
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::Placeholder(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        ))
    })
    .unwrap_or(true)
}

/// Evaluates an expression without columns once, volatile or not.
///
/// # Errors
/// As the expression fails; 0A000 if it holds a subquery.
pub(crate) fn evaluate(expr: Expr, state: &SessionState) -> Result<ArrayRef> {
    if has_subquery_or_parameter(&expr) {
        return Err(Error::unsupported("a subquery in this expression"));
    }
    let physical = state.create_physical_expr(expr, &DFSchema::empty())?;
    let value = physical.evaluate(&one_row())?;
    Ok(value.into_array(1)?)
}

/// One row without columns.
pub(crate) fn one_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Schema::empty().into(), Vec::new(), &options)
        .unwrap_or_else(|_| RecordBatch::new_empty(Schema::empty().into()))
}
