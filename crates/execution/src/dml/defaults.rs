//! Values for columns that a statement leaves out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::Schema;
use colonnade_storage::Catalog;
use colonnade_types::{ColumnDefinition, Oid, Relation, SequenceDefinition, SqlType};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;

use crate::binder::Binder;
use crate::binder::cast::{cast_array, physical};
use crate::error::{Error, Result};
use crate::session_info::SessionInfo;

/// Where a column's default values come from.
#[derive(Clone)]
pub(crate) enum DefaultValue {
    Null(SqlType),
    Expression { expr: Arc<dyn PhysicalExpr>, sql_type: SqlType },
    Identity { sequence: Arc<SequenceDefinition>, sql_type: SqlType, info: SessionInfo },
}

impl DefaultValue {
    /// The default of a column, bound.
    pub(crate) fn of(binder: &Binder, column: &ColumnDefinition, catalog: &Arc<Catalog>) -> Result<DefaultValue> {
        if let Some(identity) = &column.identity {
            let sequence = find_sequence(catalog, identity.sequence)?;
            return Ok(DefaultValue::Identity {
                sequence,
                sql_type: column.sql_type.clone(),
                info: binder.info.clone(),
            });
        }
        let Some(sql) = &column.default else { return Ok(DefaultValue::Null(column.sql_type.clone())) };
        let expr = default_expr(binder, column, sql, catalog)?;
        let expr = binder.state.create_physical_expr(expr, &DFSchema::empty())?;
        Ok(DefaultValue::Expression { expr, sql_type: column.sql_type.clone() })
    }

    /// The values for so many rows; each row of a volatile default has its own.
    pub(crate) fn values(&self, rows: usize) -> Result<ArrayRef> {
        match self {
            DefaultValue::Null(sql_type) => Ok(new_null_array(&sql_type.arrow_type(), rows)),
            DefaultValue::Expression { expr, sql_type } => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
                physical(&expr.evaluate(&batch)?.into_array(rows)?, sql_type)
            }
            DefaultValue::Identity { sequence, sql_type, info } => {
                let mut values = Vec::with_capacity(rows);
                for _ in 0..rows {
                    values.push(info.database().sequence_next(sequence)?);
                }
                if let Some(last) = values.last() {
                    info.remember_draw(sequence.oid, *last);
                }
                let array: ArrayRef = Arc::new(Int64Array::from(values));
                cast_array(&array, &SqlType::BigInt, sql_type, false, &info.statement().settings.display().clone())
            }
        }
    }
}

/// A column's DEFAULT as an expression of the column's type.
pub(crate) fn default_expr(
    binder: &Binder,
    column: &ColumnDefinition,
    sql: &str,
    catalog: &Arc<Catalog>,
) -> Result<Expr> {
    let schema = DFSchema::empty();
    let expr = crate::parser::parse_expression(sql)?;
    let expr = binder.expression(expr, &schema, binder.scope(Arc::clone(catalog), None))?;
    binder.assigned(expr, &schema, &column.name, &column.sql_type)
}

fn find_sequence(catalog: &Catalog, oid: Oid) -> Result<Arc<SequenceDefinition>> {
    match catalog.relation(oid) {
        Some(Relation::Sequence(sequence)) => Ok(Arc::clone(sequence)),
        _ => Err(Error::internal("an identity column has no sequence")),
    }
}
