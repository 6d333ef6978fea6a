//! Results of type `regclass` and its like are sent as names.
//!
//! The type's output function needs the catalog, which no encoder has; so a query's outermost columns of these types become text, by the function that
//! casts them to text. The client sees the type `text`.

use colonnade_types::SqlType;
use colonnade_types::sql_type::RegKind;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

use crate::binder::BoundPlan;
use crate::error::{Error, Result};

fn output_function(kind: RegKind) -> &'static str {
    match kind {
        RegKind::Class => "regclassout",
        RegKind::Type => "regtypeout",
        RegKind::Proc => "regprocout",
        RegKind::Namespace => "regnamespaceout",
        RegKind::Role => "regroleout",
    }
}

/// Turns the outermost columns that are object identifiers into names.
///
/// # Errors
/// If a function is not registered, or DataFusion refuses the projection.
pub(crate) fn as_names(mut bound: BoundPlan, state: &SessionState) -> Result<BoundPlan> {
    if !bound.schema.columns.iter().any(|column| matches!(column.sql_type, SqlType::Reg(_))) {
        return Ok(bound);
    }
    let mut exprs = Vec::with_capacity(bound.schema.columns.len());
    for (column, result) in bound.plan.schema().columns().into_iter().zip(&mut bound.schema.columns) {
        let SqlType::Reg(kind) = result.sql_type else {
            exprs.push(Expr::Column(column));
            continue;
        };
        let name = output_function(kind);
        let function = state
            .scalar_functions()
            .get(name)
            .ok_or_else(|| Error::internal(format!("the function {name} is not registered")))?;
        let alias = column.name.clone();
        exprs.push(function.call(vec![Expr::Column(column)]).alias(alias));
        result.sql_type = SqlType::Text;
    }
    bound.plan = LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?;
    Ok(bound)
}
